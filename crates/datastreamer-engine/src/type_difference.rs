//! How the type of a file's column differs from that of others, in words: of lists, structs and maps
//! the part that differs. `columns.rs` and `common_type.rs` decide that it does.

use arrow::datatypes::{DataType, Field, Fields};
use datastreamer_table::type_name;

/// A column of a file, and what it is compared with.
pub(crate) struct Differing<'a> {
    pub(crate) column: &'a str,
    /// What the file is compared with, in words.
    pub(crate) others: &'a str,
    /// Whether a part of the first type fits one of the second.
    pub(crate) fits: fn(&DataType, &DataType) -> bool,
}

impl Differing<'_> {
    /// Says how a type differs. `joined` is the file's type once it holds what the others have, too:
    /// it shows which part does not fit.
    pub(crate) fn text(&self, theirs: &DataType, joined: &DataType, ours: &DataType) -> String {
        self.of_part(&mut Vec::new(), theirs, joined, ours)
    }

    fn of_part<'t>(
        &self,
        place: &mut Vec<&'t str>,
        theirs: &'t DataType,
        joined: &'t DataType,
        ours: &'t DataType,
    ) -> String {
        use DataType as T;
        match (theirs, joined, ours) {
            (T::Struct(theirs), T::Struct(joined), T::Struct(ours)) => {
                self.of_struct(place, theirs, joined, ours)
            }
            (T::FixedSizeList(_, theirs), _, T::FixedSizeList(_, ours)) if theirs != ours => {
                let (others, place) = (self.others, self.name(place));
                format!("has lists of {theirs} elements in {place}, {others} of {ours}")
            }
            _ => match (element(theirs), element(joined), element(ours)) {
                (Some(theirs), Some(joined), Some(ours)) if !(self.fits)(joined, ours) => {
                    self.of_part(place, theirs, joined, ours)
                }
                _ => self.of_types(place, theirs, ours),
            },
        }
    }

    fn of_struct<'t>(
        &self,
        place: &mut Vec<&'t str>,
        theirs: &'t Fields,
        joined: &'t Fields,
        ours: &'t Fields,
    ) -> String {
        let others = self.others;
        for part in joined {
            place.push(part.name());
            match (named(theirs, part.name()), named(ours, part.name())) {
                (_, None) => return format!("has a {}, unlike {others}", self.name(place)),
                (Some(theirs), Some(ours)) if !(self.fits)(part.data_type(), ours.data_type()) => {
                    let joined = part.data_type();
                    return self.of_part(place, theirs.data_type(), joined, ours.data_type());
                }
                _ => {
                    place.pop();
                }
            }
        }
        match ours
            .iter()
            .find(|part| named(joined, part.name()).is_none())
        {
            Some(part) => {
                place.push(part.name());
                format!("lacks the {}, unlike {others}", self.name(place))
            }
            None => {
                let place = self.name(place);
                format!("has the fields of {place} in another order than {others}")
            }
        }
    }

    fn of_types(&self, place: &[&str], theirs: &DataType, ours: &DataType) -> String {
        let name = |data_type: &DataType| match data_type {
            DataType::FixedSizeBinary(bytes) => format!("binary of {bytes} bytes"),
            data_type => type_name(data_type),
        };
        let (theirs, ours, others) = (name(theirs), name(ours), self.others);
        // As of maps and of unions, whose names say nothing of what is in them.
        let form = match theirs == ours {
            true => " of another form",
            false => "",
        };
        let place = self.name(place);
        format!("has {theirs} in {place}, {others} {ours}{form}")
    }

    fn name(&self, place: &[&str]) -> String {
        let column = self.column;
        match place {
            [] => format!("column {column:?}"),
            place => format!("field {:?} of column {column:?}", place.join(".")),
        }
    }
}

fn named<'f>(fields: &'f Fields, name: &str) -> Option<&'f Field> {
    fields.find(name).map(|(_, field)| field.as_ref())
}

/// Returns the type of what is in a list or a map.
fn element(data_type: &DataType) -> Option<&DataType> {
    use DataType as T;
    match data_type {
        T::List(element) | T::LargeList(element) | T::FixedSizeList(element, _) => {
            Some(element.data_type())
        }
        T::Map(entries, _) => Some(entries.data_type()),
        _ => None,
    }
}
