//! The directories below the root: making, locking, replacing, removing.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::cgroup::Owner;
use runtime::state::store::lock_within;
use runtime::state::{ProcessIdentity, StateRoot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{PodRecord, PodReport, StateError};
use crate::logs::attempt_file;
use crate::removal;
use crate::spec::names::subdomain_fault;

const RECORD: &str = "pod.json";
const SUPERVISOR: &str = "supervisor.json";
const REPORT: &str = "status.json";

/// The directory that holds everything of the pod layer.
#[derive(Debug, Clone)]
pub struct PodRoot(PathBuf);

impl PodRoot {
    /// A root, absolute; it is made when the first pod is.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where images are unpacked.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// Where addresses are leased.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        self.0.join("network")
    }

    fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    /// The directory of the pods without links, or as it is while it does not exist.
    #[must_use]
    pub fn pods_canonical(&self) -> PathBuf {
        fs::canonicalize(self.pods()).unwrap_or_else(|_| self.pods())
    }

    /// A pod's directory, whether it exists or not.
    ///
    /// # Errors
    /// [`StateError::Name`] when no pod can have the name.
    pub fn pod(&self, name: &str) -> Result<PodDir, StateError> {
        if let Some(fault) = subdomain_fault(name) {
            return Err(StateError::Name { name: name.to_owned(), fault });
        }
        Ok(PodDir { name: name.to_owned(), root: self.0.clone(), path: self.pods().join(name) })
    }

    /// Makes and locks the directory of a new pod.
    ///
    /// # Errors
    /// [`StateError::Exists`] when the name is taken, else the failed operation.
    pub fn create(&self, name: &str) -> Result<(PodDir, PodLock), StateError> {
        let pod = self.pod(name)?;
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.recursive(true).create(self.pods()).map_err(StateError::io("make", self.pods()))?;
        let exists = || StateError::Exists { name: name.to_owned(), root: self.0.clone() };
        loop {
            match builder.recursive(false).create(&pod.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
                result => result.map_err(StateError::io("make", &pod.path))?,
            }
            match pod.lock() {
                // A clean-up came between, and took it for the remains of an interrupted create.
                Err(StateError::Unknown { .. }) => {}
                Ok(_) if pod.path.join(RECORD).exists() => return Err(exists()),
                result => return Ok((pod, result?)),
            }
        }
    }

    /// The pods, by name, also those without a record.
    ///
    /// # Errors
    /// The failed operation. A root that does not exist has none.
    pub fn list(&self) -> Result<Vec<PodDir>, StateError> {
        let pods = self.pods();
        let entries = match fs::read_dir(&pods) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(StateError::io("list", &pods))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(StateError::io("list", &pods))?.file_name().into_string().ok());
        }
        names.sort();
        // What is no name of a pod is nobody's.
        Ok(names.iter().filter_map(|name| self.pod(name).ok()).collect())
    }
}

/// A lock on a pod's directory, held until this is dropped.
#[derive(Debug)]
pub struct PodLock(#[expect(dead_code, reason = "the lock goes with the file")] File);

/// The directory of one pod.
#[derive(Debug, Clone)]
pub struct PodDir {
    name: String,
    root: PathBuf,
    path: PathBuf,
}

impl PodDir {
    /// The pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it.
    #[must_use]
    pub fn join(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path.join(below)
    }

    /// The state root of its containers.
    #[must_use]
    pub fn containers(&self) -> StateRoot {
        StateRoot::new(self.join("containers"))
    }

    /// The directory of a container's bundle.
    #[must_use]
    pub fn bundle(&self, container: &str) -> PathBuf {
        self.join("bundles").join(container)
    }

    /// The directory of a container's logs.
    #[must_use]
    pub fn logs(&self, container: &str) -> PathBuf {
        self.join("logs").join(container)
    }

    /// The log of the `run`th run of a container, counted from 0.
    #[must_use]
    pub fn log(&self, container: &str, run: u32) -> PathBuf {
        attempt_file(&self.logs(container), run)
    }

    /// Where its supervisor takes requests.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.join("control.sock")
    }

    /// Whose the pod's cgroups are.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::new(fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone()))
    }

    /// Locks the pod; waits while another command has it.
    ///
    /// # Errors
    /// [`StateError::Unknown`] when there is none, else the failed operation.
    pub fn lock(&self) -> Result<PodLock, StateError> {
        match self.lock_with(|directory| directory.lock().map(|()| true))? {
            Some(lock) => Ok(lock),
            None => Err(self.unknown()),
        }
    }

    /// Locks the pod unless another command has it; then `None`.
    ///
    /// # Errors
    /// [`StateError::Unknown`] when there is none, else the failed operation.
    pub fn try_lock(&self) -> Result<Option<PodLock>, StateError> {
        self.lock_with(|directory| match directory.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// Locks the pod; waits so long while another command has it.
    ///
    /// # Errors
    /// [`StateError::Unknown`] when there is none, [`StateError::Busy`] when the time is over, else the failed operation.
    pub fn lock_within(&self, limit: Duration) -> Result<PodLock, StateError> {
        let busy = |holder| StateError::Busy { name: self.name.clone(), holder, seconds: limit.as_secs() };
        lock_within(&self.path, limit, || self.try_lock(), busy)
    }

    fn lock_with(&self, lock: impl Fn(&File) -> io::Result<bool>) -> Result<Option<PodLock>, StateError> {
        loop {
            let directory = match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.unknown()),
                result => result.map_err(StateError::io("open", &self.path))?,
            };
            if !lock(&directory).map_err(StateError::io("lock", &self.path))? {
                return Ok(None);
            }
            // Whoever had the lock may have removed the directory, and somebody may have made another.
            let mine = directory.metadata().map_err(StateError::io("look at", &self.path))?;
            if fs::metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == (mine.dev(), mine.ino())) {
                return Ok(Some(PodLock(directory)));
            }
        }
    }

    /// What was asked.
    ///
    /// # Errors
    /// [`StateError::Unknown`], [`StateError::Damaged`], else the failed operation.
    pub fn record(&self) -> Result<PodRecord, StateError> {
        let record: PodRecord = self.read(RECORD)?.ok_or_else(|| self.unknown())?;
        if record.spec.name == self.name {
            return Ok(record);
        }
        let source = serde::de::Error::custom(format!("it is that of pod {}", record.spec.name));
        Err(StateError::Damaged { path: self.join(RECORD), source })
    }

    /// Writes what was asked, to the disk: after another boot nothing else tells that the pod is of an earlier one.
    ///
    /// # Errors
    /// The failed operation.
    pub fn save_record(&self, record: &PodRecord) -> Result<(), StateError> {
        self.replace_after(RECORD, record, File::sync_data)
    }

    /// What the supervisor last wrote; `None` before it did.
    ///
    /// # Errors
    /// [`StateError::Damaged`], else the failed operation.
    pub fn report(&self) -> Result<Option<PodReport>, StateError> {
        self.read(REPORT)
    }

    /// Writes what the supervisor knows.
    ///
    /// # Errors
    /// The failed operation.
    pub fn save_report(&self, report: &PodReport) -> Result<(), StateError> {
        self.replace(REPORT, report)
    }

    /// The process that is, or was, the supervisor; `None` before there was one.
    ///
    /// # Errors
    /// [`StateError::Damaged`], else the failed operation.
    pub fn supervisor(&self) -> Result<Option<ProcessIdentity>, StateError> {
        self.read(SUPERVISOR)
    }

    /// Writes which process the supervisor is.
    ///
    /// # Errors
    /// The failed operation.
    pub fn save_supervisor(&self, process: &ProcessIdentity) -> Result<(), StateError> {
        self.replace(SUPERVISOR, process)
    }

    /// Removes everything, the record first: what is left of an interrupted removal is taken for that of a create.
    ///
    /// # Errors
    /// The failed operation.
    pub fn remove(&self) -> Result<(), StateError> {
        let record = self.join(RECORD);
        match fs::remove_file(&record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::io("remove", record)(error));
            }
            _ => {}
        }
        removal::remove_path(&self.path).map_err(StateError::io("remove", &self.path))
    }

    fn unknown(&self) -> StateError {
        StateError::Unknown { name: self.name.clone(), root: self.root.clone() }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::io("read", path)(error)),
            Ok(text) => serde_json::from_slice(&text).map_err(|source| StateError::Damaged { path, source }),
        }
    }

    fn replace<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        self.replace_after(name, value, |_| Ok(()))
    }

    /// Replaces a file once `write_out` is done with the new one.
    fn replace_after<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        write_out: impl Fn(&File) -> io::Result<()>,
    ) -> Result<(), StateError> {
        let (path, new) = (self.join(name), self.join(format!("{name}.new")));
        let text =
            serde_json::to_vec(value).map_err(|source| StateError::Damaged { path: new.clone(), source })?;
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(StateError::io("make", &new))?;
        file.write_all(&text).and_then(|()| write_out(&file)).map_err(StateError::io("write", &new))?;
        fs::rename(&new, &path).map_err(StateError::io("replace", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_lock_for_too_long_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let (pod, lock) = PodRoot::new(temp.path().to_owned()).create("p").unwrap();
        let error = pod.lock_within(Duration::ZERO).unwrap_err().to_string();
        let own = format!("pod p is locked by process {} (`", std::process::id());
        assert!(error.starts_with(&own) && error.contains("since 0 s"), "{error}");
        drop(lock);
        assert!(pod.lock_within(Duration::ZERO).is_ok());
    }
}
