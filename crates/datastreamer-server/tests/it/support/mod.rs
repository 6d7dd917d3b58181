//! What the tests of the program share. This file owns the list.

pub(crate) mod chromium;
pub(crate) mod clients;
pub(crate) mod cutting;
pub(crate) mod h2;
pub(crate) mod h2_server;
pub(crate) mod http;
pub(crate) mod liar;
pub(crate) mod nginx;
pub(crate) mod noise;
pub(crate) mod pages;
pub(crate) mod program;
pub(crate) mod rounds;
pub(crate) mod scratch;
pub(crate) mod scripted;
pub(crate) mod server;
pub(crate) mod table;
pub(crate) mod tables;
pub(crate) mod tls;
pub(crate) mod tools;
pub(crate) mod wait;
