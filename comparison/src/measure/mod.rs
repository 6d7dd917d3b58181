//! The measurements, one file each.

pub mod bound;
pub mod failures;
pub mod hang_up;
pub mod place;
pub mod speed;
