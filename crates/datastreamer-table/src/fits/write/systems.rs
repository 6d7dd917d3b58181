//! What a header states of the systems of coordinates and times (FITS 4.0, 8.3 and 9.2).
//!
//! FITS has one of each for a table: RADESYS with EQUINOX, and TIMESYS with TREFPOS and JDREF. They
//! are written where all columns that they are of agree ([`meta::is_equatorial`],
//! [`meta::is_instant`]), and otherwise nothing is: a keyword would be wrong for some. The keywords
//! of single columns (TCTYPn, TRPOSn) are left alone: astropy (8.0) makes times of such a column,
//! and fails at texts of which some are null.
//!
//! What has no keyword is left out: frames other than ICRS, FK5 and FK4; the epoch of positions
//! (JEPOCH is that of the observation, EQUINOX that of the frame); numbers of years, whose zero
//! would be taken for that of MJD. So is the time scale GPS, at which astropy fails.

use arrow::datatypes::{Field, Schema};

use crate::{
    fits::systems::{TIME_SCALES, UsualEquinox},
    meta,
    nested::find_type,
};

/// The systems on which the columns of a table agree.
pub(super) struct Systems<'a> {
    frame: Option<Frame>,
    times: Option<Times<'a>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Frame {
    name: &'static str,
    /// Where it is not the usual one.
    equinox: Option<f64>,
}

struct Times<'a> {
    scale: &'a str,
    /// Where the clock stands, if that is known.
    position: Option<&'a str>,
    /// The Julian date of 0, where there are numbers.
    origin: Option<f64>,
}

impl<'a> Systems<'a> {
    pub(super) fn of(schema: &'a Schema) -> Self {
        let fields = schema.fields().iter().map(AsRef::as_ref);
        let equatorial = fields.filter(|field| meta::is_equatorial(field));
        Self {
            frame: agreed(equatorial.map(frame)),
            times: Times::of(schema),
        }
    }

    /// Keywords with texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let times = self.times.as_ref();
        let texts = [
            ("RADESYS", self.frame.map(|frame| frame.name)),
            ("TIMESYS", times.map(|times| times.scale)),
            ("TREFPOS", times.and_then(|times| times.position)),
        ];
        texts
            .into_iter()
            .filter_map(|(key, text)| Some((key, text?)))
    }

    /// Keywords with numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let numbers = [
            ("EQUINOX", self.frame.and_then(|frame| frame.equinox)),
            ("JDREF", self.times.as_ref().and_then(|times| times.origin)),
        ];
        // With a point, as of a float (FITS 4.0, 4.2.4).
        numbers
            .into_iter()
            .filter_map(|(key, number)| Some((key, format!("{:?}", number?).replace('e', "E"))))
    }
}

impl<'a> Times<'a> {
    fn of(schema: &'a Schema) -> Option<Self> {
        let fields = schema.fields().iter().map(AsRef::as_ref);
        let instants = fields.filter(|field| meta::is_instant(field));
        let systems = instants
            .clone()
            .map(|field| Some((scale(field)?, position(field)?)));
        let (scale, position) = agreed(systems)?;
        let mut numbers = instants.filter(|field| is_number(field)).peekable();
        let origin = match numbers.peek() {
            Some(_) => Some(agreed(numbers.map(origin))?),
            None => None,
        };
        Some(Self {
            scale,
            position,
            origin,
        })
    }
}

/// What all say; `None` if one says nothing or something else.
fn agreed<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = values.next()??;
    values
        .all(|value| value.as_ref() == Some(&first))
        .then_some(first)
}

/// FITS 4.0, table 24; the names that VOTable 1.1 had are the same frames.
fn frame(field: &Field) -> Option<Frame> {
    let name = match meta::of_column(field, meta::COOSYS)? {
        "ICRS" => "ICRS",
        "FK5" | "eq_FK5" => "FK5",
        "FK4" | "eq_FK4" => "FK4",
        _ => return None,
    };
    let Some(usual) = UsualEquinox::of(name) else {
        let equinox = None;
        return Some(Frame { name, equinox });
    };
    let equinox = match meta::of_column(field, meta::EQUINOX) {
        Some(text) => text
            .strip_prefix(usual.years)
            .unwrap_or(text)
            .parse()
            .ok()?,
        None => usual.year,
    };
    f64::is_finite(equinox).then(|| Frame {
        name,
        equinox: Some(equinox).filter(|equinox| *equinox != usual.year),
    })
}

/// All but GPS, at which astropy fails.
fn scale(field: &Field) -> Option<&str> {
    let scale = meta::of_column(field, meta::TIMESCALE)?;
    (scale != "GPS" && TIME_SCALES.contains(&scale)).then_some(scale)
}

/// FITS 4.0, table 31. `None`: it is known, and FITS has no name for it.
fn position(field: &Field) -> Option<Option<&str>> {
    match meta::of_column(field, meta::REFPOSITION) {
        None | Some("UNKNOWN") => Some(None),
        Some(
            known @ ("TOPOCENTER" | "GEOCENTER" | "BARYCENTER" | "HELIOCENTER" | "EMBARYCENTER"),
        ) => Some(Some(known)),
        Some(_) => None,
    }
}

fn is_number(field: &Field) -> bool {
    find_type(field.data_type(), &|data_type| data_type.is_numeric()).is_some()
}

fn origin(field: &Field) -> Option<f64> {
    let origin: f64 = meta::of_column(field, meta::TIMEORIGIN)?.parse().ok()?;
    origin.is_finite().then_some(origin)
}
