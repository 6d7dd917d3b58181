//! Whether a limit has cut the rows of a file, from `datastreamer-row-limit` and the receipt, and how
//! that is said. Pure.

use http::{HeaderMap, HeaderValue};

use super::failure::harmless;

/// In the head of a response, or in its trailers: the limit that may cut its rows.
const ROW_LIMIT: &str = "datastreamer-row-limit";

/// What a limit has done to the rows of a file that has ended.
#[derive(Debug)]
pub(crate) enum Rows {
    All,
    /// The limit.
    Cut(String),
    /// The limit, which nobody has said more of: a proxy may have removed the trailer that says so.
    MayBeCut(String),
}

impl Rows {
    /// `limit` is that of the head, which has ` of ` where it is known to cut: `100 of 20000`, `100 of more`. A
    /// trailer only ever says that it has cut.
    pub(crate) fn of(limit: Option<&str>, trailers: &HeaderMap) -> Self {
        match (limit_of(trailers), limit) {
            (Some(limit), _) => Self::Cut(limit),
            (None, Some(limit)) if limit.contains(" of ") => Self::Cut(limit.into()),
            (None, Some(limit)) => Self::MayBeCut(limit.into()),
            (None, None) => Self::All,
        }
    }

    /// Takes the word of the receipt on what is not known without it.
    pub(crate) fn told(self, is_cut: Option<bool>) -> Self {
        match (self, is_cut) {
            (Self::MayBeCut(_), Some(false)) => Self::All,
            (Self::MayBeCut(limit), Some(true)) => Self::Cut(limit),
            (known, _) => known,
        }
    }

    /// Says that rows are missing, or may be.
    pub(crate) fn doubt(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Cut(limit) => Some(match Limit::parse(&limit) {
                Some(limit) => limit.cut(),
                None => format!("its rows are cut: the limit is {limit}"),
            }),
            Self::MayBeCut(limit) => {
                let limit = match Limit::parse(&limit) {
                    Some(limit) => limit.described(),
                    None => format!("the limit is {limit}"),
                };
                Some(format!(
                    "its rows may be cut: {limit}, and neither a trailer nor a receipt says whether \
                     there were more"
                ))
            }
        }
    }
}

/// Returns the limit that fields state, as they state it.
pub(crate) fn limit_of(fields: &HeaderMap) -> Option<String> {
    let limit: &HeaderValue = fields.get(ROW_LIMIT)?;
    Some(harmless(&String::from_utf8_lossy(limit.as_bytes())))
}

/// `100 of 20000; set-by=server`, read.
struct Limit {
    rows: u64,
    /// How many there are without it, if that is known.
    of: Option<u64>,
    by: Option<&'static str>,
}

impl Limit {
    /// `None` of what another server writes otherwise.
    fn parse(text: &str) -> Option<Self> {
        let (rows, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (rows, of) = match rows.split_once(" of ") {
            Some((rows, of)) if of.trim() == "more" => (rows, None),
            Some((rows, of)) => (rows, Some(of.trim().parse::<u64>().ok()?)),
            None => (rows, None),
        };
        let mut parameters = parameters.split(';').map(str::trim);
        let by = parameters.find_map(|it| match it {
            "set-by=server" => Some("the server"),
            "set-by=request" => Some("the request"),
            _ => None,
        });
        let rows = rows.trim().parse().ok()?;
        Some(Self { rows, of, by })
    }

    fn cut(&self) -> String {
        let has = match self.of {
            Some(of) => format!("{} of {}", self.rows, counted(of)),
            None => format!("{}, and there are more", counted(self.rows)),
        };
        let by = self.by.map(|by| format!("; {by} has set the limit"));
        format!("its rows are cut: it has {has}{}", by.unwrap_or_default())
    }

    fn described(&self) -> String {
        let rows = counted(self.rows);
        match self.by {
            Some(by) => format!("{by} has set a limit of {rows}"),
            None => format!("there is a limit of {rows}"),
        }
    }
}

fn counted(rows: u64) -> String {
    match rows {
        1 => "1 row".into(),
        rows => format!("{rows} rows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_said_in_words_whoever_has_set_it() {
        for (limit, said) in [
            (
                "100 of 20000; set-by=server",
                "it has 100 of 20000 rows; the server has set the limit",
            ),
            (
                "1 of more;set-by=request",
                "it has 1 row, and there are more; the request has set the limit",
            ),
            ("100 of 20000", "it has 100 of 20000 rows"),
            ("all of it", "the limit is all of it"),
        ] {
            let doubt = Rows::of(Some(limit), &HeaderMap::new()).doubt();
            assert_eq!(doubt, Some(format!("its rows are cut: {said}")), "{limit}");
        }
        for (limit, said) in [
            (
                "100; set-by=server",
                "its rows may be cut: the server has set a limit of 100 rows, and ",
            ),
            ("100", "its rows may be cut: there is a limit of 100 rows, "),
            ("some", "its rows may be cut: the limit is some, and "),
        ] {
            let doubt = Rows::of(Some(limit), &HeaderMap::new()).doubt();
            let doubt = doubt.unwrap_or_default();
            assert!(doubt.starts_with(said), "{doubt}");
        }
    }

    #[test]
    fn the_receipt_decides_only_what_is_not_known() {
        let of = |limit| Rows::of(Some(limit), &HeaderMap::new());
        assert!(matches!(of("9").told(Some(false)), Rows::All));
        assert!(matches!(of("9").told(Some(true)), Rows::Cut(_)));
        assert!(matches!(of("9").told(None), Rows::MayBeCut(_)));
        assert!(matches!(of("9 of 10").told(Some(false)), Rows::Cut(_)));
    }
}
