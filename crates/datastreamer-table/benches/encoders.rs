//! The encoders alone: rows per second of CPU time from record batches in memory into nowhere.
//!
//! `cargo bench -p datastreamer-table --bench encoders [-- NAME...]`. The table has the columns
//! and the distribution of `benches`' star catalogue: eight columns, of which four have 2 % nulls.
//! CPU time, not time: what else runs on the machine disturbs it less.
//!
//! A line an encoder: name, million rows a CPU second, nanoseconds a row, bytes a row, with tabs.

// What measuring calls may fail as tests do.
#![allow(clippy::unwrap_used)]

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    record_batch::RecordBatch,
};
use datastreamer_table::{
    TableEnd, TableWriter,
    csv::{CsvWriter, Delimiter},
    fits::{FitsSpool, FitsSurvey, FitsWriter},
    ipc::{self, IpcWriter},
    json::{self, JsonWriter},
    parquet::{ParquetCompression, ParquetWriter},
    votable::{Serialization, VotableOptions, VotableWriter},
};
use rustix::time::{ClockId, clock_gettime};

/// Batches of the size that DataFusion makes.
const BATCH_ROWS: usize = 8192;
const BATCHES: usize = 25;

/// Of so many runs the median counts.
const RUNS: usize = 9;

const NAMES: [&str; 14] = [
    "tabledata",
    "binary",
    "binary2",
    "csv",
    "tsv",
    "ndjson",
    "json",
    "parquet-snappy",
    "parquet-zstd",
    "arrow",
    "fits-spool",
    "fits-write",
    "fits-survey",
    "fits-stream",
];

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let mut random = Random(42);
    let batches: Vec<_> = (0..BATCHES).map(|_| stars(&mut random)).collect();
    for name in NAMES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure(name, &batches);
        }
    }
}

fn measure(name: &str, batches: &[RecordBatch]) {
    let mut runs: Vec<_> = (0..RUNS).map(|_| run(name, batches)).collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, bytes) = runs[RUNS / 2];
    let rows = (BATCH_ROWS * BATCHES) as f64;
    println!(
        "{name}\t{:.2}\t{:.1}\t{:.1}",
        rows / seconds / 1e6,
        seconds * 1e9 / rows,
        bytes as f64 / rows
    );
}

/// CPU seconds and bytes of one whole table.
fn run(name: &str, batches: &[RecordBatch]) -> (f64, u64) {
    let mut out = Counted(0);
    let schema = batches[0].schema();
    let votable = |serialization| VotableOptions {
        serialization,
        ..VotableOptions::default()
    };
    if let "fits-spool" | "fits-write" = name {
        return run_spool(name, batches);
    }
    let shape = name.starts_with("fits-").then(|| {
        let before = cpu_seconds();
        let mut survey = FitsSurvey::new(batches[0].schema()).unwrap();
        for batch in batches {
            survey.look_at(batch).unwrap();
        }
        (survey.finish().unwrap(), cpu_seconds() - before)
    });
    if let ("fits-survey", Some((shape, seconds))) = (name, &shape) {
        return (*seconds, shape.bytes());
    }
    let before = cpu_seconds();
    let mut writer: Box<dyn TableWriter + '_> = match name {
        "fits-stream" => {
            let (shape, _) = shape.unwrap();
            Box::new(FitsWriter::new(&mut out, schema, shape).unwrap())
        }
        "tabledata" | "binary" | "binary2" => {
            let serialization = match name {
                "tabledata" => Serialization::Tabledata,
                "binary" => Serialization::Binary,
                _ => Serialization::Binary2,
            };
            Box::new(VotableWriter::new(&mut out, schema, votable(serialization)).unwrap())
        }
        "csv" => Box::new(CsvWriter::new(&mut out, schema, Delimiter::Comma).unwrap()),
        "ndjson" => Box::new(JsonWriter::new(&mut out, schema, json::Framing::Lines).unwrap()),
        "json" => Box::new(JsonWriter::new(&mut out, schema, json::Framing::Array).unwrap()),
        "parquet-snappy" => {
            Box::new(ParquetWriter::new(&mut out, schema, ParquetCompression::Snappy).unwrap())
        }
        "parquet-zstd" => {
            Box::new(ParquetWriter::new(&mut out, schema, ParquetCompression::Zstd).unwrap())
        }
        "arrow" => Box::new(IpcWriter::new(&mut out, schema, ipc::Framing::Stream).unwrap()),
        _ => Box::new(CsvWriter::new(&mut out, schema, Delimiter::Tab).unwrap()),
    };
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish(TableEnd::Complete).unwrap();
    (cpu_seconds() - before, out.0)
}

fn run_spool(name: &str, batches: &[RecordBatch]) -> (f64, u64) {
    let before = cpu_seconds();
    let directory = std::env::temp_dir();
    let mut spool = FitsSpool::new(batches[0].schema(), &directory, 1 << 30).unwrap();
    for batch in batches {
        spool.write(batch).unwrap();
    }
    let table = spool.finish().unwrap();
    let spooled = cpu_seconds();
    if name == "fits-spool" {
        return (spooled - before, table.bytes());
    }
    let mut out = Counted(0);
    table.write_to(&mut out).unwrap();
    (cpu_seconds() - spooled, out.0)
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// An output that counts.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0 += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stars(random: &mut Random) -> RecordBatch {
    const KINDS: [&str; 8] = [
        "GAL", "STAR", "QSO", "RRLyr", "MIRA*", "EB", "<UV&X>", "SN Ia",
    ];
    let rows = || 0..BATCH_ROWS;
    let source_id: Vec<_> = rows().map(|_| random.below(1 << 62) as i64).collect();
    let ra: Vec<_> = rows().map(|_| 360.0 * random.unit()).collect();
    let dec = rows().map(|_| (2.0 * random.unit() - 1.0).asin().to_degrees());
    let dec: Vec<_> = dec.collect();
    let parallax: Vec<_> = rows().map(|_| -random.unit().ln()).collect();
    let pmra: Vec<_> = rows()
        .map(|_| random.known(|r| 10.0 * r.normal()))
        .collect();
    let g_mag: Vec<_> = rows()
        .map(|_| random.known(|r| (18.0 + 2.0 * r.normal()) as f32))
        .collect();
    let name: Vec<_> = rows()
        .map(|_| random.known(|r| format!("{} {}", KINDS[r.below(8) as usize], r.below(10_000))))
        .collect();
    let epoch: Vec<_> = rows()
        .map(|_| random.known(|r| 1_400_000_000_000_000 + r.below(300_000_000_000_000) as i64))
        .collect();
    let columns: [(&str, ArrayRef, bool); 8] = [
        ("source_id", Arc::new(Int64Array::from(source_id)), false),
        ("ra", Arc::new(Float64Array::from(ra)), false),
        ("dec", Arc::new(Float64Array::from(dec)), false),
        ("parallax", Arc::new(Float64Array::from(parallax)), false),
        ("pmra", Arc::new(Float64Array::from(pmra)), true),
        ("g_mag", Arc::new(Float32Array::from(g_mag)), true),
        ("name", Arc::new(StringArray::from(name)), true),
        (
            "epoch",
            Arc::new(TimestampMicrosecondArray::from(epoch)),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0, exclusive, to 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A value, but for one in fifty.
    fn known<T>(&mut self, of: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(50) > 0).then(|| of(self))
    }
}
