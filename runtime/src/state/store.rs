//! The directories below the state root: making, locking, replacing, removing.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::stat::makedev;

use super::{State, StateError};
use crate::cgroup::Owner;
use crate::spec::ContainerId;
use crate::sys::shared::SharedWords;

/// Name of the lock that init holds until its exec.
const BARRIER: &str = "barrier";
/// Name of the socket where init waits.
pub(crate) const SOCKET: &str = "start.sock";
const STATE: &str = "state.json";
const STATE_NEW: &str = "state.json.new";
/// Name of the copy of the bundle's configuration.
const CONFIG: &str = "config.json";

/// The directory that holds one directory per container.
#[derive(Debug, Clone)]
pub struct StateRoot {
    path: PathBuf,
    /// Without links, once it was asked for.
    canonical: OnceLock<PathBuf>,
}

impl StateRoot {
    /// A state root; the directory is made by the first [`StateRoot::create`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), canonical: OnceLock::new() }
    }

    /// The directory of one container, whether it exists or not.
    #[must_use]
    pub fn directory(&self, id: &ContainerId) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// Makes and locks the directory of a new container.
    ///
    /// # Errors
    /// [`StateError::Exists`] when the id is taken, else the failed operation.
    pub fn create(&self, id: &ContainerId) -> Result<ContainerDir, StateError> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        let path = self.directory(id);
        let exists = || StateError::Exists { id: id.to_string(), root: self.path.clone() };
        let mut has_root = false;
        loop {
            match builder.recursive(false).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                        && !has_root =>
                {
                    let made = builder.recursive(true).create(&self.path);
                    made.map_err(StateError::io("make the state root", &self.path))?;
                    has_root = true;
                    continue;
                }
                Err(error) => return Err(StateError::io("make", path)(error)),
                Ok(()) => {}
            }
            match self.lock(id) {
                // A clean-up came between, and took it for the remains of an interrupted create.
                Err(StateError::Unknown { .. }) => {}
                Ok(directory) if directory.path.join(STATE).exists() => return Err(exists()),
                result => return result,
            }
        }
    }

    /// The ids of the directories below the root, sorted, and what else is there.
    ///
    /// # Errors
    /// The failed operation; a root that does not exist is empty.
    pub fn entries(&self) -> Result<(Vec<ContainerId>, Vec<PathBuf>), StateError> {
        let (mut ids, mut others) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((ids, others)),
            result => result.map_err(StateError::io("list", &self.path))?,
        };
        for entry in entries {
            let entry = entry.map_err(StateError::io("list", &self.path))?;
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            match id.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                Some(id) => ids.push(id),
                None => others.push(entry.path()),
            }
        }
        ids.sort_by(|a: &ContainerId, b| a.as_str().cmp(b.as_str()));
        others.sort();
        Ok((ids, others))
    }

    /// The root without links, or as it is while it does not exist. What it was first stays, so that a container's cgroup is
    /// known by its mark for as long as whoever made it lives.
    #[must_use]
    pub fn canonical(&self) -> PathBuf {
        if let Some(known) = self.canonical.get() {
            return known.clone();
        }
        match fs::canonicalize(&self.path) {
            Ok(found) => self.canonical.get_or_init(|| found).clone(),
            Err(_) => self.path.clone(),
        }
    }

    /// Whose the cgroup of a container is.
    #[must_use]
    pub fn owner(&self, id: &ContainerId) -> Owner {
        Owner::new(self.canonical().join(id.as_str()))
    }

    /// Locks the directory of a container; waits while another command has it.
    ///
    /// # Errors
    /// [`StateError::Unknown`] when there is none, else the failed operation.
    pub fn lock(&self, id: &ContainerId) -> Result<ContainerDir, StateError> {
        match self.lock_with(id, |directory| directory.lock().map(|()| true))? {
            Some(directory) => Ok(directory),
            None => Err(StateError::Unknown { id: id.to_string(), root: self.path.clone() }),
        }
    }

    /// Locks the directory of a container unless another command has it; then `None`.
    ///
    /// # Errors
    /// [`StateError::Unknown`] when there is none, else the failed operation.
    pub fn try_lock(&self, id: &ContainerId) -> Result<Option<ContainerDir>, StateError> {
        self.lock_with(id, |directory| match directory.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// Locks the directory of a container; waits so long while another command has it.
    ///
    /// # Errors
    /// [`StateError::Unknown`] when there is none, [`StateError::Busy`] when the time is over, else the failed operation.
    pub fn lock_within(&self, id: &ContainerId, limit: Duration) -> Result<ContainerDir, StateError> {
        let busy = |holder| StateError::Busy { id: id.to_string(), holder, seconds: limit.as_secs() };
        lock_within(&self.directory(id), limit, || self.try_lock(id), busy)
    }

    fn lock_with(
        &self,
        id: &ContainerId,
        lock: impl Fn(&File) -> io::Result<bool>,
    ) -> Result<Option<ContainerDir>, StateError> {
        let path = self.directory(id);
        loop {
            let directory = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(StateError::Unknown { id: id.to_string(), root: self.path.clone() });
                }
                result => result.map_err(StateError::io("open", &path))?,
            };
            if !lock(&directory).map_err(StateError::io("lock", &path))? {
                return Ok(None);
            }
            // Whoever had the lock may have removed the directory, and somebody may have made another.
            let mine = directory.metadata().map_err(StateError::io("look at", &path))?;
            if fs::metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (mine.dev(), mine.ino())) {
                return Ok(Some(ContainerDir { path, lock: directory }));
            }
        }
    }

    /// Reads a container's state without the lock; it is replaced atomically.
    ///
    /// # Errors
    /// [`StateError::Unknown`], [`StateError::Damaged`] or [`StateError::Foreign`], else the failed operation.
    pub fn load(&self, id: &ContainerId) -> Result<State, StateError> {
        let path = self.directory(id).join(STATE);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StateError::Unknown { id: id.to_string(), root: self.path.clone() })
            }
            Err(error) => Err(StateError::io("read", path)(error)),
            Ok(text) => match serde_json::from_slice::<State>(&text) {
                Ok(state) if state.id != id.as_str() => Err(StateError::Foreign { path, id: state.id }),
                result => result.map_err(|source| StateError::Damaged { path, source }),
            },
        }
    }

    /// Reads the configuration that a container was created from.
    ///
    /// # Errors
    /// The failed operation.
    pub fn load_config(&self, id: &ContainerId) -> Result<String, StateError> {
        let path = self.directory(id).join(CONFIG);
        fs::read_to_string(&path).map_err(StateError::io("read", path))
    }

    /// The containers, by id.
    ///
    /// # Errors
    /// The failed operation. A root that does not exist has none.
    pub fn list(&self) -> Result<Vec<ContainerId>, StateError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(StateError::io("list", &self.path))?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StateError::io("list", &self.path))?;
            // What is no id is nobody's container.
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            ids.extend(id.filter(|_| entry.path().join(STATE).exists()));
        }
        ids.sort_by(|a: &ContainerId, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }

    /// The barrier file of a container.
    pub(crate) fn barrier(&self, id: &ContainerId) -> PathBuf {
        self.directory(id).join(BARRIER)
    }
}

/// How long a command waits for another one that has what it is to remove.
pub const LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at a lock that another command has.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Locks a directory; waits so long while another command has it.
///
/// # Errors
/// What `try_lock` fails with, or `busy` makes of whoever has the lock when the time is over.
pub fn lock_within<L, E>(
    directory: &Path,
    limit: Duration,
    try_lock: impl Fn() -> Result<Option<L>, E>,
    busy: impl FnOnce(String) -> E,
) -> Result<L, E> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(lock) = try_lock()? {
            return Ok(lock);
        }
        if Instant::now() >= deadline {
            return Err(busy(holder(directory)));
        }
        #[expect(clippy::disallowed_methods, reason = "flock(2) takes no deadline, and its end is no event")]
        std::thread::sleep(LOCK_POLL);
    }
}

/// Who has the lock of this directory, by proc_locks(5).
fn holder(directory: &Path) -> String {
    let is_same = |lock: &procfs::Lock, file: &fs::Metadata| {
        let device = makedev(lock.devmaj.into(), lock.devmin.into());
        lock.lock_type == procfs::LockType::FLock && lock.inode == file.ino() && device == file.dev()
    };
    let pid = fs::metadata(directory).ok().and_then(|file| {
        let locks = procfs::locks().ok()?;
        locks.into_iter().find(|lock| is_same(lock, &file)).and_then(|lock| lock.pid)
    });
    let Some(pid) = pid else { return "another command".to_owned() };
    match procfs::process::Process::new(pid).and_then(|process| process.cmdline()) {
        Ok(words) if !words.is_empty() => format!("process {pid} (`{}`)", words.join(" ")),
        _ => format!("process {pid}"),
    }
}

/// The directory of one container, locked until this is dropped.
#[derive(Debug)]
pub struct ContainerDir {
    path: PathBuf,
    lock: File,
}

impl ContainerDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Replaces the state file.
    ///
    /// # Errors
    /// The failed operation; the old file is still there.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        let new = self.path.join(STATE_NEW);
        let text = serde_json::to_vec_pretty(state)
            .map_err(|source| StateError::Damaged { path: new.clone(), source })?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(StateError::io("make", &new))?;
        file.write_all(&text).map_err(StateError::io("write", &new))?;
        let path = self.path.join(STATE);
        fs::rename(&new, &path).map_err(StateError::io("replace", path))
    }

    /// Keeps the configuration: what happens to the bundle later changes nothing.
    ///
    /// # Errors
    /// The failed operation.
    pub fn save_config(&self, document: &str) -> Result<(), StateError> {
        let path = self.path.join(CONFIG);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io("make", &path))?;
        file.write_all(document.as_bytes()).map_err(StateError::io("write", path))
    }

    /// Removes what an interrupted [`ContainerDir::save`] left; true when there was something.
    ///
    /// # Errors
    /// The failed operation.
    pub fn remove_unfinished(&self) -> Result<bool, StateError> {
        let path = self.path.join(STATE_NEW);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StateError::io("remove", path)(error)),
        }
    }

    /// Makes the barrier file and locks it; the lock belongs to the open file, so a cloned process has it too.
    ///
    /// # Errors
    /// The failed operation.
    pub fn make_barrier(&self) -> Result<File, StateError> {
        let path = self.path.join(BARRIER);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io("make", &path))?;
        file.set_len(SharedWords::LENGTH).map_err(StateError::io("lengthen", &path))?;
        file.lock().map_err(StateError::io("lock", path))?;
        Ok(file)
    }

    /// Removes the directory. The id is free from here on.
    ///
    /// # Errors
    /// The failed operation.
    pub fn remove(self) -> Result<(), StateError> {
        // Without a state file nobody takes the rest for a container, should this be interrupted.
        for name in [STATE, STATE_NEW, CONFIG, SOCKET, BARRIER] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::io("remove", path)(error));
                }
                _ => {}
            }
        }
        fs::remove_dir(&self.path).map_err(StateError::io("remove", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_until_its_directory_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let root = StateRoot::new(temp.path().join("deep/root"));
        let id: ContainerId = "c1".parse().unwrap();
        assert!(matches!(root.lock(&id), Err(StateError::Unknown { .. })));
        assert!(root.list().unwrap().is_empty());
        let dir = root.create(&id).unwrap();
        let _barrier = dir.make_barrier().unwrap();
        dir.save_config("{}").unwrap();
        assert_eq!(root.load_config(&id).unwrap(), "{}");
        assert!(root.list().unwrap().is_empty(), "without a state it is none yet");
        assert!(matches!(root.create(&id), Err(StateError::Exists { .. })));
        dir.remove().unwrap();
        root.create(&id).unwrap().remove().unwrap();
        assert!(matches!(root.load(&id), Err(StateError::Unknown { .. })));
    }

    #[test]
    fn a_state_of_another_container_is_an_error_that_names_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = StateRoot::new(temp.path());
        let id: ContainerId = "c1".parse().unwrap();
        let dir = root.create(&id).unwrap();
        // As an earlier version wrote it, and with fields of a later one.
        let text = r#"{"oci_version": "1.2.0", "id": "c2", "bundle": "/b", "rootfs": "/r", "created": "", "annotations": {},
            "cgroup": "/podrt/c2", "process": null, "later": [1]}"#;
        fs::write(dir.path().join(STATE), text).unwrap();
        assert!(matches!(root.load(&id), Err(StateError::Foreign { .. })));
        fs::write(dir.path().join(STATE), text.replace("c2", "c1")).unwrap();
        assert_eq!(root.load(&id).unwrap().pid_file, None);
        fs::write(dir.path().join(STATE), text.replace("/podrt/c2", "/").replace("c2", "c1")).unwrap();
        assert!(matches!(root.load(&id), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn a_lock_that_another_has_is_not_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let root = StateRoot::new(temp.path());
        let id: ContainerId = "c1".parse().unwrap();
        let dir = root.create(&id).unwrap();
        fs::write(temp.path().join("stray"), "").unwrap();
        assert_eq!(root.entries().unwrap(), (vec![id.clone()], vec![temp.path().join("stray")]));
        assert!(root.try_lock(&id).unwrap().is_none());
        drop(dir);
        assert!(root.try_lock(&id).unwrap().is_some());
    }

    #[test]
    fn a_damaged_state_is_an_error_that_names_the_file() {
        let temp = tempfile::tempdir().unwrap();
        let root = StateRoot::new(temp.path());
        let id: ContainerId = "c1".parse().unwrap();
        let dir = root.create(&id).unwrap();
        for text in ["", "{", "{\"id\": 1}", "\0\0\0"] {
            fs::write(dir.path().join(STATE), text).unwrap();
            let error = root.load(&id).unwrap_err().to_string();
            assert!(error.contains("c1/state.json is damaged"), "{error}");
        }
    }
}
