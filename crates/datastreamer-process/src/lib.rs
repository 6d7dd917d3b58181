//! Child processes: each leads a process group of its own, and none outlives this process.
//!
//! [`Group`] starts a program as the leader of a group, and signals all of it. The guardian kills
//! the groups that are left when this process ends, also by `kill -9`. The guardian is this program
//! itself, started again, so a program that is to have one calls [`run_if_guardian`] first in its
//! `main`.
//!
//! What the programs write and which of them are wanted is up to the callers.

mod group;
mod guardian;

pub use rustix::process::Signal;

pub use crate::{
    group::{Group, Leader},
    guardian::run_if_guardian,
};
