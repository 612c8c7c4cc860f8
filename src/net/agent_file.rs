//! The agent file on disk: who may have written it, who may read it, and how it is replaced.
//!
//! It holds the keys of an agent, so it is taken only if it can be nobody else's: a regular file of this user's that only this user may
//! read, opened without following a link. It is replaced whole: a new file beside it, with its rights from the beginning, on disk before
//! it takes the name. Whoever reads it finds the old one or the new one.
//!
//! What it says is [`AgentFile`]'s business.

use std::fmt;
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::task::{JoinHandle, spawn_blocking};
use zeroize::Zeroizing;

use super::{Error, os};
use crate::agent::file::FILE_LIMIT;
use crate::agent::{AgentFile, FileError};

/// What is wrong with an agent file.
#[derive(Debug)]
#[non_exhaustive]
pub enum AgentFileProblem {
    /// The folder that it is to stand in doesn't exist.
    NoFolder,
    /// It is a folder, a socket or the like.
    NotAFile,
    /// It is a symbolic link.
    Link,
    /// It belongs to another user.
    ForeignOwner { uid: u32 },
    /// Others may read or change it.
    OpenToOthers { mode: u32 },
    /// Its owner may not write it.
    ReadOnly,
    /// It can't be read.
    Unreadable(io::Error),
    /// It can't be written, so what an agent becomes would be lost.
    Unwritable(io::Error),
    /// It can be read, and isn't a good agent file.
    Content(FileError),
}

impl fmt::Display for AgentFileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFolder => formatter.write_str("the folder for this agent file doesn't exist: make it first"),
            Self::NotAFile => formatter.write_str("this is a folder or a device, not a file: name a file in it"),
            Self::Link => formatter.write_str("this is a symbolic link, which an agent file may not be: name the file itself"),
            Self::ForeignOwner { uid } => {
                write!(formatter, "this agent file belongs to another user (uid {uid}): whoever wrote it would be the agent, too")
            }
            Self::OpenToOthers { mode } => {
                write!(
                    formatter,
                    "others may read or change this agent file (mode {mode:03o}); make it yours alone with chmod 600"
                )
            }
            Self::ReadOnly => formatter.write_str("this agent file is read-only, and an agent has to change it: chmod 600"),
            Self::Unreadable(error) => write!(formatter, "this agent file can't be read: {error}"),
            Self::Unwritable(error) => write!(formatter, "this agent file can't be written: {error}"),
            Self::Content(error) => error.fmt(formatter),
        }
    }
}

/// Reads an agent file; nothing if there is none.
///
/// # Errors
/// [`Error::AgentFile`]
pub fn read(path: &Path) -> Result<Option<AgentFile>, Error> {
    read_checked(path).map_err(|problem| Error::AgentFile { path: path.to_owned(), problem })
}

fn read_checked(path: &Path) -> Result<Option<AgentFile>, AgentFileProblem> {
    let file = match os::open_no_follow(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if os::is_link_error(&error) => return Err(AgentFileProblem::Link),
        // A socket can't even be opened.
        Err(_) if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) => return Err(AgentFileProblem::NotAFile),
        Err(error) => return Err(AgentFileProblem::Unreadable(error)),
    };
    // Of the file that is open, whatever its name stands for by now.
    let metadata = file.metadata().map_err(AgentFileProblem::Unreadable)?;
    if !metadata.is_file() {
        return Err(AgentFileProblem::NotAFile);
    }
    match os::loose_rights(&metadata) {
        (Some(uid), _) => return Err(AgentFileProblem::ForeignOwner { uid }),
        (None, 0) => {}
        (None, loose) if loose & 0o077 != 0 => return Err(AgentFileProblem::OpenToOthers { mode: loose & 0o077 | 0o600 }),
        (None, _) => return Err(AgentFileProblem::ReadOnly),
    }
    let mut text = Zeroizing::new(Vec::with_capacity(metadata.len().min(FILE_LIMIT as u64) as usize + 1));
    file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut text).map_err(AgentFileProblem::Unreadable)?;
    AgentFile::decode(&text).map(Some).map_err(AgentFileProblem::Content)
}

/// Checks that an agent file that is there can be replaced, by doing everything but that: another process may have changed it since it
/// was read.
///
/// # Errors
/// [`Error::AgentFile`]
pub fn check(path: &Path, file: &AgentFile) -> Result<(), Error> {
    let opened = File::options().write(true).open(path).map(drop);
    let written = opened.and_then(|()| write_beside(path, &file.encode(), |new, _| fs::remove_file(new)));
    written.map_err(|error| refuse_to_write(path, error))
}

/// Replaces an agent file, or makes it.
///
/// # Errors
/// [`Error::AgentFile`]; then the file is what it was before.
pub fn write(path: &Path, file: &AgentFile) -> Result<(), Error> {
    write_beside(path, &file.encode(), |new, path| fs::rename(new, path)).map_err(|error| refuse_to_write(path, error))
}

fn refuse_to_write(path: &Path, error: io::Error) -> Error {
    let problem = match error.kind() {
        io::ErrorKind::NotFound => AgentFileProblem::NoFolder,
        _ => AgentFileProblem::Unwritable(error),
    };
    Error::AgentFile { path: path.to_owned(), problem }
}

/// Writes a new file beside `path`, which `finish` then puts in its place.
fn write_beside(path: &Path, text: &str, finish: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = folder.join(new_name(&name.to_string_lossy()));
    let written = os::create_private_file(&new)
        .and_then(|mut file| write_whole(&mut file, text))
        .and_then(|()| finish(&new, path))
        .and_then(|()| os::sync_folder(folder));
    if written.is_err() {
        // It may never have come to be.
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_whole(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A name that no other process, and no other save of this one, uses at the same time.
fn new_name(name: &str) -> String {
    static SAVES: AtomicU64 = AtomicU64::new(0);
    format!(".{name}.{}-{}.new", std::process::id(), SAVES.fetch_add(1, Ordering::Relaxed))
}

/// Writes an agent's file beside its driver, one version at a time: those between the one that is being written and the newest are skipped.
pub(super) struct Saver {
    path: Option<PathBuf>,
    writing: Option<JoinHandle<Result<(), Error>>>,
    next: Option<AgentFile>,
}

impl Saver {
    /// `None`: there is no file, and nothing to save.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, writing: None, next: None }
    }

    /// Takes the newest version. Has to run inside the runtime.
    pub(super) fn save(&mut self, file: AgentFile) {
        self.next = Some(file);
        self.begin();
    }

    fn begin(&mut self) {
        if self.writing.is_none()
            && let (Some(path), Some(file)) = (self.path.clone(), self.next.take())
        {
            self.writing = Some(spawn_blocking(move || write(&path, &file)));
        }
    }

    /// Nothing is being written or waits to be.
    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_none()
    }

    /// What became of a save; pending while one is under way, and for ever if there is none.
    pub(super) fn poll_saved(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let Some(writing) = &mut self.writing else { return Poll::Pending };
        let Poll::Ready(saved) = Pin::new(writing).poll(cx) else { return Poll::Pending };
        self.writing = None;
        self.begin();
        Poll::Ready(match saved {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        })
    }
}

#[cfg(all(test, unix))]
mod tests;
