//! Tables that nobody thought of: random schemas and values in every format, compared with their
//! sources by astropy, pyarrow and Python's csv.
//!
//! `DATASTREAMER_TABLE_SEED` repeats a run, which prints its seed; `DATASTREAMER_TABLE_ROUNDS`
//! runs more.

use std::{fs, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
        FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array,
        Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray, StringArray,
        StringViewArray, Time32MillisecondArray, Time64MicrosecondArray, TimestampMicrosecondArray,
        TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array,
        UInt64Array,
    },
    datatypes::{Field, Float64Type, Int32Type, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::votable::Serialization;

use crate::tables::{ALL, Format, compare_directory, write_source};

/// Tables of each format in a round, which is one start of Python.
const TABLES: usize = 8;

#[test]
fn random_tables_read_back_in_every_format() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("DATASTREAMER_TABLE_SEED").unwrap_or(now);
    for round in 0..number("DATASTREAMER_TABLE_ROUNDS").unwrap_or(1) {
        let seed = seed + round;
        println!("DATASTREAMER_TABLE_SEED={seed}");
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        for (place, format) in ALL.iter().enumerate() {
            for table in 0..TABLES {
                let batches = random_table(&mut random, *format);
                let name = format!("{}-{table}", (b'a' + place as u8) as char);
                write_source(&directory.path().join(format!("{name}.arrows")), &batches);
                let file = directory.path().join(format!("{name}.{}", format.name()));
                fs::write(file, format.encode(&batches)).unwrap();
            }
        }
        compare_directory(directory.path())
            .unwrap_or_else(|said| panic!("DATASTREAMER_TABLE_SEED={seed}: {said}"));
    }
}

fn random_table(random: &mut Random, format: Format) -> Vec<RecordBatch> {
    let rows = random.one_of(&[0, 1, 2, 9, 40, 300]);
    let columns = (0..=random.below(7)).map(|place| {
        let is_nullable = random.below(4) > 0;
        // None, few or all.
        let null_percent = match is_nullable {
            true => random.one_of(&[0, 10, 10, 50, 100]),
            false => 0,
        };
        let mut values = Values {
            random: &mut *random,
            format,
            rows,
            null_percent,
        };
        let array = values.column();
        let name = format!("c{place}{}", values.name_suffix());
        (
            Field::new(name, array.data_type().clone(), is_nullable),
            array,
        )
    });
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.collect::<Vec<_>>().into_iter().unzip();
    let whole = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let cut = random.below(rows as u64 + 1) as usize;
    vec![whole.slice(0, cut), whole.slice(cut, rows - cut)]
}

/// Of one column.
struct Values<'a> {
    random: &'a mut Random,
    format: Format,
    rows: usize,
    null_percent: u64,
}

impl Values<'_> {
    fn column(&mut self) -> ArrayRef {
        let kinds = match self.format {
            Format::Csv | Format::Tsv => 24,
            _ => 27,
        };
        match self.random.below(kinds) {
            0 => Arc::new(BooleanArray::from(self.all(|it| it.random.below(2) == 0))),
            1 => Arc::new(Int8Array::from(self.all(|it| it.integer() as i8))),
            2 => Arc::new(Int16Array::from(self.all(|it| it.integer() as i16))),
            3 => Arc::new(Int32Array::from(self.all(|it| it.integer() as i32))),
            4 => Arc::new(Int64Array::from(self.all(Self::integer))),
            5 => Arc::new(UInt8Array::from(self.all(|it| it.integer() as u8))),
            6 => Arc::new(UInt16Array::from(self.all(|it| it.integer() as u16))),
            7 => Arc::new(UInt32Array::from(self.all(|it| it.integer() as u32))),
            8 => self.largest_integers(),
            9 => Arc::new(Float32Array::from(self.all(|it| it.float() as f32))),
            10 => Arc::new(Float64Array::from(self.all(Self::float))),
            11 => self.decimals(),
            12 => Arc::new(Date32Array::from(self.all(|it| it.day() as i32))),
            13 => Arc::new(Date64Array::from(self.all(|it| it.day() * 86_400_000))),
            14 => Arc::new(TimestampSecondArray::from(self.all(|it| it.seconds()))),
            15 => Arc::new(TimestampMicrosecondArray::from(self.all(|it| {
                it.seconds() * 1_000_000 + it.random.below(1_000_000) as i64
            }))),
            // numpy has taken the least for a time that is none.
            16 => Arc::new(TimestampNanosecondArray::from(
                self.all(|it| it.integer().max(-i64::MAX)),
            )),
            17 => Arc::new(Time32MillisecondArray::from(
                self.all(|it| it.random.below(86_400_000) as i32),
            )),
            18 => Arc::new(Time64MicrosecondArray::from(
                self.all(|it| it.random.below(86_400_000_000) as i64),
            )),
            19 => Arc::new(StringArray::from(self.all(Self::text))),
            20 => Arc::new(LargeStringArray::from(self.all(Self::text))),
            21 => Arc::new(StringViewArray::from(self.all(Self::text))),
            22 => Arc::new(BinaryArray::from_iter(self.all(Self::bytes))),
            23 => self.fixed_bytes(),
            24 => {
                let lists = self.all(|it| it.list(|it| Some(it.integer() as i32)));
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
            }
            25 => {
                let lists = self.all(|it| it.list(|it| Some(it.float())));
                Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
            }
            _ => {
                let pairs = self.all(|it| [Some(it.float()), Some(it.float())]);
                Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(pairs, 2))
            }
        }
    }

    fn all<T>(&mut self, of: impl Fn(&mut Self) -> T) -> Vec<Option<T>> {
        let rows = self.rows;
        let value = |_| match self.random.below(100) < self.null_percent {
            true => None,
            false => Some(of(self)),
        };
        (0..rows).map(value).collect()
    }

    fn decimals(&mut self) -> ArrayRef {
        let scale = self.random.one_of(&[0, 2, 10]);
        let values = self.all(|it| i128::from(it.integer() / 10));
        let array = Decimal128Array::from(values);
        Arc::new(array.with_precision_and_scale(20, scale).unwrap())
    }

    /// Without nulls in FITS: astropy (8.0) fails at a TNULL of unsigned integers of 64 bits.
    fn largest_integers(&mut self) -> ArrayRef {
        if self.format == Format::Fits {
            self.null_percent = 0;
        }
        Arc::new(UInt64Array::from(self.all(|it| it.integer() as u64)))
    }

    /// Without nulls where there is nothing to stand for them.
    fn fixed_bytes(&mut self) -> ArrayRef {
        if self.format == Format::Votable(Serialization::Binary) {
            self.null_percent = 0;
        }
        let rows = self.all(|it| [it.random.next() as u8, 0, 255]).into_iter();
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, 3).unwrap())
    }

    /// BINARY has taken the least of each size for null, and the greatest of bytes.
    fn integer(&mut self) -> i64 {
        let value = match self.random.below(5) {
            0 => self
                .random
                .one_of(&[0, -1, 1, i64::MIN, i64::MAX, 1 << 53, -(1 << 53) - 1]),
            1 => self
                .random
                .one_of(&[i16::MAX.into(), i16::MIN.into(), 255, 128, 65_535]),
            2 => self
                .random
                .one_of(&[i32::MAX.into(), i32::MIN.into(), u32::MAX.into()]),
            3 => self.random.below(200) as i64 - 100,
            _ => self.random.next() as i64,
        };
        let ends_of_types = [8, 16, 32, 64].map(|bits| {
            let low = value << (64 - bits) >> (64 - bits);
            low == i64::MIN >> (64 - bits) || value as u8 == u8::MAX
        });
        match self.format {
            Format::Votable(Serialization::Binary) if ends_of_types.contains(&true) => 7,
            _ => value,
        }
    }

    fn float(&mut self) -> f64 {
        match self.random.below(4) {
            0 => self
                .random
                .one_of(&[0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
            1 => self
                .random
                .one_of(&[f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1, -1e22, 1e21]),
            2 => self.random.below(1000) as f64 / 8.0,
            _ => f64::from_bits(self.random.next()),
        }
    }

    /// Within the years 0 to 9999.
    fn day(&mut self) -> i64 {
        let ends = [-719_528, 2_932_896, 0, -1, 11_016];
        match self.random.below(3) {
            0 => self.random.one_of(&ends),
            _ => self.random.below(3_652_425) as i64 - 719_528,
        }
    }

    fn seconds(&mut self) -> i64 {
        self.day() * 86_400 + self.random.below(86_400) as i64
    }

    fn text(&mut self) -> String {
        let is_ascii = self.format == Format::Fits;
        let length = self.random.one_of(&[0, 1, 3, 9, 30, 400]);
        let length = self.random.below(length + 1);
        (0..length)
            .map(|_| self.random.character(is_ascii))
            .collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.random.below(6))
            .map(|_| self.random.next() as u8)
            .collect()
    }

    fn list<T>(&mut self, of: impl Fn(&mut Self) -> Option<T>) -> Vec<Option<T>> {
        (0..self.random.below(5)).map(|_| of(self)).collect()
    }

    /// Readers of FITS and VOTable have rules of their own for names.
    fn name_suffix(&mut self) -> String {
        match self.format {
            Format::Csv | Format::Tsv => self.text(),
            _ => String::new(),
        }
    }
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

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    fn character(&mut self, is_ascii: bool) -> char {
        match self.below(8) {
            0 => self.one_of(&['&', '<', '>', '"', '\'', ',', '\\', ' ']),
            1 if !is_ascii => self.one_of(&['\t', '\n', '\r', '\u{1}', '\u{1f}', '\u{7f}']),
            2 if !is_ascii => self.one_of(&['\u{85}', '\u{2028}', '\u{fffe}', '\u{feff}']),
            3 if !is_ascii => self.one_of(&['é', '\u{301}', '\u{5d0}', '\u{1f680}', '\u{10ffff}']),
            _ => (b' ' + self.below(95) as u8) as char,
        }
    }
}
