//! What a command prints goes through the launcher into its file, up to a limit: a command that floods its output, or leaves
//! somebody behind who does, fills neither the node's memory nor a pipe.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// What is kept of one stream, bytes; the rest is read and dropped.
const KEPT: usize = 1 << 20;
/// What is moved at a time, bytes: the usual size of a pipe.
const CHUNK: usize = 64 * 1024;
/// How often a stream is read at the end of its command: what it printed last was in the pipe by then.
const LAST_READS: usize = 4;

/// One stream of a command.
#[derive(Debug)]
pub(super) struct Pump {
    from: PipeReader,
    to: File,
    left: usize,
}

/// Whether there can be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Some,
    Nothing,
    End,
}

impl Pump {
    /// Moves what comes out of a pipe to a file.
    pub(super) fn new(from: PipeReader, to: File) -> io::Result<Self> {
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { from, to, left: KEPT })
    }

    /// What to wait for.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    /// Moves what is there; false when nobody can write any more.
    pub(super) fn step(&mut self) -> bool {
        self.read() != Moved::End
    }

    /// Moves what is there at the end of a command; false when nobody can write any more.
    pub(super) fn drain(&mut self) -> bool {
        for _read in 0..LAST_READS {
            match self.read() {
                Moved::Some => {}
                Moved::Nothing => return true,
                Moved::End => return false,
            }
        }
        true
    }

    fn read(&mut self) -> Moved {
        let mut buffer = [0; CHUNK];
        match self.from.read(&mut buffer) {
            Ok(0) => Moved::End,
            Ok(n) => {
                let kept = n.min(self.left);
                self.left -= kept;
                // A full disk loses words of the command, and is no reason to stop it.
                if let Err(error) = self.to.write_all(&buffer[..kept]) {
                    tracing::debug!(%error, "keep the output of a command");
                }
                Moved::Some
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Moved::Some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Moved::Nothing,
            Err(_broken) => Moved::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_kept_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (from, mut into) = io::pipe().unwrap();
        let mut pump = Pump::new(from, file.reopen().unwrap()).unwrap();
        let block = [b'x'; CHUNK];
        for _block in 0..(KEPT / CHUNK + 8) {
            into.write_all(&block).unwrap();
            assert!(pump.drain());
        }
        drop(into);
        assert!(!pump.step());
        assert_eq!(file.path().metadata().unwrap().len(), KEPT as u64);
    }
}
