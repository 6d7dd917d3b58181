//! Writes archives to any [`std::io::Write`], in constant memory.
//!
//! An archive has members: files, directories and links. [`tar::TarWriter`]
//! writes them one by one, whatever their origin;
//! [`directory::DirectoryTar`] walks a directory tree and writes all of it. An
//! archive is complete only after [`tar::TarWriter::finish`]: after any error it
//! stays without its end, so that readers can tell.
//!
//! ```
//! use datastreamer_archive::{MemberMetadata, directory::DirectoryTar, tar::TarWriter};
//!
//! # fn main() -> std::io::Result<()> {
//! # let scratch = tempfile::tempdir()?;
//! # let root = scratch.path();
//! # std::fs::write(root.join("stars.csv"), "ra,dec\n10.5,-3.25\n")?;
//! let mut tar = TarWriter::new(Vec::new()); // or a file, a socket, a StreamWriter
//! let tally = DirectoryTar::open(root, "run-7")?.write_to(&mut tar, |_event| {})?;
//!
//! let readme = b"Stars of run 7\n";
//! let metadata = MemberMetadata::new(0o644, 1_700_000_000);
//! tar.append_file("run-7/README", readme.len() as u64, &metadata, &readme[..])?;
//! let archive = tar.finish()?;
//!
//! assert_eq!(tally.files, 1);
//! assert_eq!(archive.len() % 512, 0);
//! # Ok(())
//! # }
//! ```
//!
//! This file owns nothing; `member.rs` has the rules that all formats share for
//! a member's name and metadata, `error.rs` the error that names a member.

#[cfg(unix)]
pub mod directory;
mod error;
mod member;
pub mod tar;

pub use error::{MemberError, MemberProblem};
pub use member::{MEMBER_NAME_BYTES_MAX, MemberMetadata};
