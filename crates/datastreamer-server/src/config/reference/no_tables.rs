//! No settings of tables, in a program that was built without them.

use super::Section;

/// Sections of the file that this build does not know.
pub(super) const LEFT_OUT: [&str; 3] = ["tables", "sql", "databases"];

pub(super) fn settings() -> [Section; 0] {
    []
}

pub(super) fn beside_routes() -> [Section; 0] {
    []
}

pub(super) fn column_keys() -> Vec<String> {
    Vec::new()
}
