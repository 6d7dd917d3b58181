//! One headless Chromium for the whole test run, behind a node process that takes orders line by
//! line. The protocol is described in `tests/clients/chromium.mjs`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::clients::{Report, TIME_LIMIT};
use super::{scratch, tools};

/// Chromium takes seconds on an idle machine; this is for a busy one.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How Chromium gets a file.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// The reader's way: a navigation that becomes a download.
    Download,
    /// A download that may be interrupted. Saves nothing.
    Begin,
    /// The reader who resumes it in the list of downloads.
    Resume,
    /// A page's way: `fetch(...)` and `arrayBuffer()`.
    Fetch,
    /// The same of the page with this URL, which may be of another origin; and a part of the file, by its
    /// ETag.
    FetchFrom(&'a str),
    /// A page to look at: nothing of it may be blocked by its policy. Saves nothing.
    View,
    /// The page of a table, through which a reader clicks: the rows behind and before, a sort, a filter.
    /// Saves nothing.
    ClickThrough,
}

/// The running browser. Never dropped: the end of this process ends its input, and with it itself.
pub(crate) struct Chromium {
    /// Held while an order is under way. With four downloads at the same time Chromium cancels
    /// about one of a thousand that are complete.
    turn: Mutex<()>,
    orders: Mutex<Orders>,
    answers: Answers,
}

struct Orders {
    input: ChildStdin,
    last_id: u32,
}

/// Who waits for which answer; `None` when the browser has ended and no more will come.
type Answers = Arc<Mutex<Option<HashMap<u32, Sender<Report>>>>>;

impl Chromium {
    /// Returns the browser, and starts it if this is the first call.
    pub(crate) fn running() -> &'static Self {
        static RUNNING: OnceLock<Chromium> = OnceLock::new();
        RUNNING.get_or_init(Self::start)
    }

    /// Gets `url` and saves it as `file`. Blocks until others have got theirs.
    ///
    /// # Panics
    /// When the browser has ended: that proves nothing of the transfer.
    pub(crate) fn get(&self, way: Way<'_>, url: &str, file: &Path) -> Report {
        // Whoever panicked in his turn had no part in the browser's state.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.order(way, url, file).recv_timeout(TIME_LIMIT) {
            Ok(report) => report,
            Err(RecvTimeoutError::Timeout) => Report::Nothing,
            Err(RecvTimeoutError::Disconnected) => panic!("Chromium ended while it got {url}"),
        }
    }

    fn order(&self, way: Way<'_>, url: &str, file: &Path) -> Receiver<Report> {
        let mut orders = self
            .orders
            .lock()
            .expect("nobody panics with the orders locked");
        orders.last_id += 1;
        let id = orders.last_id;
        let (sender, receiver) = mpsc::channel();
        if let Some(waiting) = &mut *self.answers.lock().expect("nor with the answers locked") {
            waiting.insert(id, sender);
        }
        let (way, from) = match way {
            Way::Download => ("download", ""),
            Way::Begin => ("begin", ""),
            Way::Resume => ("resume", ""),
            Way::Fetch => ("fetch", ""),
            Way::FetchFrom(page) => ("fetch-from", page),
            Way::View => ("view", ""),
            Way::ClickThrough => ("click-through", ""),
        };
        // If the browser has ended, the receiver is disconnected, and this may fail or not.
        let _ = writeln!(
            orders.input,
            "{id}\t{way}\t{url}\t{}\t{from}",
            file.display()
        );
        receiver
    }

    fn start() -> Self {
        tools::existing("Chromium", "/usr/bin/chromium".into());
        let log_file = scratch::root().join("chromium.log");
        let mut child = tools::program("node")
            .arg(tools::client_script("chromium.mjs"))
            .arg(tools::playwright_core())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log_file).expect("the log can be made"))
            .spawn()
            .expect("node starts");
        let input = child.stdin.take().expect("stdin is a pipe");

        let answers: Answers = Arc::new(Mutex::new(Some(HashMap::new())));
        let waiting = Arc::clone(&answers);
        let (sender, ready) = mpsc::channel();
        thread::spawn(move || deliver_all(child, &sender, &waiting));
        ready.recv_timeout(START_LIMIT).expect("Chromium starts");
        Self {
            turn: Mutex::new(()),
            orders: Mutex::new(Orders { input, last_id: 0 }),
            answers,
        }
    }
}

/// Reads what the browser says, to its end: that it is ready, then its answers.
fn deliver_all(mut child: Child, ready: &Sender<()>, answers: &Answers) {
    let output = child.stdout.take().expect("stdout is a pipe");
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if line == "ready" {
            let _ = ready.send(());
        } else {
            deliver(answers, &line);
        }
    }
    *answers
        .lock()
        .expect("nobody panics with the answers locked") = None;
    let _ = child.wait();
}

/// Hands an answer to who waits for it. Whoever gave up waiting is not disturbed.
fn deliver(answers: &Answers, line: &str) {
    let mut fields = line.splitn(3, '\t');
    let id = fields.next().and_then(|id| id.parse::<u32>().ok());
    let report = match fields.next() {
        Some("ok") => Report::Success,
        _ => Report::Failure(fields.next().unwrap_or_default().to_owned()),
    };
    let mut answers = answers
        .lock()
        .expect("nobody panics with the answers locked");
    if let Some(sender) = id.and_then(|id| answers.as_mut()?.remove(&id)) {
        let _ = sender.send(report);
    }
}
