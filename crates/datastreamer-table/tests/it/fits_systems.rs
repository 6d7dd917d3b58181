//! Systems of coordinates and times: what comes back through a FITS header, and what others mean
//! with theirs.

use std::{collections::HashMap, fs, fs::File, sync::Arc};

use arrow::{
    datatypes::{DataType, Field, Schema, TimeUnit},
    record_batch::RecordBatch,
};
use datastreamer_table::fits::FitsFile;
use datastreamer_table::{fits::FitsSpool, meta};

use crate::{fits_astropy::written as written_by_astropy, fits_round_trip::written};

const SYSTEMS: [&str; 5] = [
    meta::COOSYS,
    meta::TIMESCALE,
    meta::REFPOSITION,
    meta::TIMEORIGIN,
    meta::EQUINOX,
];

const RA: (&str, &str) = (meta::UCD, "pos.eq.ra");
const ICRS: (&str, &str) = (meta::COOSYS, "ICRS");
const EPOCH: (&str, &str) = (meta::UCD, "time.epoch");
const TCB: (&str, &str) = (meta::TIMESCALE, "TCB");
const BARYCENTER: (&str, &str) = (meta::REFPOSITION, "BARYCENTER");
const GAIA_ORIGIN: (&str, &str) = (meta::TIMEORIGIN, "2455197.5");

fn field(data_type: &DataType, known: &[(&str, &str)]) -> Field {
    let known = known.iter();
    let known: HashMap<_, _> = known
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Field::new("c", data_type.clone(), false).with_metadata(known)
}

fn systems(schema: &Schema) -> Vec<Vec<Option<String>>> {
    let of = |field: &Arc<Field>| {
        let get = |key: &str| meta::of_column(field, key).map(str::to_owned);
        SYSTEMS.map(get).to_vec()
    };
    schema.fields().iter().map(of).collect()
}

fn through_fits(fields: &[Field]) -> Vec<Vec<Option<String>>> {
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let (_directory, table) = written(&[RecordBatch::new_empty(schema)]);
    systems(&table.schema())
}

const FLOAT: DataType = DataType::Float64;
const TIME: DataType = DataType::Timestamp(TimeUnit::Second, None);

#[test]
fn systems_on_which_all_columns_agree_come_back() {
    let ra = field(&FLOAT, &[RA, ICRS]);
    let number = field(&FLOAT, &[EPOCH, TCB, BARYCENTER, GAIA_ORIGIN]);
    let time = field(&TIME, &[TCB, BARYCENTER]);
    let other = field(&FLOAT, &[(meta::UCD, "phot.mag")]);
    let unplaced = field(&TIME, &[(meta::TIMESCALE, "UTC")]);
    for fields in [
        vec![ra.clone(), ra.clone(), number.clone(), time.clone(), other],
        vec![time],
        vec![number.clone(), number],
        vec![unplaced, ra],
    ] {
        let schema = Schema::new(fields.clone());
        assert_eq!(through_fits(&fields), systems(&schema));
    }
}

#[test]
fn systems_on_which_columns_do_not_agree_or_that_fits_has_not_are_left_out() {
    let ra = field(&FLOAT, &[RA, ICRS]);
    let time = field(&TIME, &[TCB, BARYCENTER]);
    for fields in [
        vec![ra.clone(), field(&FLOAT, &[RA, (meta::COOSYS, "FK5")])],
        vec![ra, field(&FLOAT, &[RA])],
        vec![field(&FLOAT, &[RA, (meta::COOSYS, "GALACTIC")])],
        vec![time.clone(), field(&TIME, &[TCB])],
        vec![time.clone(), field(&TIME, &[])],
        vec![time, field(&FLOAT, &[EPOCH, TCB, BARYCENTER])],
        vec![field(&TIME, &[(meta::TIMESCALE, "GPS")])],
        vec![field(&TIME, &[TCB, (meta::REFPOSITION, "MOON")])],
        vec![field(&FLOAT, &[EPOCH, TCB, (meta::TIMEORIGIN, "long ago")])],
    ] {
        let expected = vec![vec![None; SYSTEMS.len()]; fields.len()];
        assert_eq!(through_fits(&fields), expected, "{fields:?}");
    }
}

#[test]
fn a_time_that_astropy_wrote_has_its_scale_and_origin() {
    let directory = written_by_astropy();
    let table = FitsFile::open(&directory.path().join("time.fits")).unwrap();
    let of = |words: [Option<&str>; 5]| words.map(|word| word.map(str::to_owned)).to_vec();
    assert_eq!(
        systems(&table.schema()),
        [
            of([None, Some("TDB"), Some("TOPOCENTER"), Some("0"), None]),
            of([None; 5]),
        ]
    );
}

/// Writes a table of one column, puts cards instead of what its header says of systems, and reads
/// what that means.
fn with_cards(known: &[(&str, &str)], cards: &[&str]) -> Vec<Option<String>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.fits");
    let schema = Arc::new(Schema::new(vec![field(&FLOAT, known)]));
    let spool = FitsSpool::new(schema, directory.path(), 1 << 20).unwrap();
    let mut file = File::create(&path).unwrap();
    spool.finish().unwrap().write_to(&mut file).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.chunks(80).rposition(|card| card.starts_with(b"END "));
    let end = 80 * end.unwrap();
    let cards = cards.iter().chain(&["END"]);
    let cards: String = cards.map(|card| format!("{card:<80}")).collect();
    bytes[end..end + cards.len()].copy_from_slice(cards.as_bytes());
    fs::write(&path, bytes).unwrap();
    systems(&FitsFile::open(&path).unwrap().schema()).remove(0)
}

#[test]
fn a_frame_is_what_the_header_says_by_whatever_keyword() {
    for (cards, expected) in [
        (vec!["RADESYS = 'FK5     '"], Some("FK5")),
        (vec!["RADECSYS= 'FK4     '"], Some("FK4")),
        (
            vec!["RADE1   = 'ICRS    '", "RADESYS = 'FK5     '"],
            Some("ICRS"),
        ),
        (
            vec!["RADESYS = 'FK5     '", "EQUINOX = 2000.0"],
            Some("FK5"),
        ),
        (
            vec!["RADESYS = 'ICRS    '", "EQUINOX = 2000.0"],
            Some("ICRS"),
        ),
        (vec!["EQUINOX = 2000"], Some("FK5")),
        (vec!["EQUINOX = 1950.0"], Some("FK4")),
        (vec!["EQUINOX = 'J2000   '"], None),
        (vec![], None),
    ] {
        let found = with_cards(&[RA], &cards);
        assert_eq!(found[0].as_deref(), expected, "{cards:?}");
        assert_eq!(found[4], None, "{cards:?}");
    }
}

#[test]
fn an_equinox_that_is_not_the_frames_usual_one_is_kept_with_it() {
    for (cards, frame, equinox) in [
        (
            vec!["RADESYS = 'FK5     '", "EQUINOX = 1975.0"],
            "FK5",
            "J1975.0",
        ),
        (
            vec!["RADESYS = 'FK4     '", "EQUINOX = 1900"],
            "FK4",
            "B1900.0",
        ),
        (vec!["EQUINOX = 1975.0"], "FK4", "B1975.0"),
        (vec!["EQUINOX = 1984.0"], "FK5", "J1984.0"),
    ] {
        let found = with_cards(&[RA], &cards);
        assert_eq!(found[0].as_deref(), Some(frame), "{cards:?}");
        assert_eq!(found[4].as_deref(), Some(equinox), "{cards:?}");
    }
    let fk5 = |equinox| {
        field(
            &FLOAT,
            &[RA, (meta::COOSYS, "FK5"), (meta::EQUINOX, equinox)],
        )
    };
    let j1975 = fk5("J1975.0");
    let schema = Schema::new(vec![j1975.clone()]);
    assert_eq!(through_fits(std::slice::from_ref(&j1975)), systems(&schema));
    let usual = field(&FLOAT, &[RA, (meta::COOSYS, "FK5")]);
    let of_usual = systems(&Schema::new(vec![usual.clone(); 2]));
    assert_eq!(through_fits(&[fk5("J2000.0"), usual.clone()]), of_usual);
    for others in [vec![j1975, usual], vec![fk5("B1975.0")]] {
        for found in through_fits(&others) {
            assert_eq!(found, vec![None; SYSTEMS.len()]);
        }
    }
}

#[test]
fn an_origin_of_times_is_told_only_where_it_is_exact() {
    let scale = "TIMESYS = 'TDT     '";
    for (cards, expected) in [
        (vec![scale, "MJDREF  = 51544.5"], Some("2451545")),
        (vec![scale, "JDREF   = 2451545.0"], Some("2451545")),
        (
            vec![scale, "JDREF   = 0.0", "MJDREF  = 0.0"],
            Some("2400000.5"),
        ),
        (
            vec![scale, "MJDREFI = 51910", "MJDREFF = 7.4287037D-4"],
            None,
        ),
        (vec![scale, "MJDREF  = 51910.00074287037"], None),
        (vec![scale, "JDREF   = 0.0", "TIMEOFFS= 3.0"], None),
        (vec![scale], None),
        (vec!["TIMESYS = 'LOCAL   '", "JDREF   = 0.0"], None),
        (vec!["JDREF   = 0.0"], None),
    ] {
        let found = with_cards(&[EPOCH], &cards);
        assert_eq!(found[3].as_deref(), expected, "{cards:?}");
        // Numbers without an origin would be years.
        let scale = expected.map(|_| "TT");
        assert_eq!(found[1].as_deref(), scale, "{cards:?}");
    }
}
