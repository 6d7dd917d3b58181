//! Archives a directory tree.
//!
//! This file owns the walk: what is opened, in which order, and that no symlink
//! is followed. It writes no bytes itself: it calls [`TarWriter`] for each member
//! that it finds. Servers and programs call it.
//!
//! **Nothing outside the tree is ever read.** Every entry is opened relative to
//! its parent's descriptor, by its last name alone and with `O_NOFOLLOW`, so
//! that no renaming during the walk can lead it elsewhere. The kind of an entry
//! is taken from the open descriptor (`fstat`), not from an earlier look at its
//! name.

mod hard_links;

use std::error::Error;
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use self::hard_links::HardLinks;
use super::error::{MemberError, MemberProblem};
use super::member::{MemberMetadata, MemberName};
use super::tar::{self, MemberKind, TarWriter};

/// A directory tree on disk that can be written to a tar archive.
///
/// The tree is walked depth first, each directory before its entries, and the
/// entries in the order of their names' bytes. The same tree therefore always
/// gives the same archive.
///
/// - **Files** are archived with the size that they have when they are opened.
///   Extended attributes and access control lists are left out. Holes of sparse
///   files become zeros.
/// - **Symlinks** are archived as links and never followed.
/// - **Hard links** to a file that is already in the archive are archived as
///   hard links. The memory for the names is limited
///   ([`HARD_LINK_BYTES_MAX`]); beyond it they are archived as copies.
/// - **Sockets, FIFOs and devices** are not opened but skipped, and reported.
/// - **Other file systems** that are mounted inside the tree are entered.
/// - **Hidden entries**, whose names begin with `.`, are archived, unless
///   [`with_hidden`](Self::with_hidden) leaves them out.
///
/// The walk is strict. It fails, with an error that names the member, if a
/// member cannot be read, vanishes after its directory was listed, becomes
/// another kind of file, or changes its size or modification time while it is
/// copied. The archive is then broken. With [`OnChange::Freeze`] a file may grow.
///
/// # Resources
///
/// File descriptors: one per level of the tree, plus two. Memory: the sorted
/// listings of all directories between the root and the current member, which
/// [`with_listing_bytes_max`](Self::with_listing_bytes_max) limits, and the
/// names of hard-linked files. All calls block.
///
/// # Caveats
///
/// On Linux, files are opened with `O_NONBLOCK`, so that a FIFO that replaces a
/// file cannot block the walk. As a consequence, opening a file on which another
/// process holds a lease (Samba's oplocks) fails with
/// [`io::ErrorKind::WouldBlock`] instead of waiting until the lease is broken.
///
/// # Examples
///
/// ```
/// use datastreamer_archive::directory::{DirectoryTar, Event};
/// use datastreamer_archive::tar::TarWriter;
///
/// # fn main() -> std::io::Result<()> {
/// # let scratch = tempfile::tempdir()?;
/// # std::fs::write(scratch.path().join("a.txt"), "alpha")?;
/// # let root = scratch.path();
/// let tree = DirectoryTar::open(root, "run-7")?;
/// let survey = tree.survey()?;
/// let tree = tree.unchanged_since(&survey);
///
/// let mut tar = TarWriter::new(Vec::new());
/// let tally = tree.write_to(&mut tar, |event| match event {
///     Event::Skipped { member, reason } => {
///         eprintln!("skipped {}: {reason}", String::from_utf8_lossy(member));
///     }
///     _ => {}
/// })?;
/// let archive = tar.finish()?;
///
/// assert_eq!(tally.files, 1);
/// assert_eq!(archive.len() as u64, survey.archive_bytes);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DirectoryTar {
    root: File,
    /// The root's name in the archive. `None`: its entries are at the archive's
    /// top level, and the root itself is no member.
    prefix: Option<MemberName>,
    listing_bytes_max: usize,
    on_change: OnChange,
    hidden: Hidden,
    /// The fingerprint that the tree must still have at the end.
    expected: Option<u64>,
}

/// What a walk finds of a tree without reading a file: see [`DirectoryTar::survey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// The exact length in bytes of an archive that contains only this tree,
    /// including the archive's end, for example for a `Content-Length`.
    pub archive_bytes: u64,
    /// Of the names, kinds, owners, permissions and times of all members, the
    /// targets of links, and of files the sizes, inodes and times of change: two
    /// states of the tree have different ones. The same program has the same one
    /// for the same state in every process.
    pub fingerprint: u64,
    /// The latest change of a file, directory or symlink, in seconds of the file
    /// system's clock. A change within the resolution of that clock leaves no
    /// other trace: a tree that was changed a moment ago may change once more and
    /// have the same fingerprint.
    pub changed: SystemTime,
}

/// What happens if a file changes while it is archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnChange {
    /// The walk fails, whatever has changed.
    #[default]
    Abort,
    /// A file that has grown, as a log does, is archived with the size that it
    /// had when it was opened: the rest is left out, and
    /// [`Event::Frozen`] says so. A file that has shrunk, or was written to
    /// and has the same size, makes the walk fail. A file that has grown *and*
    /// was rewritten looks like one that has only grown.
    Freeze,
}

/// What happens to entries whose names begin with `.`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hidden {
    /// They are archived, as others are.
    #[default]
    Archive,
    /// They are left out, directories with all below them. The root's own name
    /// does not count.
    LeaveOut,
}

/// How long a file that was written to, and has the same size, is given to
/// grow: a system sets the time of a write before the size that it leads to,
/// some microseconds apart. More is for a busy machine.
const GROWTH_WAIT: Duration = Duration::from_millis(10);

/// The deepest level of a directory that is archived, counted from the root.
/// Each level holds a descriptor, of which a process often has 1024; real trees
/// rarely have 30 levels.
pub const DEPTH_MAX: usize = 256;

/// The default limit of the memory for the listings of one walk: enough for a
/// directory of about a million entries, at 32 bytes a name and
/// [`LISTING_ENTRY_BYTES`] an entry.
pub const LISTING_BYTES_MAX_DEFAULT: usize = 64 * 1024 * 1024;

/// The memory that an entry of a listing takes in addition to its name: a
/// pointer, a length, and the allocator's overhead.
pub const LISTING_ENTRY_BYTES: usize = 32;

/// The limit of the memory for the names of files with several hard links:
/// enough for about sixty thousand files with names of 100 bytes. A file is
/// forgotten once all its names have been found, so the memory is needed only
/// for links that are far apart or outside the tree.
pub const HARD_LINK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The numbers of members of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Files that were archived with their content.
    pub files: u64,
    /// Directories; the root counts if it has a name in the archive.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Hard links to files that are counted under `files`.
    pub hard_links: u64,
    /// Sockets, FIFOs, devices and hidden entries, which are not in the archive.
    pub skipped: u64,
    /// Files that have grown meanwhile and are archived with the size that they
    /// had: see [`OnChange::Freeze`]. They count under `files` as well.
    pub frozen: u64,
    /// The bytes of all files' contents.
    pub content_bytes: u64,
}

/// A step of a walk, for logs and progress reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An entry was left out of the archive, which is not an error.
    Skipped {
        /// The name that it would have in the archive.
        member: &'a [u8],
        /// Why it was left out.
        reason: SkipReason,
    },
    /// A member was written to the archive, with all its content.
    Archived {
        /// Its name in the archive.
        member: &'a [u8],
    },
    /// A file has grown while it was copied. [`Archived`](Self::Archived) follows.
    Frozen {
        /// Its name in the archive.
        member: &'a [u8],
        /// Its size in the archive.
        archived_bytes: u64,
        /// The bytes behind them that it had by the end, which are left out.
        left_out_bytes: u64,
    },
}

/// Why an entry was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// It is a FIFO (a named pipe).
    Fifo,
    /// It is a socket.
    Socket,
    /// It is a character or block device, or of a kind unknown to this system.
    Device,
    /// Its name begins with `.`: see [`Hidden::LeaveOut`].
    Hidden,
}

impl DirectoryTar {
    /// Opens the root of a tree. This checks that it exists, is a directory, and
    /// may be listed and entered.
    ///
    /// `prefix` is the root's name in the archive, with any number of
    /// components; parents of the last component do not become members. With an
    /// empty `prefix` the entries are at the archive's top level. If `root`
    /// itself is a symlink, it is followed, because the operator chose it; no
    /// other symlink is. The tree remains the one that was opened here, even if
    /// `root` is renamed or replaced.
    ///
    /// # Errors
    ///
    /// An error that names `root` and keeps the operating system's kind, such as
    /// [`NotFound`](io::ErrorKind::NotFound),
    /// [`NotADirectory`](io::ErrorKind::NotADirectory) or
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied); a [`MemberError`]
    /// if `prefix` is refused as a name.
    pub fn open(root: impl AsRef<Path>, prefix: impl AsRef<[u8]>) -> io::Result<Self> {
        let prefix = match prefix.as_ref() {
            b"" => None,
            prefix => Some(MemberName::parse(prefix)?),
        };
        let root = open_root(root.as_ref()).map_err(|source| RootError {
            root: root.as_ref().to_owned(),
            source: source.into(),
        })?;
        Ok(Self {
            root,
            prefix,
            listing_bytes_max: LISTING_BYTES_MAX_DEFAULT,
            on_change: OnChange::default(),
            hidden: Hidden::default(),
            expected: None,
        })
    }

    /// Makes [`write_to`](Self::write_to) fail if the tree is no longer the one
    /// that was surveyed when the turn of each member comes, so that the archive
    /// has the bytes that were announced. This is known once the last member is
    /// written.
    #[must_use]
    pub fn unchanged_since(mut self, survey: &Survey) -> Self {
        self.expected = Some(survey.fingerprint);
        self
    }

    /// Sets what happens if a file changes while it is archived.
    #[must_use]
    pub fn with_on_change(mut self, on_change: OnChange) -> Self {
        self.on_change = on_change;
        self
    }

    /// Sets what happens to entries whose names begin with `.`.
    #[must_use]
    pub fn with_hidden(mut self, hidden: Hidden) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets how many bytes the listings of one walk may take, on all levels
    /// together. Each entry counts as its name plus [`LISTING_ENTRY_BYTES`].
    #[must_use]
    pub fn with_listing_bytes_max(mut self, listing_bytes_max: usize) -> Self {
        self.listing_bytes_max = listing_bytes_max;
        self
    }

    /// Writes the complete tree to an archive. More members may be appended
    /// before the archive is finished.
    ///
    /// `on_event` is called during the walk, on this thread.
    ///
    /// # Errors
    ///
    /// A [`MemberError`] that names the member that failed; or the writer's own
    /// error, unchanged. In both cases the archive is broken and cannot be
    /// finished.
    pub fn write_to<W: Write>(
        &self,
        tar: &mut TarWriter<W>,
        mut on_event: impl FnMut(Event<'_>),
    ) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut frozen = 0;
        let on_change = self.on_change;
        let walked = self.walk(&mut |name, found| {
            tally.count(&found);
            let name_bytes = name.as_bytes();
            match found {
                Found::Directory(metadata) => tar.append_directory(name_bytes, &metadata),
                Found::File(file, metadata) => {
                    let left_out_bytes = match on_change {
                        OnChange::Abort => append(tar, name, &file, &metadata)?,
                        OnChange::Freeze => append_frozen(tar, name, &file, &metadata)?,
                    };
                    if left_out_bytes > 0 {
                        frozen += 1;
                        on_event(Event::Frozen {
                            member: name_bytes,
                            archived_bytes: metadata.len(),
                            left_out_bytes,
                        });
                    }
                    Ok(())
                }
                Found::Symlink(target, metadata) => {
                    tar.append_symlink(name_bytes, target.to_bytes(), &metadata)
                }
                Found::HardLink(target, metadata) => {
                    tar.append_hard_link(name_bytes, target.as_bytes(), &metadata)
                }
                Found::Skipped(reason) => {
                    let member = name_bytes;
                    on_event(Event::Skipped { member, reason });
                    return Ok(());
                }
            }?;
            on_event(Event::Archived { member: name_bytes });
            Ok(())
        });
        match walked.and_then(|state| self.check(&state)) {
            Ok(()) => Ok(Tally { frozen, ..tally }),
            Err(error) => {
                tar.abandon();
                Err(error)
            }
        }
    }

    /// Walks the tree and opens every file, but reads none. Blocks; some 10 µs a
    /// file, if the system has it in memory.
    ///
    /// The result is valid only if the tree does not change before it is
    /// written: see [`unchanged_since`](Self::unchanged_since).
    ///
    /// # Errors
    ///
    /// A [`MemberError`] that names the member that failed.
    pub fn survey(&self) -> io::Result<Survey> {
        let mut archive_bytes = tar::END.len() as u64;
        let state = self.walk(&mut |name, found| {
            let member_bytes = match found {
                Found::Directory(metadata) => {
                    tar::member_bytes(name, &MemberKind::Directory, &metadata)?
                }
                Found::File(_, metadata) => {
                    let size_bytes = metadata.len();
                    tar::member_bytes(name, &MemberKind::File { size_bytes }, &(&metadata).into())?
                }
                Found::Symlink(target, metadata) => {
                    let target = target.to_bytes();
                    tar::member_bytes(name, &MemberKind::Symlink { target }, &metadata)?
                }
                Found::HardLink(target, metadata) => {
                    let target = target.as_bytes();
                    tar::member_bytes(name, &MemberKind::HardLink { target }, &metadata)?
                }
                Found::Skipped(_) => 0,
            };
            archive_bytes = archive_bytes.saturating_add(member_bytes);
            Ok(())
        })?;
        Ok(Survey {
            archive_bytes,
            fingerprint: state.hasher.finish(),
            changed: state.changed,
        })
    }

    fn walk(&self, visit: &mut Visit<'_>) -> io::Result<TreeState> {
        let mut state = TreeState::new();
        if let Some(prefix) = &self.prefix {
            let metadata = stat_open(&self.root, prefix)?;
            state.add_directory(prefix, &metadata);
            visit(prefix, Found::Directory((&metadata).into()))?;
        }
        let mut walk = Walk {
            state,
            visit,
            hard_links: HardLinks::new(HARD_LINK_BYTES_MAX),
            listing_bytes_held: 0,
            listing_bytes_max: self.listing_bytes_max,
            hidden: self.hidden,
        };
        walk.walk_entries(&self.root, self.prefix.as_ref(), 0)?;
        Ok(walk.state)
    }

    /// Checks that the tree is the one that was surveyed, if one was.
    fn check(&self, state: &TreeState) -> io::Result<()> {
        let fingerprint = state.hasher.finish();
        match self.expected.is_none_or(|expected| expected == fingerprint) {
            true => Ok(()),
            false => {
                let root = self.prefix.as_ref().map_or(&b"."[..], MemberName::as_bytes);
                Err(MemberError::new(root, MemberProblem::Changed).into())
            }
        }
    }
}

/// The state of a tree, as a walk finds it.
struct TreeState {
    hasher: DefaultHasher,
    changed: SystemTime,
}

impl TreeState {
    fn new() -> Self {
        Self {
            hasher: DefaultHasher::new(),
            changed: SystemTime::UNIX_EPOCH,
        }
    }

    fn add_directory(&mut self, member: &MemberName, metadata: &Metadata) {
        ("directory", member.as_bytes()).hash(&mut self.hasher);
        self.add_owner(metadata);
    }

    fn add_file(&mut self, member: &MemberName, metadata: &Metadata) {
        ("file", member.as_bytes()).hash(&mut self.hasher);
        self.add_owner(metadata);
        let identity = (metadata.dev(), metadata.ino(), metadata.len());
        let times = (metadata.ctime(), metadata.ctime_nsec());
        (identity, times).hash(&mut self.hasher);
    }

    fn add_symlink(&mut self, member: &MemberName, target: &CStr, stat: &Stat) {
        let owner = (stat.st_uid, stat.st_gid, stat.st_mtime);
        ("symlink", member.as_bytes(), target, owner).hash(&mut self.hasher);
        self.add_change(stat.st_ctime);
    }

    fn add_owner(&mut self, metadata: &Metadata) {
        let owner = (metadata.mode(), metadata.uid(), metadata.gid());
        let times = (metadata.mtime(), metadata.mtime_nsec());
        (owner, times).hash(&mut self.hasher);
        self.add_change(metadata.ctime());
    }

    /// Of a time of change, which cannot be set, unlike one of modification.
    fn add_change(&mut self, seconds: i64) {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        self.changed = self.changed.max(changed);
    }
}

/// An entry of the tree, with what is needed to archive it.
enum Found<'a> {
    Directory(MemberMetadata),
    /// Open at its beginning, with the metadata of the descriptor.
    File(File, Metadata),
    Symlink(CString, MemberMetadata),
    HardLink(&'a MemberName, MemberMetadata),
    Skipped(SkipReason),
}

type Visit<'v> = dyn FnMut(&MemberName, Found<'_>) -> io::Result<()> + 'v;

/// The state of one walk, in addition to the call stack.
struct Walk<'w, 'v> {
    state: TreeState,
    visit: &'w mut Visit<'v>,
    hard_links: HardLinks,
    listing_bytes_held: usize,
    listing_bytes_max: usize,
    hidden: Hidden,
}

impl Walk<'_, '_> {
    /// Visits all entries of a directory. `name` is `None` for a root without a
    /// name; `depth` is 0 for the root.
    fn walk_entries(
        &mut self,
        directory: &File,
        name: Option<&MemberName>,
        depth: usize,
    ) -> io::Result<()> {
        let listing_bytes_before = self.listing_bytes_held;
        for file_name in self.list(directory, name)? {
            let member = match name {
                Some(name) => name.child(file_name.to_bytes())?,
                None => MemberName::parse(file_name.to_bytes())?,
            };
            self.walk_entry(directory, &file_name, &member, depth + 1)?;
        }
        self.listing_bytes_held = listing_bytes_before;
        Ok(())
    }

    fn walk_entry(
        &mut self,
        parent: &File,
        file_name: &CStr,
        member: &MemberName,
        depth: usize,
    ) -> io::Result<()> {
        if self.hidden == Hidden::LeaveOut && file_name.to_bytes().starts_with(b".") {
            return (self.visit)(member, Found::Skipped(SkipReason::Hidden));
        }
        let stat =
            retry_on_intr(|| rustix::fs::statat(parent, file_name, AtFlags::SYMLINK_NOFOLLOW))
                .map_err(|errno| unreadable(member, "reading the metadata", errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.walk_subdirectory(parent, file_name, member, depth),
            FileType::RegularFile => self.visit_file(parent, file_name, member),
            FileType::Symlink => self.visit_symlink(parent, file_name, member, &stat),
            FileType::Fifo => (self.visit)(member, Found::Skipped(SkipReason::Fifo)),
            FileType::Socket => (self.visit)(member, Found::Skipped(SkipReason::Socket)),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
                (self.visit)(member, Found::Skipped(SkipReason::Device))
            }
        }
    }

    fn walk_subdirectory(
        &mut self,
        parent: &File,
        file_name: &CStr,
        member: &MemberName,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH_MAX {
            let depth_max = DEPTH_MAX;
            return Err(member.fails(MemberProblem::TooDeep { depth_max }).into());
        }
        let directory = open_entry(parent, file_name, member, OFlags::DIRECTORY)?;
        let metadata = stat_open(&directory, member)?;
        self.state.add_directory(member, &metadata);
        (self.visit)(member, Found::Directory((&metadata).into()))?;
        self.walk_entries(&directory, Some(member), depth)
    }

    fn visit_file(
        &mut self,
        parent: &File,
        file_name: &CStr,
        member: &MemberName,
    ) -> io::Result<()> {
        let file = open_entry(parent, file_name, member, OFlags::NONBLOCK)?;
        let metadata = stat_open(&file, member)?;
        if !metadata.is_file() {
            return Err(member.fails(MemberProblem::Replaced).into());
        }
        self.state.add_file(member, &metadata);
        match self.hard_links.first_name(&metadata, member) {
            Some(first_name) => {
                (self.visit)(member, Found::HardLink(&first_name, (&metadata).into()))
            }
            None => (self.visit)(member, Found::File(file, metadata)),
        }
    }

    fn visit_symlink(
        &mut self,
        parent: &File,
        file_name: &CStr,
        member: &MemberName,
        stat: &Stat,
    ) -> io::Result<()> {
        let target = retry_on_intr(|| rustix::fs::readlinkat(parent, file_name, Vec::new()))
            .map_err(|errno| match errno {
                // readlink(2): it is not a symlink.
                Errno::INVAL => member.fails(MemberProblem::Replaced),
                errno => unreadable(member, "reading", errno),
            })?;
        self.state.add_symlink(member, &target, stat);
        // The permissions of a symlink have no effect; these are what systems show.
        let mut metadata = MemberMetadata::new(0o777, stat.st_mtime);
        metadata.uid = stat.st_uid;
        metadata.gid = stat.st_gid;
        (self.visit)(member, Found::Symlink(target, metadata))
    }

    /// Lists a directory, sorted, and counts the memory of the listing.
    fn list(&mut self, directory: &File, name: Option<&MemberName>) -> io::Result<Vec<CString>> {
        let fails = |problem| match name {
            Some(name) => name.fails(problem),
            None => MemberError::new(b".", problem),
        };
        let listing_failed = |errno: Errno| {
            fails(MemberProblem::Unreadable {
                attempt: "listing",
                source: errno.into(),
            })
        };
        let mut file_names = Vec::new();
        for entry in Dir::read_from(directory).map_err(listing_failed)? {
            let entry = entry.map_err(listing_failed)?;
            let file_name = entry.file_name();
            if matches!(file_name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.listing_bytes_held += file_name.count_bytes() + LISTING_ENTRY_BYTES;
            if self.listing_bytes_held > self.listing_bytes_max {
                let listing_bytes_max = self.listing_bytes_max;
                return Err(fails(MemberProblem::ListingTooLarge { listing_bytes_max }).into());
            }
            file_names.push(file_name.to_owned());
        }
        file_names.sort_unstable();
        Ok(file_names)
    }
}

impl Tally {
    fn count(&mut self, found: &Found<'_>) {
        match found {
            Found::Directory(_) => self.directories += 1,
            Found::File(_, metadata) => {
                self.files += 1;
                self.content_bytes += metadata.len();
            }
            Found::Symlink(..) => self.symlinks += 1,
            Found::HardLink(..) => self.hard_links += 1,
            Found::Skipped(_) => self.skipped += 1,
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "it is a FIFO",
            Self::Socket => "it is a socket",
            Self::Device => "it is a device",
            Self::Hidden => "it is hidden",
        })
    }
}

fn open_root(root: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = retry_on_intr(|| rustix::fs::open(root, flags, Mode::empty()))?;
    // Opening checks the permission to list; this checks the permission to enter.
    rustix::fs::statat(&root, c".", AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(root.into())
}

/// Opens an entry of `parent` for reading, without following a symlink and
/// without waiting for another process.
fn open_entry(
    parent: &File,
    file_name: &CStr,
    member: &MemberName,
    flags: OFlags,
) -> Result<File, MemberError> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(parent, file_name, flags, Mode::empty()))
        .map(File::from)
        .map_err(|errno| match errno {
            // It is a symlink, not a directory, or a socket.
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO => member.fails(MemberProblem::Replaced),
            errno => unreadable(member, "opening", errno),
        })
}

fn stat_open(file: &File, member: &MemberName) -> Result<Metadata, MemberError> {
    file.metadata().map_err(|source| {
        let attempt = "reading the metadata";
        member.fails(MemberProblem::Unreadable { attempt, source })
    })
}

/// Appends a file that must not change meanwhile. Returns that nothing of it is
/// left out.
fn append<W: Write>(
    tar: &mut TarWriter<W>,
    name: &MemberName,
    file: &File,
    metadata: &Metadata,
) -> io::Result<u64> {
    tar.append_file(name.as_bytes(), metadata.len(), &metadata.into(), file)?;
    check_unchanged(name, file, metadata)?;
    Ok(0)
}

/// Appends a file with the size that it had when it was opened. Returns by how
/// many bytes it has grown.
fn append_frozen<W: Write>(
    tar: &mut TarWriter<W>,
    name: &MemberName,
    file: &File,
    metadata: &Metadata,
) -> io::Result<u64> {
    let size_bytes = metadata.len();
    let content = file.take(size_bytes);
    tar.append_file(name.as_bytes(), size_bytes, &metadata.into(), content)?;
    let growth = || Ok::<_, MemberError>(stat_open(file, name)?.len().checked_sub(size_bytes));
    let mut grown_bytes = growth()?;
    if grown_bytes == Some(0) && check_unchanged(name, file, metadata).is_err() {
        thread::sleep(GROWTH_WAIT);
        grown_bytes = growth()?.filter(|bytes| *bytes > 0);
    }
    grown_bytes.ok_or_else(|| name.fails(MemberProblem::Rewritten).into())
}

/// Fails if a file was written to while it was copied: the copy may then be half
/// old and half new, even if the size is the same. The system's clock for these
/// times advances every few milliseconds, so a second change within the same
/// tick is not noticed. The time of modification can be set back; the other one cannot, and it
/// changes too when the file gets or loses a name.
fn check_unchanged(member: &MemberName, file: &File, before: &Metadata) -> io::Result<()> {
    let after = stat_open(file, member)?;
    let changed = |metadata: &Metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    let is_touched = after.nlink() == before.nlink()
        && (after.ctime(), after.ctime_nsec()) != (before.ctime(), before.ctime_nsec());
    match changed(&after) == changed(before) && !is_touched {
        true => Ok(()),
        false => Err(member.fails(MemberProblem::Rewritten).into()),
    }
}

fn unreadable(member: &MemberName, attempt: &'static str, errno: Errno) -> MemberError {
    let source = errno.into();
    member.fails(MemberProblem::Unreadable { attempt, source })
}

/// Names the root that cannot be archived.
#[derive(Debug)]
struct RootError {
    root: PathBuf,
    source: io::Error,
}

impl From<RootError> for io::Error {
    fn from(error: RootError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot archive the directory {:?}: {}",
            self.root, self.source
        )
    }
}

impl Error for RootError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Changes between two system calls: these tests make only the second call.
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_symlink_in_the_place_of_a_file_or_directory_is_not_opened() {
        let scratch = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", scratch.path().join("file")).unwrap();
        symlink("/etc", scratch.path().join("directory")).unwrap();
        let parent = open_root(scratch.path()).unwrap();
        for (file_name, flags) in [
            (c"file", OFlags::NONBLOCK),
            (c"directory", OFlags::DIRECTORY),
        ] {
            let member = MemberName::parse(file_name.to_bytes()).unwrap();
            let error = open_entry(&parent, file_name, &member, flags).unwrap_err();
            assert_eq!(error.member(), file_name.to_bytes());
            assert!(
                matches!(error.problem(), MemberProblem::Replaced),
                "{error}"
            );
        }
    }

    #[test]
    fn a_fifo_in_the_place_of_a_file_neither_hangs_nor_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, scratch.path().join("file"), 0o600.into()).unwrap();
        let parent = open_root(scratch.path()).unwrap();
        let member = MemberName::parse(b"file").unwrap();
        let mut visited = false;
        let mut walk = Walk {
            state: TreeState::new(),
            visit: &mut |_, _| {
                visited = true;
                Ok(())
            },
            hard_links: HardLinks::new(0),
            listing_bytes_held: 0,
            listing_bytes_max: 0,
            hidden: Hidden::Archive,
        };
        let error = walk.visit_file(&parent, c"file", &member).unwrap_err();
        let problem = MemberError::find_in(&error).unwrap().problem();
        assert!(matches!(problem, MemberProblem::Replaced), "{problem:?}");
        assert!(!visited);
    }
}
