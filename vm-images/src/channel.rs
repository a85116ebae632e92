//! One end of a socket pair whose other end QEMU has: whole lines in, bytes out, never blocking.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A byte stream that is cut into lines.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
    buffer: Vec<u8>,
    is_open: bool,
}

/// Read at once; a turn of the loop takes a few of them.
const CHUNK_BYTES: usize = 64 * 1024;

impl Channel {
    /// A channel, and the end for QEMU.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (stream, other) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        Ok((Self { stream, buffer: Vec::new(), is_open: true }, other.into()))
    }

    /// Whether the other end is still there.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes what has arrived, up to one chunk; `false` when there is nothing left to take at the moment.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        if !self.is_open {
            return Ok(false);
        }
        let start = self.buffer.len();
        self.buffer.resize(start + CHUNK_BYTES, 0);
        let result = self.stream.read(&mut self.buffer[start..]);
        self.buffer.truncate(start + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => {
                self.is_open = false;
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            // A killed peer with unread bytes in its queue resets the connection: the end, as well.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.is_open = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// All lines that are whole, at the cost of one move of the rest.
    pub(crate) fn lines(&mut self) -> Vec<Vec<u8>> {
        let Some(end) = self.buffer.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.buffer.split_off(end + 1);
        let whole = std::mem::replace(&mut self.buffer, rest);
        whole[..end].split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    /// Everything that has arrived, whole lines or not.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Sends a short message. Nobody who is still there leaves so little unread that it would not fit, and
    /// nobody who is gone misses it.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.stream.write_all(bytes) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Sends as much as fits; gives how much that was.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                Ok(bytes.len())
            }
            other => other,
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (channel, other) = Channel::pair().unwrap();
        (channel, other.into())
    }

    #[test]
    fn lines_come_whole_and_a_torn_one_stays() {
        let (mut channel, mut peer) = pair();
        peer.write_all(b"one\ntwo\nthr").unwrap();
        assert!(channel.receive().unwrap());
        assert_eq!(channel.lines(), [b"one".to_vec(), b"two".to_vec()]);
        assert!(channel.lines().is_empty());
        peer.write_all(b"ee\n\nto").unwrap();
        assert!(channel.receive().unwrap());
        assert_eq!(channel.lines(), [b"three".to_vec(), Vec::new()]);
        peer.write_all(b"rn").unwrap();
        drop(peer);
        assert!(channel.receive().unwrap());
        assert!(!channel.receive().unwrap());
        assert!(!channel.is_open());
        assert!(channel.lines().is_empty());
        assert_eq!(channel.take_bytes(), b"torn");
    }

    #[test]
    fn nothing_to_read_is_no_end() {
        let (mut channel, _peer) = pair();
        assert!(!channel.receive().unwrap());
        assert!(channel.is_open());
    }

    #[test]
    fn a_peer_that_is_gone_misses_nothing() {
        let (mut channel, peer) = pair();
        drop(peer);
        channel.send(b"message\n").unwrap();
        assert_eq!(channel.send_some(b"abc").unwrap(), 3);
    }
}
