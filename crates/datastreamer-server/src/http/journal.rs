//! What clients have received, as a file: `deliveries` in the folder of the spool. It is written before the
//! bytes are sent, read at the start, and written anew when it has grown.
//!
//! Called by `deliveries.rs`, which decides everything. The spool removes only files with names of its own,
//! and has locked the folder.
//!
//! Nothing is synchronized: what `write` has taken outlives the process, also after `kill -9`. It does not
//! outlive the machine, so the file names the boot; after another one, as after damage, the ledger is not
//! sure for as long as parts are remembered. The same holds where the file is missing beside productions.
//! Clients and targets are hashes with a secret of the file, which only the owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use datastreamer_http::ETag;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use tokio::sync::oneshot;

const NAME: &str = "deliveries";
const NEW_NAME: &str = "deliveries.new";
/// The first word of the file, with the version of its form.
const MAGIC: &str = "datastreamer-deliveries-1";
/// Beyond twice what was needed at the last rewriting, and this: 1 MiB is some ten thousand entries, which
/// are read in some milliseconds.
const GROWTH_BYTES: u64 = 1 << 20;
/// 64 MiB: ten times what ten thousand records of four parts take. A larger file is not ours.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Entries that wait to be written, some 400 KB. Each response waits for its own.
const WAITING_MAX: usize = 4096;
/// A write into the page cache takes microseconds. A storage that stands still must not stop downloads
/// that need it for nothing else.
const PATIENCE: Duration = Duration::from_secs(2);

/// A client and a target, as a hash.
pub(crate) type PairKey = [u8; 16];

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pair: PairKey,
    pub(crate) at: SystemTime,
    pub(crate) tag: Option<ETag>,
    pub(crate) event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The client gets bytes. `is_sure`: it had none when its record began.
    Begin { is_sure: bool },
    /// It has received the complete file.
    End,
    /// It has asked for the head.
    Look,
    /// No pair: the ledger is sure from then on.
    SureFrom,
}

/// Makes hashes that nobody can foresee.
#[derive(Clone)]
pub(crate) struct Secret {
    bytes: [u8; 32],
    key: hmac::Key,
}

/// Where entries are written. Dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: SyncSender<(String, oneshot::Sender<()>)>,
}

/// What was read at the start.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) secret: Secret,
    pub(crate) sure_from: SystemTime,
    pub(crate) entries: Vec<Entry>,
}

/// An entry on its way into the file.
#[derive(Debug)]
pub(crate) struct Recorded(oneshot::Receiver<()>);

impl Recorded {
    pub(crate) async fn wait(self) {
        if tokio::time::timeout(PATIENCE, self.0).await.is_err() {
            late();
        }
    }

    /// Does the same on a thread that may block: its stream has a deadline of its own.
    pub(crate) fn wait_blocking(self) {
        // The thread of the journal answers, or has ended.
        let _written_or_not = self.0.blocking_recv();
    }
}

fn late() {
    tracing::warn!("a delivery is not recorded in time: the storage of the spool stands still");
}

impl Journal {
    /// Reads the file of a folder, or makes it, and begins to write. `kept`: for how long parts are
    /// remembered. `snapshot` returns all that is to be in a file that is written anew.
    pub(crate) fn open(
        folder: &Path,
        kept: Duration,
        snapshot: impl Fn() -> Vec<Entry> + Send + 'static,
    ) -> io::Result<Opened> {
        let path = folder.join(NAME);
        let now = SystemTime::now();
        let found = match read(&path)? {
            None if has_productions(folder)? => Found::nothing(now + kept),
            None => Found::nothing(UNIX_EPOCH),
            Some(text) => Found::parse(&text, now + kept),
        };
        let mut writer = Writer {
            folder: folder.to_owned(),
            secret: found.secret.clone(),
            file: None,
            bytes: 0,
            bytes_max: 0,
        };
        let mut entries = vec![Entry::sure_from(found.sure_from)];
        entries.extend(found.entries.iter().cloned());
        writer.rewrite(&entries)?;
        let (sender, receiver) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("deliveries".into())
            .spawn(move || writer.run(&receiver, snapshot))?;
        Ok(Opened {
            journal: Self { entries: sender },
            secret: found.secret,
            sure_from: found.sure_from,
            entries: found.entries,
        })
    }

    /// Writes an entry. Does not block.
    pub(crate) fn write(&self, entry: &Entry) -> Recorded {
        let (sender, recorded) = oneshot::channel();
        match self.entries.try_send((entry.line(), sender)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => late(),
            // The thread has said why it ended.
            Err(TrySendError::Disconnected(_)) => {}
        }
        Recorded(recorded)
    }
}

/// Writes on a thread of its own.
struct Writer {
    folder: PathBuf,
    secret: Secret,
    file: Option<File>,
    bytes: u64,
    /// Beyond this it is written anew.
    bytes_max: u64,
}

impl Writer {
    fn run(
        mut self,
        entries: &Receiver<(String, oneshot::Sender<()>)>,
        snapshot: impl Fn() -> Vec<Entry>,
    ) {
        while let Ok((line, written)) = entries.recv() {
            let mut result = self.append(&line);
            if result.is_ok() && self.bytes > self.bytes_max {
                result = self.rewrite(&snapshot());
            }
            if let Err(error) = result {
                // A file that lacks an entry must not be believed. Without it the next start is not sure.
                let _removed = fs::remove_file(self.folder.join(NAME));
                tracing::error!(%error, "what clients receive is no longer recorded");
                return;
            }
            // A response that was dropped waits no more.
            let _gone = written.send(());
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        self.bytes += line.len() as u64;
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => Err(io::Error::other("no file")),
        }
    }

    fn rewrite(&mut self, entries: &[Entry]) -> io::Result<()> {
        let (new, path) = (self.folder.join(NEW_NAME), self.folder.join(NAME));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = options().append(true).create_new(true).open(&new)?;
        let mut out = BufWriter::new(file);
        writeln!(out, "{MAGIC} {} {}", boot(), hex(&self.secret.bytes))?;
        for entry in entries {
            out.write_all(entry.line().as_bytes())?;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&new, &path)?;
        self.bytes = file.metadata()?.len();
        self.bytes_max = self.bytes * 2 + GROWTH_BYTES;
        self.file = Some(file);
        Ok(())
    }
}

/// Of the owner alone, and never through a link.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
    options.mode(0o600).custom_flags(no_follow.cast_signed());
    options
}

/// The file's text; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match options().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// Returns whether a folder has been used by a server that kept no record, or whose record was removed.
fn has_productions(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.path().extension().is_some_and(|it| it == "json") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a file says.
struct Found {
    secret: Secret,
    sure_from: SystemTime,
    entries: Vec<Entry>,
}

impl Found {
    fn nothing(sure_from: SystemTime) -> Self {
        Self {
            secret: Secret::random(),
            sure_from,
            entries: Vec::new(),
        }
    }

    /// Reads a file up to its first mistake. `doubted`: from when on the ledger is sure if there is one, or
    /// if the machine has stopped since.
    fn parse(text: &[u8], doubted: SystemTime) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.split_inclusive('\n');
        let head = lines.next().and_then(|line| {
            let mut words = line.strip_suffix('\n')?.split(' ');
            let (magic, boot) = (words.next()?, words.next()?);
            let secret = unhex(words.next()?)?;
            (magic == MAGIC).then(|| (boot.to_owned(), Secret::new(secret)))
        });
        let Some((booted, secret)) = head else {
            return Self::nothing(doubted);
        };
        let read: Vec<_> = lines.map(Entry::parse).collect();
        let is_damaged = read.iter().any(Option::is_none);
        let entries: Vec<_> = read.into_iter().map_while(|entry| entry).collect();
        let sure_from = match is_damaged || booted != boot() {
            true => doubted,
            false => UNIX_EPOCH,
        };
        Self {
            secret,
            sure_from,
            entries,
        }
    }
}

/// Names the time since the machine has started.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

impl Entry {
    pub(crate) fn sure_from(at: SystemTime) -> Self {
        Self {
            pair: [0; 16],
            at,
            tag: None,
            event: Event::SureFrom,
        }
    }

    /// Event, pair, milliseconds since 1970, tag.
    fn line(&self) -> String {
        let event = match self.event {
            Event::Begin { is_sure: true } => 'B',
            Event::Begin { is_sure: false } => 'b',
            Event::End => 'e',
            Event::Look => 'l',
            Event::SureFrom => 's',
        };
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Tags are ASCII where we make them; another one is as good as none.
        let tag = self.tag.as_ref().map(ToString::to_string);
        let tag = tag.filter(|tag| tag.is_ascii()).unwrap_or_default();
        format!("{event} {} {} {tag}\n", hex(&self.pair), at.as_millis())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.splitn(4, ' ');
        let event = match words.next()? {
            "B" => Event::Begin { is_sure: true },
            "b" => Event::Begin { is_sure: false },
            "e" => Event::End,
            "l" => Event::Look,
            "s" => Event::SureFrom,
            _ => return None,
        };
        let pair = unhex(words.next()?)?;
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(words.next()?.parse().ok()?))?;
        let tag = match words.next()? {
            "" => None,
            quoted => {
                let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
                Some(ETag::new(opaque)?)
            }
        };
        Some(Self {
            pair,
            at,
            tag,
            event,
        })
    }
}

impl Secret {
    /// Draws one. Without random numbers the system serves no TLS either; an address is then no secret
    /// within a file that only its owner reads.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 32];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            tracing::warn!("no random numbers for the hashes of clients");
        }
        Self::new(bytes)
    }

    fn new(bytes: [u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        Self { bytes, key }
    }

    /// Hashes a client and a target.
    pub(crate) fn pair(&self, client: &str, target: &str) -> PairKey {
        let tag = hmac::sign(&self.key, format!("{client}\n{target}").as_bytes());
        let mut pair = [0; 16];
        pair.copy_from_slice(&tag.as_ref()[..16]);
        pair
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = text.len() == 2 * N && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let at = UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        for event in [
            Event::Begin { is_sure: true },
            Event::Begin { is_sure: false },
            Event::End,
            Event::Look,
        ] {
            for tag in [
                None,
                ETag::new("a b".replace(' ', "-").as_str()),
                ETag::new(""),
            ] {
                let pair = [7; 16];
                let entry = Entry {
                    pair,
                    at,
                    tag,
                    event,
                };
                assert_eq!(Entry::parse(&entry.line()), Some(entry));
            }
        }
        for wrong in ["", "B\n", "B 00 1 \n", "x 07 1 \n"] {
            assert_eq!(Entry::parse(wrong), None);
        }
    }

    #[test]
    fn a_torn_file_of_another_boot_or_of_nobody_is_not_sure() {
        let doubted = SystemTime::now();
        let line = Entry::sure_from(UNIX_EPOCH).line();
        let file = |boot: &str, rest: &str| {
            let text = format!("{MAGIC} {boot} {}\n{line}{rest}", "0".repeat(64));
            Found::parse(text.as_bytes(), doubted)
        };
        assert_eq!(file(&boot(), "").sure_from, UNIX_EPOCH);
        let torn = file(&boot(), "B 07");
        assert_eq!((torn.sure_from, torn.entries.len()), (doubted, 1));
        assert_eq!(file("other", "").sure_from, doubted);
        assert_eq!(Found::parse(b"\0\0\0", doubted).sure_from, doubted);
    }
}
