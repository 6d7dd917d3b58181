//! Invents a star catalogue and writes it to stdout in a format: how fast are the encoders alone?
//!
//! ```sh
//! cargo run --release -p datastreamer-formats --example encode -- votable 5000000 >/dev/null
//! ```
use std::{env, io, sync::Arc, time::Instant};

use arrow::{
    array::{
        ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use datastreamer_formats::table::{
    TableEnd, TableWriter,
    csv::{CsvWriter, Delimiter},
    fits::FitsSpool,
    votable::{Serialization, VotableOptions, VotableWriter},
};

fn schema() -> SchemaRef {
    let f = |n: &str, t| Field::new(n, t, true);
    Arc::new(Schema::new(vec![
        Field::new("source_id", DataType::Int64, false),
        Field::new("ra", DataType::Float64, false),
        Field::new("dec", DataType::Float64, false),
        Field::new("parallax", DataType::Float64, false),
        f("pmra", DataType::Float64),
        f("g_mag", DataType::Float32),
        f("name", DataType::Utf8).with_metadata(std::collections::HashMap::from([(
            "charset".to_string(),
            "ascii".to_string(),
        )])),
        f("epoch", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ]))
}

fn batch(schema: &SchemaRef, rows: usize) -> RecordBatch {
    let mut state = 42_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let types = [
        "GAL", "STAR", "QSO", "RRLyr", "MIRA*", "EB", "<UV&X>", "SN Ia",
    ];
    let mut unit = move || (next() >> 11) as f64 / (1_u64 << 53) as f64;
    let mut f = |scale: f64, shift: f64| -> Vec<f64> {
        (0..rows).map(|_| unit() * scale + shift).collect()
    };
    let (id, ra, dec, plx, pm, g, t, ep) = (
        f(4.6e18, 0.),
        f(360., 0.),
        f(180., -90.),
        f(3., 0.),
        f(20., -10.),
        f(8., 14.),
        f(8e4, 0.),
        f(3e14, 1.4e15),
    );
    let null = |i: usize, k: usize| (i * 31 + k) % 50 == 0;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(id.iter().map(|v| *v as i64))),
        Arc::new(Float64Array::from(ra)),
        Arc::new(Float64Array::from(dec)),
        Arc::new(Float64Array::from(plx)),
        Arc::new(Float64Array::from_iter(
            pm.iter()
                .enumerate()
                .map(|(i, v)| (!null(i, 1)).then_some(*v)),
        )),
        Arc::new(Float32Array::from_iter(
            g.iter()
                .enumerate()
                .map(|(i, v)| (!null(i, 2)).then_some(*v as f32)),
        )),
        Arc::new(StringArray::from_iter(t.iter().enumerate().map(
            |(i, v)| {
                (!null(i, 3)).then(|| format!("{} {}", types[*v as usize % 8], *v as usize / 8))
            },
        ))),
        Arc::new(TimestampMicrosecondArray::from_iter(
            ep.iter()
                .enumerate()
                .map(|(i, v)| (!null(i, 4)).then_some(*v as i64)),
        )),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns fit")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let format = args.next().unwrap_or("votable".into());
    let rows: usize = args.next().unwrap_or("1000000".into()).parse()?;
    let schema = schema();
    let batch = batch(&schema, rows.min(8192 * 12));
    let started = Instant::now();
    if format == "fits" {
        let mut spool =
            FitsSpool::new(batch.schema(), std::path::Path::new("/tmp"), 10_000_000_000)?;
        let mut left = rows;
        while left > 0 {
            let n = left.min(8192);
            let from = (rows - left) % (batch.num_rows() - n + 1);
            spool.write(&batch.slice(from, n))?;
            left -= n;
        }
        let table = spool.finish()?;
        let spooled = started.elapsed().as_secs_f64();
        table.write_to(&mut io::stdout().lock())?;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "fits: {rows} rows in {seconds:.2} s (spooled in {spooled:.2}), {:.2} M rows/s",
            rows as f64 / 1e6 / seconds
        );
        return Ok(());
    }
    let out = io::stdout().lock();
    let votable = |s| VotableOptions {
        serialization: s,
        ..Default::default()
    };
    let mut writer: Box<dyn TableWriter> = match format.as_str() {
        "votable" => Box::new(VotableWriter::new(
            out,
            schema,
            votable(Serialization::Tabledata),
        )?),
        "binary" => Box::new(VotableWriter::new(
            out,
            schema,
            votable(Serialization::Binary),
        )?),
        "binary2" => Box::new(VotableWriter::new(
            out,
            schema,
            votable(Serialization::Binary2),
        )?),
        "csv" => Box::new(CsvWriter::new(out, schema, Delimiter::Comma)?),
        _ => Box::new(CsvWriter::new(out, schema, Delimiter::Tab)?),
    };
    let started = Instant::now();
    let mut left = rows;
    while left > 0 {
        let n = left.min(8192);
        let from = (rows - left) % (batch.num_rows() - n + 1);
        writer.write(&batch.slice(from, n))?;
        left -= n;
    }
    writer.finish(TableEnd::Complete)?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{format}: {rows} rows in {seconds:.2} s, {:.2} M rows/s",
        rows as f64 / 1e6 / seconds
    );
    Ok(())
}
