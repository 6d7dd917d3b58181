//! What the tests share. This file only lists it.

pub(crate) mod h2_client;
pub(crate) mod raw;
pub(crate) mod serving;
pub(crate) mod spy;
pub(crate) mod streams;
