//! Waiting for a log to grow (inotify(7)).

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::LogError;

/// How long nothing may happen until the caller is asked whether more will come, in milliseconds. Files tell when they grow;
/// only the end of the container, and a node that has no inotify instance left, are noticed by this.
const PATIENCE_MS: u16 = 250;

/// A watch on the directory of a log: it sees the files there grow, come and be renamed.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    directory: &'a Path,
    inotify: Option<Inotify>,
}

impl<'a> Watch<'a> {
    /// Begins to watch; what happens from here on ends a [`Watch::wait`].
    pub(super) fn new(directory: &'a Path) -> Result<Self, LogError> {
        let failed = |errno: Errno| LogError::file("watch", directory)(errno.into());
        let inotify = match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
            // The limit is per user, and small.
            Err(Errno::EMFILE | Errno::ENFILE) => return Ok(Self { directory, inotify: None }),
            result => result.map_err(failed)?,
        };
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        match inotify.add_watch(directory, events) {
            Ok(_) => Ok(Self { directory, inotify: Some(inotify) }),
            Err(Errno::ENOSPC) => Ok(Self { directory, inotify: None }),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Waits until something happened since the last wait, or the patience is over.
    pub(super) fn wait(&self) -> Result<(), LogError> {
        let failed = |errno: Errno| LogError::file("wait for changes of", self.directory)(errno.into());
        let mut fds: Vec<PollFd<'_>> =
            self.inotify.iter().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, PATIENCE_MS) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            result => result.map_err(failed)?,
        };
        match self.inotify.as_ref().map(Inotify::read_events) {
            Some(Err(errno)) if errno != Errno::EAGAIN => Err(failed(errno)),
            _ => Ok(()),
        }
    }
}
