//! Loading the filter, last before the exec, and handing its listener over.
//!
//! From the moment at which the filter is loaded, init may do no system call that the profile did not ask for. So it talks to
//! `start` through two words in the barrier file, which both have mapped:
//!
//! | | `podrt start` | init |
//! |---|---|---|
//! | 1 | connects to `listenerPath` before anything else | |
//! | 2 | | says that it is about to load, maps the words, loads |
//! | 3 | | writes the number of the descriptor |
//! | 4 | copies the descriptor (pidfd_getfd(2)), sends it with the state | watches the words |
//! | 5 | writes that it is done | executes the program |
//!
//! What fails from step 3 on is told the same way.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Release};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::Serialize;

use super::{Context, StepError};
use crate::plan::SeccompFilter;
use crate::spec::SeccompListener;
use crate::state::{State, StateDocument, Status};
use crate::sys::shared::SharedWords;
use crate::sys::{process, seccomp};

/// The first word: how far init is. The second goes with it.
mod phase {
    /// The filter is loaded; the second word is the number of the listener's descriptor.
    pub(super) const LOADED: u32 = 1;
    /// The listener has been told.
    pub(super) const TOLD: u32 = 2;
    /// The exec failed; the second word is the errno.
    pub(super) const EXEC_FAILED: u32 = 3;
    /// The capability sets could not be set; the second word is the errno.
    pub(super) const CAPABILITIES_FAILED: u32 = 4;
}

/// How often init looks at the words before it takes `start` for dead: some tens of seconds, without a clock to ask.
const LOOKS: u64 = 1_000_000_000;

/// Init's side: the filter, ready to be loaded.
pub(super) struct Loader {
    program: Vec<libc::sock_filter>,
    flags: u32,
    has_listener: bool,
    words: SharedWords,
}

impl Loader {
    /// Does what can be done before.
    pub(super) fn new(filter: &SeccompFilter, barrier: &File) -> Result<Self, StepError> {
        Ok(Self {
            program: seccomp::encode(&filter.program),
            flags: filter.flags,
            has_listener: filter.has_listener,
            words: SharedWords::map(barrier).during(|| "map the barrier file")?,
        })
    }

    /// Loads it, and waits until the listener has been told, if there is one.
    pub(super) fn load(&self) -> Result<(), Errno> {
        let [phase, number] = self.words.get();
        if let Some(listener) = seccomp::load(&self.program, self.flags, self.has_listener)? {
            // Closing it is the exec's: here it would be a system call.
            number.store(listener.into_raw_fd().unsigned_abs(), Release);
            phase.store(phase::LOADED, Release);
            let mut looks = 0;
            while phase.load(Acquire) != phase::TOLD {
                std::hint::spin_loop();
                looks += 1;
                if looks == LOOKS {
                    return Err(Errno::ETIMEDOUT);
                }
            }
        }
        Ok(())
    }

    /// Tells `start` that there is no exec.
    pub(super) fn tell_failure(&self, failure: Silent) {
        let [phase, number] = self.words.get();
        let (value, errno) = match failure {
            Silent::Exec(errno) => (phase::EXEC_FAILED, errno),
            Silent::Capabilities(errno) => (phase::CAPABILITIES_FAILED, errno),
        };
        number.store((errno as i32).unsigned_abs(), Release);
        phase.store(value, Release);
    }
}

/// What may fail when a system call to tell it with may be filtered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Silent {
    Exec(Errno),
    Capabilities(Errno),
}

/// What has failed under a filter.
pub(super) fn failure(barrier: &Path) -> io::Result<Option<Silent>> {
    let words = map(barrier)?;
    let [phase, errno] = words.get();
    let errno = || Errno::from_raw(errno.load(Acquire).cast_signed());
    Ok(match phase.load(Acquire) {
        phase::EXEC_FAILED => Some(Silent::Exec(errno())),
        phase::CAPABILITIES_FAILED => Some(Silent::Capabilities(errno())),
        _ => None,
    })
}

fn map(barrier: &Path) -> io::Result<SharedWords> {
    let file = OpenOptions::new().read(true).write(true).open(barrier)?;
    Ok(SharedWords::map(&file)?)
}

/// What the listener gets (config-linux.md, containerProcessState).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: StateDocument<'a>,
}

/// The connection to a listener.
#[derive(Debug)]
pub(super) struct Agent<'a> {
    stream: UnixStream,
    listener: &'a SeccompListener,
}

impl<'a> Agent<'a> {
    /// Connects.
    pub(super) fn connect(listener: &'a SeccompListener) -> Result<Self, StepError> {
        let stream = UnixStream::connect(&listener.path)
            .during(|| format!("connect to linux.seccomp.listenerPath {}", listener.path.display()))?;
        Ok(Self { stream, listener })
    }

    /// Waits until init has loaded the filter, and sends the descriptor. False when init has ended instead.
    pub(super) fn tell(self, state: &State, barrier: &Path, init: &UnixStream) -> Result<bool, StepError> {
        let process = state.process.as_ref().ok_or(Errno::ESRCH)?;
        let Some(pidfd) = process.open()? else { return Ok(false) };
        let words = map(barrier).during(|| "map the barrier file")?;
        let [phase, number] = words.get();
        while phase.load(Acquire) != phase::LOADED {
            // Nobody can wake this: init is about to load, or has loaded, and is not free to call.
            let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(1_u8))? > 0 {
                return Ok(false);
            }
        }
        let number = i32::try_from(number.load(Acquire)).map_err(|_too_big| Errno::EBADF)?;
        let notify =
            process::pidfd_getfd(pidfd.as_fd(), number).during(|| "take the seccomp listener over")?;
        let document = ContainerProcessState {
            oci_version: &state.oci_version,
            fds: ["seccompFd"],
            pid: process.pid,
            metadata: self.listener.metadata.as_deref(),
            state: StateDocument::new(state, Status::Created, Some(process.pid)),
        };
        let text = serde_json::to_vec(&document).map_err(|_unwritable| Errno::EINVAL)?;
        self.send(&text, notify.as_fd())
            .during(|| format!("send to linux.seccomp.listenerPath {}", self.listener.path.display()))?;
        drop(self);
        phase.store(phase::TOLD, Release);
        Ok(true)
    }

    fn send(&self, text: &[u8], notify: BorrowedFd<'_>) -> Result<(), Errno> {
        let fds = [notify.as_raw_fd()];
        let mut control = vec![ControlMessage::ScmRights(&fds)];
        let mut rest = text;
        while !rest.is_empty() {
            let parts = [IoSlice::new(rest)];
            let n = sendmsg::<()>(self.stream.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)?;
            rest = &rest[n..];
            control.clear();
        }
        Ok(())
    }
}
