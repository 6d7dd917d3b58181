//! The names of reference frames and time scales in FITS headers, for the reader and the writer.

/// The time scales that FITS and VOTable call by the same name (FITS 4.0, table 30).
pub(super) const TIME_SCALES: [&str; 9] =
    ["TAI", "TT", "UT", "UTC", "UT1", "GPS", "TCG", "TCB", "TDB"];

/// What the equinox of a frame is if the header has none (FITS 4.0, 8.3, table 24).
pub(super) struct UsualEquinox {
    /// FK5 counts Julian years (`J`), FK4 Besselian ones (`B`).
    pub(super) years: char,
    pub(super) year: f64,
}

impl UsualEquinox {
    /// Returns that of a frame, called as in RADESYS; `None` if the frame has no equinox.
    pub(super) fn of(frame: &str) -> Option<Self> {
        let (years, year) = match frame {
            "FK5" => ('J', 2000.0),
            "FK4" | "FK4-NO-E" => ('B', 1950.0),
            _ => return None,
        };
        Some(Self { years, year })
    }
}
