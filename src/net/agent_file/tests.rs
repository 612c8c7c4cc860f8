use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use crate::crypto::Random;
use crate::proto::Now;

#[test]
fn what_was_written_is_read_and_only_its_owner_may() {
    let folder = Folder::new("written");
    let path = folder.file();
    assert!(read(&path).unwrap().is_none());
    write(&path, &agent("one")).unwrap();
    write(&path, &agent("two")).unwrap();
    assert_eq!(read(&path).unwrap().unwrap().name(), "two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.names(), ["agent"], "nothing stays beside it");
}

#[test]
fn a_check_leaves_the_file_as_it_is() {
    let folder = Folder::new("check");
    let path = folder.file();
    write(&path, &agent("one")).unwrap();
    check(&path, &agent("two")).unwrap();
    assert_eq!(read(&path).unwrap().unwrap().name(), "one");
    assert_eq!(folder.names(), ["agent"]);
    assert!(check(&folder.0.join("other"), &agent("two")).is_err());
}

#[test]
fn a_file_that_others_may_read_or_change_is_refused() {
    let folder = Folder::new("rights");
    let path = folder.file();
    write(&path, &agent("one")).unwrap();
    for mode in [0o604, 0o620, 0o640, 0o644, 0o666, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(matches!(problem(&path), AgentFileProblem::OpenToOthers { mode: seen } if seen == mode), "{mode:o}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(matches!(problem(&path), AgentFileProblem::ReadOnly));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(read(&path).unwrap().is_some());
}

#[test]
fn what_is_no_file_is_not_followed_read_or_waited_for() {
    let folder = Folder::new("kinds");
    let path = folder.file();
    write(&path, &agent("one")).unwrap();
    let link = folder.0.join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(problem(&link), AgentFileProblem::Link));
    assert!(matches!(problem(&folder.0), AgentFileProblem::NotAFile));
    let socket = folder.0.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert!(matches!(problem(&socket), AgentFileProblem::NotAFile));
    assert!(matches!(problem(Path::new("/dev/null")), AgentFileProblem::NotAFile));
}

#[test]
fn a_damaged_and_an_endless_file_are_no_agent() {
    let folder = Folder::new("damaged");
    let path = folder.file();
    write(&path, &agent("one")).unwrap();
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    assert!(matches!(problem(&path), AgentFileProblem::Content(FileError::Damaged { .. })));
    fs::write(&path, "something else").unwrap();
    assert!(matches!(problem(&path), AgentFileProblem::Content(FileError::NotAnAgentFile)));
    fs::write(&path, [&text[..], &vec![b'A'; FILE_LIMIT]].concat()).unwrap();
    assert!(matches!(problem(&path), AgentFileProblem::Content(FileError::Damaged { what: "it is too long" })));
}

#[test]
fn where_there_is_no_folder_nothing_can_be_written() {
    let folder = Folder::new("nowhere");
    let path = folder.0.join("missing").join("agent");
    assert!(matches!(write(&path, &agent("one")), Err(Error::AgentFile { problem: AgentFileProblem::NoFolder, .. })));
    // A folder in its place can't be replaced, and is left as it is.
    let failed = write(&folder.0, &agent("one"));
    assert!(matches!(failed, Err(Error::AgentFile { problem: AgentFileProblem::Unwritable(_), .. })), "{failed:?}");
    assert!(folder.names().is_empty());
}

fn problem(path: &Path) -> AgentFileProblem {
    match read(path) {
        Err(Error::AgentFile { problem, .. }) => problem,
        Err(error) => panic!("{error}"),
        Ok(file) => panic!("it was taken: {:?}", file.map(|file| file.name().to_owned())),
    }
}

fn agent(name: &str) -> AgentFile {
    AgentFile::new(name, &mut Random::counting(), Now { monotonic: std::time::Duration::ZERO, wall: 0 }).unwrap()
}

/// A folder of a test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("a2alinker-agent-file-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("agent")
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
