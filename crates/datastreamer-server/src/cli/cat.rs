//! `datastreamer cat`: writes a table or a route's file to standard output.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, IsTerminal},
    iter,
    os::unix::ffi::OsStrExt,
    path::Path,
    process,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use datastreamer::{ChunkReader, Error, ErrorKind, Record, StreamHandle, StreamPool};
use datastreamer_http::Pieces;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    cli::{
        Cat,
        waiting::{REDRAW, waiting_line},
    },
    config::{Config, Demo, Precedence, RouteConfig, names},
    error::Fatal,
    export::{Export, Taker},
    refusal::Refusal,
    site::Site,
    sources::Query,
};

/// How long a stopped source has to clean up: longer than the time that a program gets to exit.
const CLEANUP: Duration = Duration::from_secs(3);

pub(crate) fn run(cat: &Cat) -> Result<(), Fatal> {
    // As in a URL. Any other name may be that of a file, and a mistake in it must show.
    let demo = match cat.target.as_bytes().first() {
        Some(b'/') => Demo::IfNothingElse,
        _ => Demo::Never,
    };
    let mut config = Config::of_command_line(&cat.routes.command_line(demo))?;
    #[cfg(feature = "tables")]
    if let Some(compression) = cat.parquet_compression {
        config.tables.set_parquet_compression(compression);
    }
    let shown = cat.target.to_string_lossy();
    let mut given = cat.parameters();
    let file = file_of(cat)?;
    cat.routes.check_flags(file.is_some())?;
    let (site, file_name, query) = match file {
        Some((path, query)) => {
            let mut route = RouteConfig {
                precedence: Precedence::Replaces,
                ..RouteConfig::of_table(path, &cat.routes.text_options())?
            };
            if let Some(hdu) = cat.hdu() {
                route.choose_hdu(hdu);
            }
            let name = route.name.clone();
            config.routes.push(route);
            let message = format!("reading the columns of {}", path.display());
            let opening = waiting_line(&message, cat.quiet);
            let report = |text: &str| opening.set_message(text.to_owned());
            let site = Site::build_with(&config, &report);
            opening.finish_and_clear();
            (site?, name, query)
        }
        None => {
            let target = shown.trim_start_matches('/');
            let (file_name, _) = target.split_once('?').unwrap_or((target, ""));
            let mut query = cat.target.as_bytes().splitn(2, |byte| *byte == b'?');
            let query = query.nth(1).unwrap_or_default();
            let site = Site::build(&config)?;
            if site.routes.find(file_name).is_none() {
                return Err(nothing_of(&shown, &site));
            }
            given.extend(cat.hdu().map(|hdu| ("hdu", hdu.to_owned())));
            (site, file_name.to_owned(), query)
        }
    };
    // Before the source runs: a program that it starts must not outlive this process.
    let signals = Signals::catch()?;
    let pool = StreamPool::new(site.config.pool_options());
    let Started {
        reader,
        counted,
        plan,
        source,
    } = start(&site, &pool, &file_name, query, given)?;
    signals.stop(reader.handle(), source)?;
    let planning = waiting_line("planning", cat.quiet);
    let plan = plan.recv();
    planning.finish_and_clear();
    if let Ok(Err(refusal)) = plan {
        return Err(refused(&shown, refusal));
    }
    let progress = progress_line(&reader, counted, cat.quiet);
    let written = reader.write_to(&mut progress.wrap_write(io::stdout().lock()));
    pool.wait_until_empty(CLEANUP);
    match written {
        Ok(_) => {
            progress.finish();
            Ok(())
        }
        // Stopped by a signal: the thread for signals ends the process.
        Err(error) if error.kind() == ErrorKind::Stopped => loop {
            thread::park();
        },
        Err(error) => {
            progress.abandon();
            Err(failed(&shown, &error))
        }
    }
}

/// A running source.
struct Started {
    reader: ChunkReader,
    /// What the source counts besides bytes.
    counted: &'static str,
    /// The result of planning, before the first byte.
    plan: Receiver<Result<(), Refusal>>,
    /// Disconnected when the source has returned.
    source: Receiver<()>,
}

/// Starts a route's source; `parameters` are beside those of the query.
fn start(
    site: &Site,
    pool: &StreamPool,
    file_name: &str,
    query: &[u8],
    parameters: Vec<(&'static str, String)>,
) -> Result<Started, Fatal> {
    let mut query = Query::parse(query).map_err(Fatal::config)?;
    for (name, value) in parameters {
        query.add(name, value);
    }
    let export = Export::find(site, file_name, &query, None, Taker::Output);
    let export = export.map_err(|refusal| Fatal::config(refusal.into_text()))?;
    let (runs, done) = mpsc::channel();
    let counted = match export.job.rows {
        Some(_) => "rows",
        None => "members",
    };
    let (planned, plan) = mpsc::channel();
    let (job, name) = (export.job, file_name.to_owned());
    let reader = site
        .config
        .sole_stream_options()
        .pool(pool)
        .context(file_name)
        // A terminal or a pipe may be slow: the user decides when to give up.
        .consumer_stall(None)
        .stream_out(move |out| {
            let _runs: Sender<()> = runs;
            let feed = match job.start(out) {
                Ok(feed) => feed,
                Err(refusal) => {
                    let text = refusal.text.clone();
                    planned.send(Err(refusal.about(&name)))?;
                    return Err(text.into());
                }
            };
            let length = feed.planned.known_length();
            if let Some(length) = length {
                // Before whoever waits for the plan looks at it.
                out.promise_length(length)?;
            }
            planned.send(Ok(()))?;
            feed.write_to(out, &Pieces::complete(length))
        });
    Ok(Started {
        reader,
        counted,
        plan,
        source: done,
    })
}

/// A request that is refused before its first byte: the target is wrong, or its source fails. The user of
/// `cat` is the operator, who may see what clients are not told.
fn refused(target: &str, mut refusal: Refusal) -> Fatal {
    let is_of_client = refusal.status.is_client_error();
    let cause = refusal.cause.take();
    let text = cause.unwrap_or_else(|| refusal.into_text());
    match is_of_client {
        true => Fatal::config(text),
        false => incomplete(target, &text),
    }
}

/// A target that names neither a file nor a route.
fn nothing_of(target: &str, site: &Site) -> Fatal {
    let (name, _) = target.split_once('?').unwrap_or((target, ""));
    let names = site.routes.names();
    let routes = match names.is_empty() {
        true => "--demo adds those of the built-in demo",
        false => &format!("there are {names}"),
    };
    Fatal::config(format!(
        "there is no file {name}, and no such route ({routes})"
    ))
}

/// Returns `PATH` or `NAME=PATH`, and the query, if the target names a file or a folder, as in
/// `cat stars.parquet`. One that exists takes precedence over a route of the same name, and a longer
/// name over a query.
fn file_of(cat: &Cat) -> Result<Option<(&Path, &[u8])>, Fatal> {
    let target = cat.target.as_bytes();
    let split = |end: usize| {
        let path = Path::new(OsStr::from_bytes(&target[..end]));
        (path, target.get(end + 1..).unwrap_or_default())
    };
    let marks = target.iter().enumerate().rev();
    let marks = marks.filter_map(|(at, byte)| (*byte == b'?').then_some(at));
    let mut shortest = target.len();
    for end in iter::once(target.len()).chain(marks) {
        let (argument, query) = split(end);
        let path = match is_query(argument) {
            true => argument,
            false => names::split(argument)?.1,
        };
        // A link that leads nowhere is refused as such.
        if path.is_file() || path.is_dir() || path.is_symlink() {
            return Ok(Some((argument, query)));
        }
        shortest = end;
    }
    let is_glob = target[..shortest].contains(&b'*');
    Ok(is_glob.then(|| split(shortest)))
}

/// Returns whether the first `=` is one of a query: `stars.parquet?select=ra` is no file `ra`.
fn is_query(argument: &Path) -> bool {
    let mut name = argument.as_os_str().as_bytes().split(|byte| *byte == b'=');
    name.next().is_some_and(|name| name.contains(&b'?'))
}

/// The signals that end the process. They are caught because a source may run a program, which the
/// signals of the terminal do not reach.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Starts to catch the signals.
    fn catch() -> Result<Self, Fatal> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(no_signals)?;
        let entered = runtime.enter();
        let catch = |kind| signal(kind).map_err(no_signals);
        let interrupt = catch(SignalKind::interrupt())?;
        let terminate = catch(SignalKind::terminate())?;
        let hang_up = catch(SignalKind::hangup())?;
        drop(entered);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
            hang_up,
        })
    }

    /// Stops the stream at the first signal, and ends the process when the source has cleaned up.
    /// It does not wait for the output, which may be blocked.
    fn stop(mut self, stream: StreamHandle, source: Receiver<()>) -> Result<(), Fatal> {
        let wait = move || {
            let number = self.wait();
            stream.stop(Error::new(ErrorKind::Stopped, "by a signal"));
            let _done = source.recv_timeout(CLEANUP);
            // The exit code that shells report for a process that a signal has ended.
            process::exit(128 + number);
        };
        let spawned = thread::Builder::new().name("signals".into()).spawn(wait);
        spawned.map(drop).map_err(no_signals)
    }

    fn wait(&mut self) -> i32 {
        let kind = self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
                _ = self.hang_up.recv() => SignalKind::hangup(),
            }
        });
        kind.as_raw_value()
    }
}

fn no_signals(error: io::Error) -> Fatal {
    Fatal::Other(format!("cannot wait for signals: {error}"))
}

fn failed(target: &str, error: &Error) -> Fatal {
    if error.kind() == ErrorKind::ConsumerFailed {
        let closed = std::error::Error::source(error)
            .and_then(|cause| cause.downcast_ref::<io::Error>())
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
        return match closed {
            true => Fatal::OutputClosed,
            // For example a full disk: the file is not complete.
            false => Fatal::Incomplete(format!(
                "{target} is not complete: cannot write to standard output: {error}"
            )),
        };
    }
    incomplete(target, &error.to_string())
}

/// Names the target once: the reason may be about the same file.
fn incomplete(target: &str, reason: &str) -> Fatal {
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    let name = Path::new(path).file_name().unwrap_or_default();
    let reason = reason.replacen(&format!("{}: ", Path::new(name).display()), "", 1);
    Fatal::Incomplete(format!("{target} is not complete: {reason}"))
}

/// Writes the number of rows, the expected number and the rate; or the number of members.
fn draw_counted(
    record: &Record,
    counted: &str,
    elapsed: Duration,
    line: &mut dyn fmt::Write,
) -> fmt::Result {
    let rows = record.rows;
    if rows == 0 {
        return match counted {
            // A FITS file may need to read all rows before it writes the first.
            "rows" => line.write_str(", no rows yet"),
            _ => Ok(()),
        };
    }
    if counted != "rows" {
        return write!(line, ", {rows} {counted}");
    }
    write!(line, ", {}", HumanCount(rows))?;
    if let Some(expected) = record.rows_expected.filter(|expected| *expected > 0) {
        let percent = rows * 100 / expected;
        write!(line, " of {} rows ({percent}%)", HumanCount(expected))?;
    } else {
        line.write_str(" rows")?;
    }
    let rate = rows as f64 / elapsed.as_secs_f64().max(1e-3);
    write!(line, ", {} rows/s", HumanCount(rate as u64))
}

fn progress_line(reader: &ChunkReader, counted: &'static str, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match reader.bytes_left() {
        Some(_) => {
            "{bar:30} {percent}%, {bytes} of {total_bytes}, {bytes_per_sec}{counted}, {eta} left"
        }
        None => "{spinner} {bytes}, {bytes_per_sec}{counted}, {elapsed}",
    };
    let progress = match reader.bytes_left() {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    progress.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        let stream = reader.handle();
        let count = move |state: &ProgressState, line: &mut dyn fmt::Write| {
            // A line that cannot be drawn is drawn again at the next tick.
            let _ = draw_counted(&stream.record(), counted, state.elapsed(), line);
        };
        progress.set_style(style.with_key("counted", count));
    }
    progress.enable_steady_tick(REDRAW);
    progress
}
