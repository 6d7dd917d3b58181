//! `datastreamer cat`: a route's bytes on standard output.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use datastreamer::{ChunkReader, Error, ErrorKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    cli::Cat,
    config::{self, Config},
    error::Fatal,
    export::Export,
};

/// How often the progress line is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

pub(crate) fn run(cat: &Cat) -> Result<(), Fatal> {
    let config = config::load(&cat.routes, None)?;
    let reader = start(&config, &cat.target)?;
    let progress = progress_line(&reader, cat.quiet);
    let written = reader.write_to(&mut progress.wrap_write(io::stdout().lock()));
    match written {
        Ok(_) => {
            progress.finish();
            Ok(())
        }
        Err(error) => {
            progress.abandon();
            Err(failed(&cat.target, &error))
        }
    }
}

fn start(config: &Config, target: &str) -> Result<ChunkReader, Fatal> {
    let target = target.trim_start_matches('/');
    let (file_name, query) = target.split_once('?').unwrap_or((target, ""));
    let export = Export::find(config, file_name, query)
        .map_err(|refusal| Fatal::Config(refusal.into_text()))?;
    Ok(config
        .stream_options()
        .context(target)
        .length(export.prepared.length)
        // A terminal or a pipe may take its time: who runs this decides when to give up.
        .consumer_stall(None)
        .stream_out(export.prepared.write))
}

fn failed(target: &str, error: &Error) -> Fatal {
    if error.kind() == ErrorKind::ConsumerFailed {
        let closed = std::error::Error::source(error)
            .and_then(|cause| cause.downcast_ref::<io::Error>())
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
        return match closed {
            true => Fatal::OutputClosed,
            false => Fatal::Other(format!("cannot write to standard output: {error}")),
        };
    }
    Fatal::Incomplete(format!("{target} is not whole: {error}"))
}

fn progress_line(reader: &ChunkReader, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match reader.bytes_left() {
        Some(_) => "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{spinner} {bytes}, {bytes_per_sec}, {elapsed}",
    };
    let progress = match reader.bytes_left() {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    progress.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        progress.set_style(style);
    }
    progress.enable_steady_tick(REDRAW);
    progress
}
