//! The program, started as its users start it and judged by what they see.
//!
//! This file owns the list of subjects and nothing else. What the subjects share is in `support`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows them in tests, and this is one, including its helpers"
)]

mod behind_nginx;
mod cat;
mod clients;
mod clients_tls;
mod commands;
mod configuration;
mod connections;
mod cors;
mod databases;
mod directories;
mod documents;
mod embedding;
mod files;
mod get;
mod health;
mod left_behind;
mod limits;
mod lint;
mod pages;
mod privacy;
mod productions;
mod receipts;
mod rerun;
mod resume;
mod settings;
mod shares;
mod shutdown;
mod support;
mod tables_asked;
mod tables_bounds;
mod tables_cut;
mod tables_differential;
mod tables_failures;
mod tables_folders;
mod tables_hdus;
mod tables_held;
mod tables_hostile;
mod tables_named;
mod tables_narrowed;
mod tables_nested;
mod tables_odd_text;
mod tables_pages;
mod tables_queries;
mod tables_ranges;
mod tables_readers;
mod tables_routes;
mod tables_sql;
mod tables_text;
mod tables_ways_out;
