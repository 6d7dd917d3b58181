//! Remembers the first name under which a file with several hard links was
//! archived. This file owns the limit of that memory; `directory.rs` calls it.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::member::MemberName;

pub(super) struct HardLinks {
    first_names: HashMap<Identity, FirstName>,
    bytes_held: usize,
    bytes_max: usize,
}

/// Two names with equal identities are the same file. Device and inode would
/// suffice in a tree that does not change. An inode that is freed and reused
/// during the walk has another change time; the new file is archived as a copy.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size_bytes: u64,
    changed_seconds: i64,
    changed_nanoseconds: i64,
}

struct FirstName {
    name: MemberName,
    /// How many names of the file the walk may still find; at least 1.
    links_left: u64,
}

/// The memory that a remembered file takes in addition to its name: key, value,
/// and the table's empty slots.
const ENTRY_BYTES: usize = 160;

impl HardLinks {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            first_names: HashMap::new(),
            bytes_held: 0,
            bytes_max,
        }
    }

    /// Returns the first name of a file that was found before. Otherwise
    /// remembers `name` as the first, if the file has more names and the limit
    /// allows it.
    pub(super) fn first_name(
        &mut self,
        metadata: &Metadata,
        name: &MemberName,
    ) -> Option<MemberName> {
        let links = metadata.nlink();
        if links < 2 {
            return None;
        }
        let identity = Identity::of(metadata);
        if let Some(first) = self.first_names.get_mut(&identity) {
            first.links_left -= 1;
            if first.links_left > 0 {
                return Some(first.name.clone());
            }
            let first = self.first_names.remove(&identity)?;
            self.bytes_held -= bytes_of(&first.name);
            return Some(first.name);
        }
        let bytes = bytes_of(name);
        if self.bytes_held + bytes <= self.bytes_max {
            self.bytes_held += bytes;
            let name = name.clone();
            let links_left = links - 1;
            self.first_names
                .insert(identity, FirstName { name, links_left });
        }
        None
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            changed_seconds: metadata.ctime(),
            changed_nanoseconds: metadata.ctime_nsec(),
        }
    }
}

fn bytes_of(name: &MemberName) -> usize {
    name.as_bytes().len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_forgotten_when_its_last_name_was_met() {
        let scratch = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| scratch.path().join(name));
        fs::write(&a, "x").unwrap();
        fs::hard_link(&a, &b).unwrap();
        fs::hard_link(&a, &c).unwrap();
        let metadata = fs::metadata(&a).unwrap();
        let name = |text: &str| MemberName::parse(text.as_bytes()).unwrap();

        let mut links = HardLinks::new(1000);
        assert_eq!(links.first_name(&metadata, &name("a")), None);
        assert_eq!(links.first_name(&metadata, &name("b")), Some(name("a")));
        assert!(links.bytes_held > 0);
        assert_eq!(links.first_name(&metadata, &name("c")), Some(name("a")));
        assert_eq!((links.bytes_held, links.first_names.len()), (0, 0));
    }

    #[test]
    fn beyond_its_memory_it_remembers_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| scratch.path().join(name));
        fs::write(&a, "x").unwrap();
        fs::hard_link(&a, &b).unwrap();
        let metadata = fs::metadata(&a).unwrap();
        let name = MemberName::parse(b"a").unwrap();

        let mut links = HardLinks::new(ENTRY_BYTES);
        assert_eq!(links.first_name(&metadata, &name), None);
        assert_eq!(links.first_name(&metadata, &name), None);
    }
}
