//! The node's processes, as procfs shows them (proc(5)).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::unistd::{Pid, getpgid, getpid};
use procfs::process::{Process, Stat};
use procfs::{FromRead as _, ProcError, ProcResult};
use thiserror::Error;

/// Longer than any (proc_pid_stat(5)): 64 bytes of a name, and some fifty numbers of at most 20 digits.
const STAT_LEN: usize = 2048;

/// A directory cannot be used as the node's procfs.
#[derive(Debug, Error)]
pub enum ProcfsError {
    /// It cannot be looked at.
    #[error("cannot look at {}", path.display())]
    Look {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no procfs; name the mount point of one, as /proc", path.display())]
    Other {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another pid namespace.
    #[error("{} shows other processes than the node's; mount the procfs of the initial pid namespace there", path.display())]
    Namespace {
        /// The directory.
        path: PathBuf,
    },
}

/// A mount of procfs.
#[derive(Debug, Clone)]
pub struct Procfs {
    root: PathBuf,
}

impl Procfs {
    /// That of a mount point.
    ///
    /// # Errors
    /// When it is no procfs, or not that of the pid namespace of this process.
    pub fn at(root: &Path) -> Result<Self, ProcfsError> {
        let path = root.to_owned();
        match statfs(root) {
            Err(errno) => return Err(ProcfsError::Look { path, source: errno.into() }),
            Ok(found) if found.filesystem_type() != PROC_SUPER_MAGIC => {
                return Err(ProcfsError::Other { path });
            }
            Ok(_) => {}
        }
        let procfs = Self { root: root.to_owned() };
        let start = |procfs: &Self| Some(procfs.stat(getpid().as_raw()).ok()?.starttime);
        if start(&procfs) != start(&Self { root: "/proc".into() }) {
            return Err(ProcfsError::Namespace { path });
        }
        Ok(procfs)
    }

    /// What it tells of a process in one line. Opens the file and reads it at once: a comparison looks at every process of the node, and
    /// most of its time would go into asking for sizes and ends.
    pub(super) fn stat(&self, pid: i32) -> ProcResult<Stat> {
        let path = self.root.join(format!("{pid}/stat"));
        let mut line = [0; STAT_LEN];
        let read = File::open(&path).and_then(|mut file| file.read(&mut line));
        let len = read.map_err(|error| ProcError::Io(error, Some(path)))?;
        Stat::from_read(line.get(..len).unwrap_or_default())
    }

    /// The directory of a process, which is not that of a later one of its number.
    pub(super) fn process(&self, pid: i32) -> ProcResult<Process> {
        Process::new_with_root(self.root.join(pid.to_string()))
    }

    /// All processes of now that it shows.
    pub(super) fn pids(&self) -> ProcResult<impl Iterator<Item = io::Result<i32>> + use<>> {
        let all = fs::read_dir(&self.root).map_err(|error| ProcError::Io(error, Some(self.root.clone())))?;
        let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        Ok(all.filter_map(move |entry| entry.map(pid).transpose()))
    }

    /// Whether there is such a process though it does not tell of it (`hidepid`).
    pub(super) fn is_hidden(&self, pid: i32) -> bool {
        // Of anybody's process it tells whether that is there (getpgid(2)).
        self.stat(pid).is_err() && getpgid(Some(Pid::from_raw(pid))).is_ok()
    }
}

#[cfg(test)]
pub(super) fn own() -> Procfs {
    Procfs::at(Path::new("/proc")).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process_and_of_none() {
        let (procfs, pid) = (own(), getpid().as_raw());
        let stat = procfs.stat(pid).unwrap();
        assert_eq!((stat.pid, stat.ppid), (pid, nix::unistd::getppid().as_raw()));
        assert!(procfs.pids().unwrap().any(|other| other.unwrap() == pid));
        assert!(!procfs.is_hidden(pid) && !procfs.is_hidden(i32::MAX));
        let error = procfs.stat(0).unwrap_err();
        let is_it = matches!(&error, ProcError::Io(error, Some(path))
            if error.kind() == io::ErrorKind::NotFound && path.ends_with("0/stat"));
        assert!(is_it, "{error}");
    }

    #[test]
    fn what_is_none_is_told() {
        let of = |path: &str| Procfs::at(Path::new(path)).unwrap_err().to_string();
        assert_eq!(of("/nonexistent"), "cannot look at /nonexistent");
        assert_eq!(of("/"), "/ is no procfs; name the mount point of one, as /proc");
        let inner = of("/proc/1");
        assert!(inner.starts_with("/proc/1 shows other processes than the node's"), "{inner}");
    }
}
