//! The bodies of one version of a file, into the file: one connection, or several that share the
//! parts. A break is mended here, as long as the version stays the same; whatever else an answer
//! means is handed back to `download.rs`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::{task::JoinSet, time::sleep};

use super::{
    failure::{Exit, Failure},
    parts::{PartId, Parts},
    plan::{Asked, Step, Validator, decide},
    refusal,
    report::{Detail, Report},
    request::{Answer, Body, Client},
    retry::Retry,
    writer::Writer,
};

/// One version on its way into the file.
pub(crate) struct Transfer {
    pub(crate) client: Arc<Client>,
    pub(crate) writer: Writer,
    pub(crate) report: Arc<Report>,
    pub(crate) parts: Parts,
    /// Without one a break cannot be mended.
    pub(crate) validator: Option<Validator>,
    /// Bytes that were handed on cannot be taken back: standard output.
    pub(crate) is_final: bool,
    /// Tries without progress, after the first.
    pub(crate) retries_max: u32,
    /// Of the whole download.
    pub(crate) retries: Arc<AtomicU32>,
    pub(crate) ending: Mutex<Ending>,
}

/// What the end of a body has said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    pub(crate) trailers: HeaderMap,
    /// The end of the connection was the end of the file, or a failure.
    pub(crate) is_unproved: bool,
}

/// How a transfer ends that does not fail.
pub(crate) enum End {
    Complete,
    /// What is there goes.
    StartOver(StartOver),
}

/// Why what is there goes.
pub(crate) enum StartOver {
    /// The version cannot be resumed; the reason was said.
    Broken,
    /// The answer has the whole file.
    With(Box<Answer>),
    /// The answer cannot be used.
    Anew(String),
}

/// What a request for a part has brought.
enum Asking {
    Body(Body),
    /// There is nothing behind the bytes that are there.
    Complete,
    StartOver(StartOver),
}

impl Transfer {
    /// Fetches what is missing; the body of the first response is there. `retry` counts the breaks of
    /// its connection, over several transfers.
    pub(crate) async fn run(
        self: &Arc<Self>,
        first: Body,
        connections: usize,
        retry: &mut Retry,
    ) -> Result<End, Failure> {
        let Some(part) = self.parts.take(false) else {
            return Ok(End::Complete);
        };
        let mut others = JoinSet::new();
        for _ in 1..connections {
            let this = self.clone();
            others.spawn(async move {
                let Some(part) = this.parts.take(true) else {
                    return Ok(End::Complete);
                };
                let mut retry = Retry::new(this.retries_max, this.parts.held_bytes());
                this.work(part, None, connections, &mut retry).await
            });
        }
        let (mut part, mut body) = (part, Some(first));
        loop {
            let end = self.lead(part, body.take(), connections, retry, &mut others);
            let end = end.await;
            if !matches!(end, Ok(End::Complete)) {
                // A task may be about to write: none of its bytes may come behind a fresh start.
                others.shutdown().await;
                return end;
            }
            // What a connection that was given up has left.
            match self.parts.take(false) {
                Some(left) => part = left,
                None => return Ok(End::Complete),
            }
        }
    }

    /// Works itself until its own and all other connections have ended. Only the failure of the last
    /// one is one of the download: servers refuse the fifth connection of a client, for example.
    async fn lead(
        &self,
        part: PartId,
        body: Option<Body>,
        connections: usize,
        retry: &mut Retry,
        others: &mut JoinSet<Result<End, Failure>>,
    ) -> Result<End, Failure> {
        let lead = self.work(part, body, connections, retry);
        tokio::pin!(lead);
        let mut lead_runs = true;
        while lead_runs || !others.is_empty() {
            let end = tokio::select! {
                end = &mut lead, if lead_runs => {
                    lead_runs = false;
                    end
                }
                Some(joined) = others.join_next(), if !others.is_empty() => {
                    let ended = |error| Failure::last(Exit::Other, format!("a task ended: {error}"));
                    joined.unwrap_or_else(|error| Err(ended(error)))
                }
            };
            match end {
                Ok(End::Complete) => {}
                Ok(End::StartOver(why)) => return Ok(End::StartOver(why)),
                Err(failure) if !lead_runs && others.is_empty() => return Err(failure),
                Err(failure) => {
                    let text = format!("one connection less: {}", failure.text);
                    self.report.note(Detail::Verbose, &text);
                }
            }
        }
        Ok(End::Complete)
    }

    /// Fetches one part after the other.
    async fn work(
        &self,
        mut part: PartId,
        mut body: Option<Body>,
        connections: usize,
        retry: &mut Retry,
    ) -> Result<End, Failure> {
        loop {
            let done = match body.take() {
                Some(mut body) => self.pump(part, &mut body).await,
                None => match self.ask(part).await {
                    Ok(Asking::Body(next)) => {
                        body = Some(next);
                        continue;
                    }
                    Ok(Asking::Complete) => {
                        self.parts.end_here(part);
                        Ok(())
                    }
                    Ok(Asking::StartOver(why)) => return Ok(End::StartOver(why)),
                    Err(failure) => Err(failure),
                },
            };
            if let Err(failure) = done {
                let wait = match self.wait_after(&failure, retry) {
                    Ok(wait) => wait,
                    Err(failure) => {
                        self.parts.give_back(part);
                        return Err(failure);
                    }
                };
                // Whatever happens next, a later run can use what is there.
                self.writer.save().await?;
                sleep(wait).await;
                if self.validator.is_none() {
                    return Ok(End::StartOver(StartOver::Broken));
                }
                continue;
            }
            let (next, end) = self.parts.left(part);
            if Some(next) != end {
                // The server has sent less than it was asked for.
                continue;
            }
            match self.parts.take(connections > 1) {
                Some(next) => part = next,
                None => return Ok(End::Complete),
            }
        }
    }

    /// Decides whether there is another try, says so, and returns how long to wait.
    fn wait_after(&self, failure: &Failure, retry: &mut Retry) -> Result<Duration, Failure> {
        let held = self.parts.held_bytes();
        let wait = match self.is_final && held > 0 {
            true => None,
            false => retry.next(failure, held),
        };
        let Some(wait) = wait else {
            return Err(failure.clone());
        };
        self.retries.fetch_add(1, Ordering::Relaxed);
        let again = match self.validator {
            Some(_) => "resuming",
            None => "without a strong ETag, starting over",
        };
        let (text, seconds) = (&failure.text, wait.as_secs_f64());
        let note = format!("interrupted at {held} bytes: {text}; {again} in {seconds:.1} s");
        self.report.note(Detail::Usual, &note);
        Ok(wait)
    }

    /// Asks for what is left of a part.
    async fn ask(&self, part: PartId) -> Result<Asking, Failure> {
        let (from, to) = self.parts.left(part);
        let Some(validator) = self.validator.clone() else {
            return Ok(Asking::StartOver(StartOver::Broken));
        };
        if from == 0 && self.parts.held_bytes() == 0 {
            // Nothing of the file is there: it may be of any version.
            return Ok(Asking::StartOver(StartOver::Broken));
        }
        let total = self.parts.total();
        let asked = Asked::Rest {
            from,
            to: to.filter(|to| Some(*to) != total),
            validator,
            total,
        };
        let answer = self.client.ask(&asked).await?;
        match decide(&asked, answer.status, &answer.headers) {
            Step::Append { bytes, total } => {
                answer.check_not_coded()?;
                self.parts.set_total(total);
                self.writer.update(move |state| state.total = Some(total));
                let mut body = answer.body;
                body.expect_length(bytes.end - bytes.start);
                Ok(Asking::Body(body))
            }
            Step::Complete => Ok(Asking::Complete),
            Step::Fresh(_) => Ok(Asking::StartOver(StartOver::With(Box::new(answer)))),
            Step::AskAnew(why) => Ok(Asking::StartOver(StartOver::Anew(why))),
            Step::Refused => Err(refusal::failure(answer).await),
        }
    }

    /// Writes a body into the file, until it ends or its part does.
    async fn pump(&self, part: PartId, body: &mut Body) -> Result<(), Failure> {
        loop {
            let (next, end) = self.parts.left(part);
            if Some(next) == end && end != self.parts.total() {
                // Another connection has what follows.
                return Ok(());
            }
            let Some(mut bytes) = body.next().await? else {
                break;
            };
            let (at, count) = self.parts.claim(part, bytes.len());
            bytes.truncate(count);
            if bytes.is_empty() {
                continue;
            }
            self.writer.write(at, bytes).await?;
            self.report
                .progress(self.parts.held_bytes(), self.parts.total());
        }
        if self.parts.left(part).1.is_none() {
            self.parts.end_here(part);
        }
        let ending = Ending {
            trailers: std::mem::take(&mut body.trailers),
            is_unproved: !body.is_proved(),
        };
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = ending;
        Ok(())
    }
}
