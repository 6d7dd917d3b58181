//! Archives: many members into one stream of bytes.
//!
//! This module owns what all archive formats share: the rules for a member's
//! name, its metadata, and the error that names it. Each format has a file of
//! its own, and so has each way to find members.
//!
//! - [`tar`]: the writer of tar archives. Whoever has members calls it.
//! - [`directory`]: walks a real directory tree and calls the writer.

#[cfg(unix)]
pub mod directory;
mod error;
mod member;
pub mod tar;

pub use error::{MemberError, MemberProblem};
pub use member::{MEMBER_NAME_BYTES_MAX, MemberMetadata};
