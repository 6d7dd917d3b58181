//! What the tests share. This file owns the list.

pub(crate) mod h2_client;
pub(crate) mod raw;
pub(crate) mod serving;
pub(crate) mod spy;
pub(crate) mod streams;
