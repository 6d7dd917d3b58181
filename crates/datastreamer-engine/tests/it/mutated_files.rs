//! Files with bytes that are changed at random, read and written as CSV or JSON: an error or a table,
//! never a panic that reaches the program, and no memory beyond a bound.
//!
//! `DATASTREAMER_MUTATION_ROUNDS=100000` makes more of them, and `DATASTREAMER_MUTATION_SEEDS=FOLDER`
//! takes the originals from `FOLDER/read_parquet` and so on, which
//! `datastreamer-server/tests/clients/differential/seeds.py` writes.

use std::{
    env, fs, io, panic,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use arrow::record_batch::RecordBatchReader;
use datastreamer_engine::{Engine, EngineOptions, Narrowing, Rows, TableFiles};
use datastreamer_table::{
    TableEnd, TableError, TableWriter,
    column_metadata::ColumnMetadata,
    csv::{CsvWriter, Delimiter},
    ipc::{self, IpcWriter},
    json::{self, JsonWriter},
};

use crate::support::{block_on, memory_bytes_max, stars, write_fits, write_parquet};

/// Some seconds of a debug build.
const ROUNDS: u64 = 300;
/// 1 GiB: some hundred times what these files take. A length that a file states, and that is taken
/// for true, is mostly beyond it.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Panics that no guard has caught: the engine's hook hides those that one has.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_parquet_file_with_changed_bytes_is_a_table_or_an_error() {
    mutate("parquet", |path| write_parquet(path, &stars(1, 300)));
}

#[test]
fn an_arrow_file_with_changed_bytes_is_a_table_or_an_error() {
    mutate("arrow", |path| {
        let batch = stars(1, 30);
        let file = fs::File::create(path).unwrap();
        let writer = IpcWriter::new(file, batch.schema(), ipc::Framing::File);
        let mut writer = Box::new(writer.unwrap());
        writer.write(&batch).unwrap();
        writer.finish(TableEnd::Complete).unwrap();
    });
}

#[test]
fn a_fits_file_with_changed_bytes_is_a_table_or_an_error() {
    mutate("fits", |path| write_fits(path, &stars(1, 30)));
}

#[test]
fn a_csv_file_with_changed_bytes_is_a_table_or_an_error() {
    mutate("csv", |path| {
        fs::write(path, "id,t,f\n1,\"a,b\",2024-02-29\n2,,1.5\n").unwrap();
    });
}

#[test]
fn an_ndjson_file_with_changed_bytes_is_a_table_or_an_error() {
    mutate("ndjson", |path| {
        let line = "{\"a\":1,\"b\":[1,null],\"c\":{\"d\":\"\\u00fc\"}}\n";
        fs::write(path, line.repeat(3)).unwrap();
    });
}

/// Reads many changed copies of what `write` writes.
#[track_caller]
fn mutate(suffix: &str, write: impl FnOnce(&Path)) {
    panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        eprintln!("{panic}");
    }));
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(folder.path(), suffix, write);
    let engine = Engine::new(EngineOptions {
        threads: Some(1),
        ..EngineOptions::default()
    })
    .unwrap();
    let (mut read, mut refused) = (0, 0);
    for round in 0..rounds() {
        let mut random = Random(round + 1);
        let path = folder.path().join(format!("{round}.{suffix}"));
        fs::write(&path, changed(&seeds, &mut random)).unwrap();
        match rows(&engine, &path).is_some_and(|rows| write_rows(rows).is_ok()) {
            true => read += 1,
            false => refused += 1,
        }
        let at = format!("round {round} of {suffix}: {}", path.display());
        if PANICS.load(Ordering::SeqCst) > 0 || memory_bytes_max() > MEMORY_BYTES_MAX {
            let kept = env::temp_dir().join(format!("mutated-{round}.{suffix}"));
            fs::copy(&path, &kept).unwrap();
            panic!("{at}, kept as {}", kept.display());
        }
        fs::remove_file(&path).unwrap();
    }
    assert!(refused > 0, "{read} read, {refused} refused");
    println!(
        "{suffix}: {read} read, {refused} refused, {} bytes of memory",
        memory_bytes_max()
    );
}

fn rounds() -> u64 {
    let rounds = env::var("DATASTREAMER_MUTATION_ROUNDS").ok();
    rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

fn seeds(folder: &Path, suffix: &str, write: impl FnOnce(&Path)) -> Vec<Vec<u8>> {
    let own = folder.join(format!("seed.{suffix}"));
    write(&own);
    let mut seeds = vec![fs::read(own).unwrap()];
    if let Some(others) = env::var_os("DATASTREAMER_MUTATION_SEEDS") {
        let others = PathBuf::from(others).join(format!("read_{suffix}"));
        let mut files: Vec<_> = fs::read_dir(others)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        seeds.extend(files.iter().map(|file| fs::read(file).unwrap()));
    }
    seeds
}

fn rows(engine: &Engine, path: &Path) -> Option<Rows> {
    let files = TableFiles::find(path).ok()?;
    let notes = ColumnMetadata::default();
    block_on(engine.register("t", files, &notes)).ok()?;
    block_on(engine.scan("t", &Narrowing::default())).ok()
}

/// Writes rows as CSV, or as JSON where CSV cannot hold them.
fn write_rows(rows: Rows) -> Result<(), TableError> {
    let schema = rows.schema();
    let mut table: Box<dyn TableWriter> =
        match CsvWriter::new(io::sink(), schema.clone(), Delimiter::Comma) {
            Ok(table) => Box::new(table),
            Err(_) => Box::new(JsonWriter::new(io::sink(), schema, json::Framing::Lines)?),
        };
    for batch in rows {
        let batch = batch.map_err(|error| TableError::Schema(error.to_string()))?;
        table.write(&batch)?;
    }
    table.finish(TableEnd::Complete)
}

/// A copy of a seed with one to four changes, most of them near its end, where footers are.
fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        let at = match random.below(2) {
            0 => random.below(length),
            _ => length - 1 - random.below(length.min(600)),
        };
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 127, 128, 255][random.below(5)],
            2 => bytes[at] = random.below(256) as u8,
            3 => overwrite(&mut bytes, at, &INTEGERS[random.below(INTEGERS.len())]),
            4 => bytes.truncate(at.max(1)),
            5 => {
                let end = (at + 1 + random.below(16)).min(length);
                bytes.drain(at..end);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let end = (from + 1 + random.below(32)).min(other.len());
                overwrite(&mut bytes, at, &other[from..end]);
            }
        }
    }
    bytes
}

/// Lengths and counts that are too large, negative, or nothing.
const INTEGERS: [[u8; 4]; 6] = [
    [0, 0, 0, 0],
    [255, 255, 255, 255],
    [255, 255, 255, 127],
    [0, 0, 0, 128],
    [0, 0, 0, 64],
    [127, 255, 255, 255],
];

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let end = (at + with.len()).min(bytes.len());
    bytes[at..end].copy_from_slice(&with[..end - at]);
}

/// A generator of numbers (xorshift64*): the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }
}
