//! Cgroups seen from the node: the layout of the machine, the directories of a cell, a container's files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// What the cells need delegated.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// How this machine lays out its cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `/sys/fs/cgroup` is cgroup v2 with the controllers that limits need.
    Unified,
    /// Anything else, with the reason that a skipped check gives.
    Other {
        /// What was found.
        reason: String,
        /// Mount points of all hierarchies, v1 and v2.
        hierarchies: Vec<PathBuf>,
    },
}

impl Layout {
    /// Looks at the machine.
    #[must_use]
    pub fn detect() -> Self {
        let unified = statfs(ROOT).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        if unified {
            let available =
                fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
            let missing: Vec<&str> = CONTROLLERS
                .into_iter()
                .filter(|wanted| !available.split_whitespace().any(|there| there == *wanted))
                .collect();
            if missing.is_empty() {
                return Self::Unified;
            }
            return Self::Other {
                reason: format!("cgroup v2 without the controllers {}", missing.join(", ")),
                hierarchies: vec![PathBuf::from(ROOT)],
            };
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let hierarchies = super::process::mounts(&mountinfo)
            .into_iter()
            .filter(|mount| mount.fstype == "cgroup" || mount.fstype == "cgroup2")
            .map(|mount| PathBuf::from(mount.target))
            .collect();
        Self::Other { reason: format!("{ROOT} is not cgroup v2 (a v1 or hybrid layout)"), hierarchies }
    }

    /// The directory of a cgroup path in every hierarchy.
    fn directories(&self, path: &str) -> Vec<PathBuf> {
        let relative = path.trim_start_matches('/');
        match self {
            Self::Unified => vec![Path::new(ROOT).join(relative)],
            Self::Other { hierarchies, .. } => hierarchies.iter().map(|root| root.join(relative)).collect(),
        }
    }

    /// Every existing cgroup directory at or below a path, parents first.
    #[must_use]
    pub fn existing(&self, path: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for root in self.directories(path) {
            collect(&root, &mut found);
        }
        found
    }

    /// Ids of all cgroups at or below a path.
    #[must_use]
    pub fn ids(&self, path: &str) -> Vec<u64> {
        self.existing(path).iter().filter_map(|dir| Some(fs::metadata(dir).ok()?.ino())).collect()
    }

    /// Removes everything at or below a path, killing what is in it (v2); what could not be removed.
    ///
    /// On v1 nothing is killed: the processes of a cell are killed by their launcher before.
    #[must_use]
    pub fn remove(&self, path: &str, timeout: Duration) -> Vec<(PathBuf, io::Error)> {
        let deadline = Instant::now() + timeout;
        let mut failures = Vec::new();
        for root in self.directories(path) {
            if *self == Self::Unified && root.exists() {
                thaw(&root);
            }
            if *self == Self::Unified
                && root.join("cgroup.kill").exists()
                && let Err(error) = fs::write(root.join("cgroup.kill"), "1")
            {
                tracing::debug!(path = %root.display(), %error, "cgroup.kill");
            }
            let mut below = Vec::new();
            collect(&root, &mut below);
            for dir in below.into_iter().rev() {
                if let Err(error) = remove_when_empty(&dir, deadline) {
                    failures.push((dir, error));
                }
            }
        }
        failures
    }
}

/// Lets a cgroup go on that a runtime has left frozen, and those above it: they are the suite's, and hold others.
fn thaw(dir: &Path) {
    for dir in dir.ancestors().take_while(|dir| *dir != Path::new(ROOT)) {
        let file = dir.join("cgroup.freeze");
        if fs::read_to_string(&file).is_ok_and(|text| text.trim() == "1")
            && let Err(error) = fs::write(&file, "0")
        {
            tracing::debug!(path = %file.display(), %error, "thaw");
        }
    }
}

/// rmdir, waiting for the last task to go while the cgroup is busy.
fn remove_when_empty(dir: &Path, deadline: Instant) -> io::Result<()> {
    let events = dir.join("cgroup.events");
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(io::Error::from)?;
    if events.exists() {
        watch.add_watch(&events, AddWatchFlags::IN_MODIFY).map_err(io::Error::from)?;
    }
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() != Some(libc::EBUSY) || Instant::now() >= deadline => {
                return Err(error);
            }
            Err(_) => super::poll_for(&watch, Duration::from_millis(20)),
        }
    }
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    found.push(dir.to_owned());
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}

/// A cgroup of the v2 hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// The cgroup with this path from the root of the hierarchy.
    #[must_use]
    pub fn at(path: &str) -> Self {
        Self { dir: Path::new(ROOT).join(path.trim_start_matches('/')) }
    }

    /// The cgroup that a process is in, by its `/proc/PID/cgroup`.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(Self::at(path))
    }

    /// Makes it, with the controllers of the suite enabled on the way and for its own children.
    ///
    /// # Errors
    /// When the directory or a controller is refused; the error names the file.
    pub fn create(&self) -> io::Result<()> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let relative = self.dir.strip_prefix(ROOT).map_err(io::Error::other)?;
        let mut dir = PathBuf::from(ROOT);
        enable(&dir).map_err(|error| named(&dir, error))?;
        for part in relative.components() {
            dir.push(part);
            if !dir.is_dir() {
                fs::create_dir(&dir).map_err(|error| named(&dir, error))?;
            }
            enable(&dir).map_err(|error| named(&dir, error))?;
        }
        Ok(())
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its id: the inode of its directory.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn id(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.dir)?.ino())
    }

    /// A file of the cgroup, trimmed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, file: &str) -> io::Result<String> {
        Ok(fs::read_to_string(self.dir.join(file))?.trim().to_owned())
    }

    /// A number of a `key value` file such as `memory.events.local`.
    #[must_use]
    pub fn keyed(&self, file: &str, key: &str) -> Option<u64> {
        let text = self.read(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
    }
}

fn enable(dir: &Path) -> io::Result<()> {
    let file = dir.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file)?;
    for controller in CONTROLLERS {
        if !enabled.split_whitespace().any(|there| there == controller) {
            fs::write(&file, format!("+{controller}"))?;
        }
    }
    Ok(())
}
