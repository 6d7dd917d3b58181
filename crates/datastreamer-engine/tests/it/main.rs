//! The engine on real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arithmetic;
mod averages;
mod changed;
mod conversions;
mod correlated;
mod damaged;
mod equal_floats;
mod error_words;
mod evolving;
mod exact_numbers;
mod hanging;
mod in_lists;
mod in_subqueries;
mod joins;
mod known;
mod listing;
mod long_rows;
mod mixed_numbers;
mod mutated_files;
mod narrowing;
mod queries;
mod range_frames;
mod scans;
mod shown_values;
mod sliding;
mod statistics;
mod stored_types;
mod support;
mod text_files;
mod text_options;
mod time_functions;
mod truth;
mod written_out;
