//! `cgroup.events`: what becomes of the processes in a cgroup and below. The kernel wakes a poll when the file changes.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::CgroupError;

/// The open file.
#[derive(Debug)]
pub(super) struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    /// Opens the file of a cgroup; `None` when there is no such cgroup.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, CgroupError> {
        let path = directory.join("cgroup.events");
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { file, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CgroupError::io("open", path)(error)),
        }
    }

    /// Waits for a line, or for the end of the cgroup; false when the time is over.
    pub(super) fn wait_for(&mut self, line: &str, deadline: Instant) -> Result<bool, CgroupError> {
        loop {
            if self.has(line)? {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut fds, timeout) {
                Ok(0) => return self.has(line),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(CgroupError::io("wait for", &self.path)(errno.into())),
            }
        }
    }

    /// True when the file has the line, or the cgroup was removed.
    pub(super) fn has(&mut self, line: &str) -> Result<bool, CgroupError> {
        let mut text = String::new();
        match self.file.rewind().and_then(|()| self.file.read_to_string(&mut text)) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(true),
            Err(error) => Err(CgroupError::io("read", &self.path)(error)),
            Ok(_) => Ok(text.lines().any(|found| found == line)),
        }
    }
}
