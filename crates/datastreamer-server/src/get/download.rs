//! A download from its first request to the name of its file: what is asked for, which version is
//! kept, and what must hold before the file gets its name.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::time::{sleep, timeout};
use url::Url;

use super::{
    digest::{Algorithm, Digests, hexadecimal},
    failure::{Again, Exit, Failure, harmless},
    name,
    options::{Options, Output},
    part_file::PartFile,
    parts::Parts,
    plan::{self, Asked, Step, Validator, decide},
    ranges::Ranges,
    receipt, refusal,
    report::{Detail, Report},
    request::{Answer, Client, without_credentials},
    retry::Retry,
    rows::{self, Rows},
    state::State,
    transfer::{End, Ending, StartOver, Transfer},
    writer::{Finished, Out, Writer},
};

/// How often the file may change, or an answer be unusable, before it is given up.
const FRESH_STARTS_MAX: u32 = 4;

/// For what is saved after a failure or a signal; the disk may hang.
const SAVE_LIMIT: Duration = Duration::from_secs(10);

/// One download.
pub(crate) struct Download {
    options: Options,
    client: Arc<Client>,
    report: Arc<Report>,
    /// Breaks that were followed by another try.
    retries: Arc<AtomicU32>,
    /// Where the bytes go, once that is known.
    place: Option<Place>,
    /// What is there.
    held: Ranges,
    state: State,
    /// Where the receipt is.
    receipt: Option<Url>,
    /// A response has come.
    was_answered: bool,
    is_resumed: bool,
    /// An answer to a range could not be used: no more are asked for.
    distrusts_ranges: bool,
    fresh_starts: u32,
}

struct Place {
    writer: Writer,
    /// `None` for standard output.
    path: Option<PathBuf>,
}

/// A complete file.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// Whether the server has stated a digest.
    pub(crate) is_verified: bool,
    /// Why it may be less than what was asked for.
    pub(crate) doubt: Option<String>,
}

impl Download {
    /// Prepares; asks nothing yet.
    ///
    /// # Errors
    /// A file of authorities that cannot be read.
    pub(crate) fn new(options: Options, report: Report) -> Result<Self, Failure> {
        let url = without_credentials(&options.url);
        Ok(Self {
            client: Arc::new(Client::new(&options)?),
            options,
            report: Arc::new(report),
            retries: Arc::default(),
            place: None,
            held: Ranges::default(),
            state: State::new(url.as_str()),
            receipt: None,
            was_answered: false,
            is_resumed: false,
            distrusts_ranges: false,
            fresh_starts: 0,
        })
    }

    /// Downloads. When the future is dropped, [`leave`](Self::leave) keeps what is there.
    ///
    /// # Errors
    /// What its exit code names.
    pub(crate) async fn run(&mut self) -> Result<Outcome, Failure> {
        match self.run_until_done().await {
            Err(failure) => Err(self.explain(failure).await),
            done => done,
        }
    }

    async fn run_until_done(&mut self) -> Result<Outcome, Failure> {
        self.find_earlier()?;
        let mut retry = Retry::new(self.options.retries, self.held.bytes());
        let mut next = None;
        let ending = loop {
            let (asked, answer) = match next.take() {
                Some(answer) => (Asked::Whole, answer),
                None => {
                    let asked = self.asked();
                    let answer = self.ask(&asked, &mut retry).await?;
                    (asked, answer)
                }
            };
            match self.take(&asked, answer, &mut retry).await? {
                Taken::All(ending) => break ending,
                Taken::Not(start_over) => next = self.start_over(start_over)?,
            }
        };
        self.finish(&ending).await
    }

    /// Adds to a break what it says nothing of: the URL, how far the file came, and why the server has
    /// broken it off, if its receipt tells.
    async fn explain(&self, failure: Failure) -> Failure {
        let url = &self.state.url;
        if failure.again == Again::Never || failure.text.starts_with(url) {
            return failure;
        }
        let held = self.held.bytes();
        let undone = match failure.is_unreachable && held == 0 {
            true => "cannot be downloaded",
            false => "is not complete",
        };
        let came = match self.state.total {
            _ if !failure.is_cut_off => String::new(),
            Some(total) => format!(" after {held} of {total} bytes"),
            None => format!(" after {held} bytes"),
        };
        let reason = match &failure.receipt {
            Some(link) => receipt::reason(&self.client, link).await,
            None => None,
        };
        let reason = reason.map(|reason| format!("; the server says: {reason}"));
        let reason = reason.unwrap_or_default();
        Failure {
            text: format!("{url} {undone}: {}{came}{reason}", failure.text),
            ..failure
        }
    }

    /// The path of the file, once it is known; `None` for standard output.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.place.as_ref()?.path.as_deref()
    }

    pub(crate) fn etag(&self) -> Option<&str> {
        self.state.validator.as_ref()?.etag()
    }

    pub(crate) fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Whether bytes of an earlier run are in the file.
    pub(crate) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// Keeps what a later run can use, and removes what it cannot; returns how many bytes are kept.
    pub(crate) async fn leave(&self) -> u64 {
        // Standard output may be blocked, and keeps nothing.
        let place = self.place.as_ref().filter(|it| it.path.is_some());
        let Some(place) = place else { return 0 };
        let save = async {
            let saved = place.writer.save().await?;
            if saved == 0 {
                place.writer.discard().await?;
            }
            Ok::<u64, Failure>(saved)
        };
        // After a failure of the disk there is the state that was saved before.
        timeout(SAVE_LIMIT, save)
            .await
            .map_or(0, Result::unwrap_or_default)
    }

    /// Finds what an earlier run has left, and locks it.
    fn find_earlier(&mut self) -> Result<(), Failure> {
        let path = match &self.options.output {
            Output::Stdout => return self.open(None),
            Output::File(path) => path.clone(),
            Output::Named if !self.options.resume => return Ok(()),
            Output::Named => match State::find(Path::new("."), &self.state.url) {
                Some(part) => part
                    .with_extension("")
                    .file_name()
                    .map_or(part, PathBuf::from),
                None => return Ok(()),
            },
        };
        self.open(Some(path))
    }

    /// Opens the file, with what is there of it.
    fn open(&mut self, path: Option<PathBuf>) -> Result<(), Failure> {
        let mut state = State::new(&self.state.url);
        let out = match &path {
            None => Out::Stdout,
            Some(path) => {
                let part = PartFile::open(path, self.options.existing)?;
                if let Some(earlier) = self.earlier(&part) {
                    state = earlier;
                }
                Out::Part(part)
            }
        };
        self.held = state.ranges().unwrap_or_default();
        self.is_resumed = self.held.bytes() > 0;
        self.state = state.clone();
        let writer = Writer::start(out, state)?;
        self.place = Some(Place { writer, path });
        Ok(())
    }

    /// What a state file says, if it is of this URL and the bytes are there.
    fn earlier(&self, part: &PartFile) -> Option<State> {
        if !self.options.resume {
            return None;
        }
        let note = |text: &str| {
            let text = format!("{} is not used: {text}", part.part().display());
            self.report.note(Detail::Usual, &text);
        };
        let length = part.file.metadata().ok()?.len();
        let Some(mut state) = State::load(part.part()) else {
            if length > 0 {
                note("nothing says which of its bytes are right");
            }
            return None;
        };
        if state.url != self.state.url {
            note("it is of another URL");
            return None;
        }
        state.validator.as_ref()?;
        let ranges = state.ranges()?;
        if length < ranges.end() {
            note("it is shorter than it was");
            return None;
        }
        // What follows was written, but is not said to be on the disk.
        part.file.set_len(ranges.end()).ok()?;
        state.synced = ranges.pairs();
        Some(state)
    }

    /// What to ask for next.
    fn asked(&mut self) -> Asked {
        let Some(validator) = self.state.validator.clone() else {
            return Asked::Whole;
        };
        let total = self.state.total;
        if let Some(total) = total.filter(|total| *total > 0 && self.held.gaps(*total).is_empty()) {
            // Whether the server still has this version is asked by its last byte.
            self.held.truncate(total - 1);
        }
        let gap = match total {
            Some(total) => self.held.gaps(total).into_iter().next(),
            None => Some(self.held.prefix()..u64::MAX),
        };
        match gap {
            Some(gap) if self.held.bytes() > 0 => Asked::Rest {
                from: gap.start,
                to: total.map(|_| gap.end).filter(|end| Some(*end) != total),
                validator,
                total,
            },
            _ => Asked::Whole,
        }
    }

    /// Asks until there is an answer that is no refusal.
    async fn ask(&mut self, asked: &Asked, retry: &mut Retry) -> Result<Answer, Failure> {
        loop {
            let failure = match self.client.ask(asked).await {
                Ok(answer) => {
                    let step = decide(asked, answer.status, &answer.headers);
                    let reached = !matches!(answer.status.as_u16(), 502..=504);
                    self.was_answered |= reached;
                    match step {
                        Step::Refused => refusal::failure(answer).await,
                        _ => return Ok(answer),
                    }
                }
                Err(failure) => failure,
            };
            // A host that was never reached has most likely been misspelled.
            let is_new = !self.was_answered && !self.is_resumed;
            let wait = match failure.again {
                Again::Later if is_new && failure.is_unreachable => None,
                _ => retry.next(&failure, self.held.bytes()),
            };
            let wait = wait.ok_or(failure.clone())?;
            self.retries.fetch_add(1, Ordering::Relaxed);
            let text = format!(
                "{}; trying again in {:.1} s",
                failure.text,
                wait.as_secs_f64()
            );
            self.report.note(Detail::Usual, &text);
            sleep(wait).await;
        }
    }

    /// Takes an answer and its body into the file.
    async fn take(
        &mut self,
        asked: &Asked,
        answer: Answer,
        retry: &mut Retry,
    ) -> Result<Taken, Failure> {
        let mut connections = self.options.connections;
        match decide(asked, answer.status, &answer.headers) {
            Step::Append { bytes, total } => {
                answer.check_not_coded()?;
                self.learn(&answer, Some(total));
                let known = self.state.clone();
                self.writer()?.update(move |state| {
                    (state.total, state.digests) = (known.total, known.digests);
                    state.row_limit = known.row_limit;
                });
                if self.etag().is_none() {
                    connections = 1;
                }
                let mut answer = answer;
                answer.body.expect_length(bytes.end - bytes.start);
                self.transfer(answer, connections, retry).await
            }
            Step::Fresh(why) => {
                if let Some(why) = why {
                    self.count_fresh_start(why)?;
                }
                answer.check_not_coded()?;
                self.begin(&answer).await?;
                if connections > 1 && !self.may_split(&answer) {
                    let text = "one connection: the server does not offer ranges, a strong ETag and a length";
                    self.report.note(Detail::Verbose, text);
                    connections = 1;
                }
                self.transfer(answer, connections, retry).await
            }
            Step::Complete => Ok(Taken::All(Ending::default())),
            Step::AskAnew(why) => Ok(Taken::Not(StartOver::Anew(why))),
            Step::Refused => Err(refusal::failure(answer).await),
        }
    }

    /// Begins the file anew, with the version of an answer.
    async fn begin(&mut self, answer: &Answer) -> Result<(), Failure> {
        if self.place.is_none() {
            let name = name::of_response(&answer.headers, &answer.url);
            self.open(Some(PathBuf::from(name)))?;
        }
        let is_final = self.is_final();
        self.state = State::new(&self.state.url);
        let may_resume = !is_final && !self.distrusts_ranges;
        self.state.validator = Validator::strong(&answer.headers).filter(|_| may_resume);
        self.held = Ranges::default();
        self.is_resumed = false;
        self.receipt = None;
        self.learn(answer, plan::length(&answer.headers));
        self.writer()?.start_over(self.state.clone()).await
    }

    /// Takes from a head what is known of the file.
    fn learn(&mut self, answer: &Answer, total: Option<u64>) {
        self.state.total = total.or(self.state.total);
        let digests = Digests::of_fields(&answer.headers);
        if !digests.is_empty() {
            self.state.digests = digests.to_base64();
        }
        if let Some(limit) = rows::limit_of(&answer.headers) {
            self.state.row_limit = Some(limit);
        }
        if let Some(link) = receipt::link(&answer.headers, &answer.url) {
            self.receipt = Some(link);
        }
    }

    fn may_split(&self, answer: &Answer) -> bool {
        plan::offers_ranges(&answer.headers)
            && self.etag().is_some()
            && self.state.total.is_some()
            && !self.is_final()
    }

    async fn transfer(
        &mut self,
        answer: Answer,
        connections: usize,
        retry: &mut Retry,
    ) -> Result<Taken, Failure> {
        self.report.begin(self.held.bytes(), self.state.total);
        let transfer = Arc::new(Transfer {
            client: self.client.clone(),
            writer: self.writer()?.clone(),
            report: self.report.clone(),
            parts: Parts::new(self.held.clone(), self.state.total),
            validator: self.state.validator.clone(),
            is_final: self.is_final(),
            retries_max: self.options.retries,
            retries: self.retries.clone(),
            ending: Mutex::default(),
        });
        let end = Box::pin(transfer.run(answer.body, connections, retry)).await;
        // A failure says how far it came.
        self.held = transfer.parts.held();
        Ok(match end? {
            End::StartOver(why) => Taken::Not(why),
            End::Complete => {
                let ending = transfer.ending.lock();
                Taken::All(ending.unwrap_or_else(PoisonError::into_inner).clone())
            }
        })
    }

    /// Forgets what is there, says why, and returns the answer that is used instead if there is one.
    fn start_over(&mut self, why: StartOver) -> Result<Option<Answer>, Failure> {
        let reason = match &why {
            StartOver::Broken => None,
            StartOver::With(answer) => {
                let unchanged = Validator::strong(&answer.headers) == self.state.validator;
                Some(match unchanged {
                    true => "the server does not resume".to_owned(),
                    false => "the file has changed on the server".to_owned(),
                })
            }
            StartOver::Anew(why) => {
                self.distrusts_ranges = true;
                Some(why.clone())
            }
        };
        if let Some(reason) = reason {
            self.count_fresh_start(&reason)?;
        }
        self.held = Ranges::default();
        self.state = State::new(&self.state.url);
        Ok(match why {
            StartOver::With(answer) => Some(*answer),
            _ => None,
        })
    }

    /// Says why what is there goes, and fails when that happens too often.
    fn count_fresh_start(&mut self, why: &str) -> Result<(), Failure> {
        self.fresh_starts += 1;
        if self.fresh_starts > FRESH_STARTS_MAX {
            let text = format!("{}: {why}, again and again", self.state.url);
            return Err(Failure::last(Exit::Changed, text));
        }
        let text = format!("starting over: {}", harmless(why));
        self.report.note(Detail::Usual, &text);
        Ok(())
    }

    /// Checks the file, and gives it its name.
    async fn finish(&mut self, ending: &Ending) -> Result<Outcome, Failure> {
        self.report.wait("checking the file");
        let writer = self.writer()?.clone();
        let finished = writer.finish().await?;
        if self
            .state
            .total
            .is_some_and(|total| total != finished.bytes)
        {
            let text =
                "the file has another length than the server says: this is an error of the program";
            return Err(Failure::last(Exit::Other, text));
        }
        let mut digests = self.stated_digests(&ending.trailers);
        let mut rows = Rows::of(self.state.row_limit.as_deref(), &ending.trailers);
        if let Some(link) = &self.receipt
            && (digests.is_empty() || matches!(rows, Rows::MayBeCut(_)))
        {
            let told = receipt::ask(&self.client, link).await.unwrap_or_default();
            rows = rows.told(told.is_cut);
            if digests.is_empty() {
                digests = told.digests;
            }
        }
        let is_verified = self.check_digests(&finished, &digests).await?;
        let doubt = rows.doubt().or_else(|| {
            let text = "its end cannot be told from a failure: the server gave no length, and closed the connection";
            (ending.is_unproved && !is_verified).then(|| text.into())
        });
        writer.commit().await?;
        self.report.progress(finished.bytes, self.state.total);
        Ok(Outcome {
            bytes: finished.bytes,
            sha256: hexadecimal(&finished.sha256),
            is_verified,
            doubt,
        })
    }

    /// The digests of heads and trailers.
    fn stated_digests(&self, trailers: &HeaderMap) -> Digests {
        let mut stated = Digests::default();
        let known = self.state.digests.iter();
        known.for_each(|(name, text)| stated.insert_base64(name, text));
        stated.extend(Digests::of_fields(trailers));
        stated
    }

    /// Compares the file with each digest that the server states; returns whether there is one.
    async fn check_digests(&self, finished: &Finished, stated: &Digests) -> Result<bool, Failure> {
        let mut is_verified = false;
        for (algorithm, expected) in stated.iter() {
            let found = match algorithm {
                Algorithm::Sha256 => finished.sha256.clone(),
                // What was written to standard output is gone.
                Algorithm::Sha512 if self.is_final() => continue,
                Algorithm::Sha512 => self.writer()?.digest(algorithm).await?,
            };
            if found != expected {
                return Err(self.differs(algorithm, &found, expected).await);
            }
            is_verified = true;
        }
        Ok(is_verified)
    }

    /// A file with another digest is removed: nobody knows which of its bytes are wrong.
    async fn differs(&self, algorithm: Algorithm, found: &[u8], expected: &[u8]) -> Failure {
        let removed = match self.path() {
            None => "".into(),
            Some(path) => match self.writer().map(Writer::discard) {
                Ok(discard) => match discard.await {
                    Ok(()) => format!("; {}.part was removed", path.display()),
                    Err(failure) => format!("; {}", failure.text),
                },
                Err(failure) => failure.text,
            },
        };
        let (name, url) = (algorithm.name(), &self.state.url);
        let (found, expected) = (hexadecimal(found), hexadecimal(expected));
        Failure::last(
            Exit::Digest,
            format!(
                "{url}: the {name} of what came is {found}, and the server states {expected}{removed}"
            ),
        )
    }

    fn is_final(&self) -> bool {
        self.options.output == Output::Stdout
    }

    fn writer(&self) -> Result<&Writer, Failure> {
        let place = self.place.as_ref();
        let place = place.ok_or_else(|| Failure::last(Exit::Other, "no file is open"))?;
        Ok(&place.writer)
    }
}

/// What an answer has become.
enum Taken {
    /// The file is there.
    All(Ending),
    Not(StartOver),
}
