//! The directories below the state root: making, locking, replacing, removing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{State, StateError};
use crate::spec::ContainerId;
use crate::sys::shared::SharedWords;

/// Name of the lock that init holds until its exec.
const BARRIER: &str = "barrier";
/// Name of the socket where init waits.
pub(crate) const SOCKET: &str = "start.sock";
const STATE: &str = "state.json";
const STATE_NEW: &str = "state.json.new";

/// The directory that holds one directory per container.
#[derive(Debug, Clone)]
pub struct StateRoot(PathBuf);

impl StateRoot {
    /// A state root; the directory is made by the first [`StateRoot::create`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory of one container, whether it exists or not.
    #[must_use]
    pub fn directory(&self, id: &ContainerId) -> PathBuf {
        self.0.join(id.as_str())
    }

    /// Makes and locks the directory of a new container.
    ///
    /// # Errors
    /// [`StateError::Exists`] when the id is taken, else the failed operation.
    pub fn create(&self, id: &ContainerId) -> Result<ContainerDir, StateError> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.recursive(true).create(&self.0).map_err(StateError::io("make the state root", &self.0))?;
        let path = self.directory(id);
        match builder.recursive(false).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(StateError::Exists { id: id.to_string(), root: self.0.clone() })
            }
            Err(error) => Err(StateError::io("make", path)(error)),
            Ok(()) => self.lock(id),
        }
    }

    /// Locks the directory of a container; waits while another command has it.
    ///
    /// # Errors
    /// [`StateError::Unknown`] when there is none, else the failed operation.
    pub fn lock(&self, id: &ContainerId) -> Result<ContainerDir, StateError> {
        let path = self.directory(id);
        loop {
            let directory = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(StateError::Unknown { id: id.to_string(), root: self.0.clone() });
                }
                result => result.map_err(StateError::io("open", &path))?,
            };
            directory.lock().map_err(StateError::io("lock", &path))?;
            // Whoever had the lock may have removed the directory, and somebody may have made another.
            let mine = directory.metadata().map_err(StateError::io("look at", &path))?;
            if fs::metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (mine.dev(), mine.ino())) {
                return Ok(ContainerDir { path, lock: directory });
            }
        }
    }

    /// Reads a container's state without the lock; it is replaced atomically.
    ///
    /// # Errors
    /// [`StateError::Unknown`] or [`StateError::Damaged`], else the failed operation.
    pub fn load(&self, id: &ContainerId) -> Result<State, StateError> {
        let path = self.directory(id).join(STATE);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StateError::Unknown { id: id.to_string(), root: self.0.clone() })
            }
            Err(error) => Err(StateError::io("read", path)(error)),
            Ok(text) => serde_json::from_slice(&text).map_err(|source| StateError::Damaged { path, source }),
        }
    }

    /// The barrier file of a container.
    pub(crate) fn barrier(&self, id: &ContainerId) -> PathBuf {
        self.directory(id).join(BARRIER)
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
        for name in [STATE, STATE_NEW, SOCKET, BARRIER] {
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
        let dir = root.create(&id).unwrap();
        let _barrier = dir.make_barrier().unwrap();
        assert!(matches!(root.create(&id), Err(StateError::Exists { .. })));
        dir.remove().unwrap();
        root.create(&id).unwrap().remove().unwrap();
        assert!(matches!(root.load(&id), Err(StateError::Unknown { .. })));
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
