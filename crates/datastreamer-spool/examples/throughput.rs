//! Measures a spool: MB/s of a plain stream, of the first reader of a production, and of a reader of a
//! complete one.
//!
//! `cargo run --release -p datastreamer-spool --example throughput -- [MB] [FOLDER] [SOURCE_MB_S]`
//!
//! The noise is computed at some GB/s, which few sources reach; SOURCE_MB_S slows it down.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use datastreamer::{ChunkReader, PoolOptions, StreamOptions, StreamPool, StreamWriter, stream_out};
use datastreamer_spool::{Beginning, Keep, Key, Piece, Spool, SpoolOptions};

/// How much noise is computed at a time.
const NOISE_BYTES: usize = 64 * 1024;

const MEGABYTE: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let megabytes = arguments.next().map_or(Ok(1000), |it| it.parse::<u64>())?;
    let folder = arguments.next().map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("datastreamer-spool-test"));
    let rate = arguments.next().map(|it| it.parse::<f64>()).transpose()?;
    let length = megabytes * MEGABYTE;
    let spool = Spool::open(&folder, SpoolOptions::new())?;
    let readers = StreamPool::new(PoolOptions::new());
    let options = || StreamOptions::new().pool(&readers);
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;

    for round in 0..3 {
        let plain = runtime.block_on(measure(noise(length, rate)))?;
        let key = Key::new(format!("noise {round}"));
        let begin = || Beginning::new(noise(length, rate)).keep(Keep::For(Duration::from_secs(60)));
        let (production, _) = spool.join_or_begin(key, begin)?;
        let first = production.open(vec![Piece::From(0)], options());
        let first = runtime.block_on(measure(first))?;
        let since = Instant::now();
        runtime.block_on(production.finished());
        let durable = since.elapsed();
        let complete = production.open(vec![Piece::From(0)], options());
        let complete = runtime.block_on(measure(complete))?;
        println!(
            "plain {plain:.0} MB/s, spooled first reader {first:.0} MB/s ({:.2}), \
             complete {complete:.0} MB/s ({:.2}); on the storage {durable:.1?} later",
            first / plain,
            complete / plain
        );
    }
    Ok(())
}

fn noise(length: u64, rate: Option<f64>) -> ChunkReader {
    stream_out(move |out: &mut StreamWriter| {
        let mut noise = vec![0; NOISE_BYTES];
        let mut state = 1;
        let begin = Instant::now();
        let mut left = length;
        while left > 0 {
            make_noise(&mut noise, &mut state);
            let part = left.min(NOISE_BYTES as u64) as usize;
            out.write_slice(&noise[..part])?;
            left -= part as u64;
            let due = rate.map_or(0.0, |rate| (length - left) as f64 / MEGABYTE as f64 / rate);
            let early = Duration::from_secs_f64(due).saturating_sub(begin.elapsed());
            // Short pauses are longer than asked for.
            if early > Duration::from_millis(5) {
                std::thread::sleep(early);
            }
        }
        Ok::<(), datastreamer::Error>(())
    })
}

/// Computes noise (xorshift64*, Vigna 2016).
fn make_noise(noise: &mut [u8], state: &mut u64) {
    for word in noise.chunks_exact_mut(8) {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        word.copy_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
}

/// Reads to the end, and copies each chunk as a socket does; returns MB/s.
async fn measure(mut chunks: ChunkReader) -> Result<f64, datastreamer::Error> {
    let begin = Instant::now();
    let mut bytes = 0;
    let mut socket = Vec::new();
    while let Some(chunk) = chunks.next_chunk().await {
        let chunk = chunk?;
        socket.clear();
        socket.extend_from_slice(&chunk);
        bytes += std::hint::black_box(&socket).len() as u64;
    }
    Ok(bytes as f64 / MEGABYTE as f64 / begin.elapsed().as_secs_f64())
}
