//! `datastreamer get`: downloads a file, and says in the exit code what came of it.

use std::{
    borrow::Cow,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use http::HeaderMap;
use serde::Serialize;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    cli::{Cli, Get},
    error::Fatal,
    get::{Detail, Download, Existing, Exit, Failure, Options, Outcome, Output, Report},
};

/// Names are resolved on threads that cannot be stopped.
const SHUTDOWN: Duration = Duration::from_millis(100);

/// Of the exit code for a file that may be less than what was asked for.
const DOUBTFUL: u8 = 10;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    /// `null`: standard output, or no name is known yet.
    file: Option<Cow<'a, str>>,
    /// Of the file, or of what a later run can use.
    bytes: u64,
    sha256: Option<&'a str>,
    etag: Option<&'a str>,
    /// Bytes of an earlier run were used.
    resumed: bool,
    retries: u32,
    /// The digest is the one that the server states.
    verified: bool,
    seconds: f64,
    exit: u8,
}

/// How a download has ended.
enum End {
    Done(Result<Outcome, Failure>),
    /// A signal, with its number.
    Stopped(u8),
}

pub(crate) fn run(get: &Get) -> Result<(), Fatal> {
    let options = options(get);
    let started = Instant::now();
    let detail = match (get.quiet, get.verbose) {
        (true, _) => Detail::Quiet,
        (_, true) => Detail::Verbose,
        _ => Detail::Usual,
    };
    let mut download = Download::new(options, Report::start(detail)).map_err(fatal)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads(get.connections))
        .enable_all()
        .build()
        .map_err(|error| Fatal::Other(format!("no threads can be started: {error}")))?;
    let (end, kept) = download_or_stop(&runtime, &mut download)?;
    runtime.shutdown_timeout(SHUTDOWN);
    download.report().end();
    let done = verdict(&end, kept, &download);
    if get.json {
        let outcome = match &end {
            End::Done(Ok(outcome)) => Some(outcome),
            _ => None,
        };
        print_summary(&Summary {
            file: download.path().map(Path::to_string_lossy),
            bytes: outcome.map_or(kept, |outcome| outcome.bytes),
            sha256: outcome.map(|outcome| outcome.sha256.as_str()),
            etag: download.etag(),
            resumed: download.is_resumed(),
            retries: download.retries(),
            verified: outcome.is_some_and(|outcome| outcome.is_verified),
            seconds: started.elapsed().as_secs_f64(),
            exit: done.as_ref().map_or_else(|(code, _)| *code, |()| 0),
        });
    }
    done.map_err(|(code, text)| match code {
        code if code == Exit::OutputClosed as u8 => Fatal::OutputClosed,
        code => Fatal::Download { code, text },
    })
}

/// Refuses what no single option is wrong about, and resolves the rest.
fn options(get: &Get) -> Options {
    let output = match get.output.as_deref() {
        None => Output::Named,
        Some(path) if path == "-" => Output::Stdout,
        Some(path) => Output::File(path.to_owned()),
    };
    if get.json && output == Output::Stdout {
        Cli::refuse("--json and --output - both need standard output");
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &get.header {
        headers.append(name, value.clone());
    }
    Options {
        url: get.url.clone(),
        output,
        existing: match get.force {
            true => Existing::Replace,
            false => Existing::Keep,
        },
        connections: usize::from(get.connections),
        resume: !get.no_resume,
        retries: get.retries,
        headers,
        ca_files: get.ca_file.clone(),
        head_timeout: get.head_timeout,
        stall: get.timeout,
    }
}

/// One for each core that TLS can use.
fn threads(connections: u8) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(usize::from(connections))
}

/// Runs the download until it ends or a signal comes; returns also how many bytes are kept of a file
/// that is not complete.
fn download_or_stop(runtime: &Runtime, download: &mut Download) -> Result<(End, u64), Fatal> {
    runtime.block_on(async {
        let catch = |kind| {
            signal(kind).map_err(|error| Fatal::Other(format!("cannot wait for signals: {error}")))
        };
        let mut interrupt = catch(SignalKind::interrupt())?;
        let mut terminate = catch(SignalKind::terminate())?;
        let mut hang_up = catch(SignalKind::hangup())?;
        let end = tokio::select! {
            done = Box::pin(download.run()) => End::Done(done),
            _ = interrupt.recv() => stopped(SignalKind::interrupt()),
            _ = terminate.recv() => stopped(SignalKind::terminate()),
            _ = hang_up.recv() => stopped(SignalKind::hangup()),
        };
        let kept = match end {
            End::Done(Ok(_)) => 0,
            _ => download.leave().await,
        };
        Ok((end, kept))
    })
}

fn stopped(kind: SignalKind) -> End {
    End::Stopped(u8::try_from(kind.as_raw_value()).unwrap_or_default())
}

/// The exit code and the message of anything but a complete file.
fn verdict(end: &End, kept: u64, download: &Download) -> Result<(), (u8, String)> {
    let kept = match download.path() {
        Some(path) if kept > 0 => format!(
            "; {}.part has {kept} bytes for the next run",
            path.display()
        ),
        _ => String::new(),
    };
    match end {
        End::Done(Ok(Outcome { doubt: None, .. })) => Ok(()),
        End::Done(Ok(Outcome {
            doubt: Some(doubt), ..
        })) => {
            let file = download.path().map(Path::display);
            let file = file.map_or("standard output".into(), |file| file.to_string());
            Err((DOUBTFUL, format!("{file} was written, but {doubt}")))
        }
        End::Done(Err(failure)) => Err((failure.exit as u8, format!("{}{kept}", failure.text))),
        End::Stopped(number) => Err((128 + number, format!("stopped by signal {number}{kept}"))),
    }
}

fn fatal(failure: Failure) -> Fatal {
    Fatal::Download {
        code: failure.exit as u8,
        text: failure.text,
    }
}

fn print_summary(summary: &Summary<'_>) {
    if let Ok(text) = serde_json::to_string(summary) {
        // Whoever has closed standard output does not want it; the exit code remains.
        let _closed = writeln!(io::stdout(), "{text}");
    }
}
