//! `--console-socket`, and the terminal of a program in the foreground.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, bail};

use crate::launch::console;
use crate::launch::terminal::Attached;

/// Where the master of a new terminal goes.
#[derive(Debug)]
pub(super) enum Console {
    /// The program has no terminal.
    None,
    /// To the caller of podrt.
    Socket(OwnedFd),
    /// To podrt.
    Foreground {
        /// To receive from.
        ours: OwnedFd,
        /// To send to.
        theirs: OwnedFd,
    },
}

impl Console {
    /// Decides, with the rules and words of runc.
    pub(super) fn new(has_terminal: bool, is_detached: bool, socket: Option<&Path>) -> anyhow::Result<Self> {
        match (has_terminal, is_detached, socket) {
            (false, _, Some(_)) | (_, false, Some(_)) => {
                bail!("--console-socket: cannot use console socket if podrt will not detach or allocate tty")
            }
            (true, true, None) => {
                bail!(
                    "process.terminal: cannot allocate tty if podrt will detach without setting console socket; \
                     add --console-socket"
                )
            }
            (true, true, Some(path)) => {
                let socket = console::connect(path)
                    .with_context(|| format!("--console-socket: connect to {}", path.display()))?;
                Ok(Self::Socket(socket))
            }
            (true, false, None) => {
                let (ours, theirs) = console::pair().context("make a pair of sockets")?;
                Ok(Self::Foreground { ours, theirs })
            }
            (false, _, None) => Ok(Self::None),
        }
    }

    /// The end for the new process.
    pub(super) fn remote(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::None => None,
            Self::Socket(socket) | Self::Foreground { theirs: socket, .. } => Some(socket.as_fd()),
        }
    }

    /// Takes the terminal that the new process has sent, where it was to podrt.
    pub(super) fn attach(self) -> anyhow::Result<Option<Attached>> {
        let Self::Foreground { ours, theirs } = self else { return Ok(None) };
        drop(theirs);
        let master = console::receive(ours.as_fd()).context("receive the terminal")?;
        Attached::new(master).map(Some).context("take over the terminal")
    }
}
