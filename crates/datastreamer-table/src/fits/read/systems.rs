//! What the header states of the systems of coordinates and times (FITS 4.0, 8.3 and 9.2), of the
//! table or of one column. Which columns have such values is for [`meta::is_equatorial`] and
//! [`meta::is_instant`] to say, or the column's own keywords.
//!
//! What the keys of [`meta`] cannot say is left out: an origin of times in two parts.

use arrow::datatypes::{DataType, Field};

use crate::{
    Metadata,
    fits::systems::{TIME_SCALES, UsualEquinox},
    meta,
};

use super::header::Header;

/// The Julian date of 0 in MJD.
const MJD_ORIGIN: f64 = 2_400_000.5;

/// An equinox before it is one of FK4 (FITS 4.0, 8.3).
const FIRST_OF_FK5: f64 = 1984.0;

/// Adds the systems of a column, which has this number, to its metadata.
pub(super) fn with_systems(header: &Header, number: usize, field: Field) -> Field {
    let own = |keyword: &str| header.nonblank_text(&format!("{keyword}{number}"));
    let mut known = field.metadata().clone();
    if meta::is_equatorial(&field) {
        known.extend(frame(header, number).unwrap_or_default());
    }
    let type_of_axis = own("TCTYP").filter(|name| *name == "TIME" || scale(name).is_some());
    let is_instant = type_of_axis.is_some() || own("TRPOS").is_some() || meta::is_instant(&field);
    if is_instant {
        let scale = type_of_axis
            .and_then(scale)
            .or_else(|| scale(header.nonblank_text("TIMESYS")?));
        let position = own("TRPOS").or(header.nonblank_text("TREFPOS"));
        known.extend(times(header, &field, scale, position).unwrap_or_default());
    }
    field.with_metadata(known)
}

/// The frame, and its equinox where that is not the usual one. Where the header has only an equinox, it
/// decides which frame is meant (FITS 4.0, 8.3).
fn frame(header: &Header, number: usize) -> Option<Metadata> {
    let own = header.nonblank_text(&format!("RADE{number}"));
    let name = own.or_else(|| {
        header
            .nonblank_text("RADESYS")
            .or(header.nonblank_text("RADECSYS"))
    });
    let own = real(header, &format!("EQUI{number}"));
    let equinox = own.or_else(|| real(header, "EQUINOX"));
    let name = match name {
        Some(name) => name,
        None if equinox? < FIRST_OF_FK5 => "FK4",
        None => "FK5",
    };
    let mut known = Metadata::from([(meta::COOSYS.to_owned(), name.to_owned())]);
    if let Some(usual) = UsualEquinox::of(name)
        && let Some(equinox) = equinox.filter(|equinox| *equinox != usual.year)
    {
        let equinox = format!("{}{equinox:?}", usual.years);
        known.insert(meta::EQUINOX.to_owned(), equinox);
    }
    Some(known)
}

/// `None` where a scale, or the origin of numbers, is not known.
fn times(
    header: &Header,
    field: &Field,
    scale: Option<&str>,
    position: Option<&str>,
) -> Option<Metadata> {
    let mut known = Metadata::from([(meta::TIMESCALE.to_owned(), scale?.to_owned())]);
    if field.data_type() != &DataType::Utf8 {
        known.insert(meta::TIMEORIGIN.to_owned(), origin(header)?.to_string());
    }
    let position = position.map(|position| (meta::REFPOSITION.to_owned(), position.to_owned()));
    known.extend(position);
    Some(known)
}

/// The name that VOTable has for a time scale (FITS 4.0, table 30); `None` if it has none.
fn scale(name: &str) -> Option<&'static str> {
    match name {
        "IAT" => Some("TAI"),
        "TDT" => Some("TT"),
        name => TIME_SCALES.into_iter().find(|known| *known == name),
    }
}

/// The Julian date of 0 (FITS 4.0, 9.2.2: MJDREF counts before JDREF).
fn origin(header: &Header) -> Option<f64> {
    let in_parts = ["MJDREFI", "MJDREFF", "JDREFI", "JDREFF", "TIMEOFFS"];
    if in_parts
        .iter()
        .any(|keyword| real(header, keyword).is_some())
    {
        return None;
    }
    let Some(mjd) = real(header, "MJDREF") else {
        return real(header, "JDREF");
    };
    let exact = mjd + MJD_ORIGIN;
    (exact - MJD_ORIGIN == mjd).then_some(exact)
}

/// A number that describes: one that cannot be read is none.
fn real(header: &Header, keyword: &str) -> Option<f64> {
    let number: Option<f64> = header.number(keyword).ok().flatten();
    number.filter(|number| number.is_finite())
}
