//! Messages between the runtime and the container's process: one datagram each, of fixed form.
//!
//! | kind | number | errno | text |
//! |---|---|---|---|
//! | `Go` | | | |
//! | `Cloned` | pid | | |
//! | `Failed` | index of the step | errno | detail |
//! | `Ready` | | | |
//! | `Committed` | | | |

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Runtime to init: begin.
    Go,
    /// Joiner to runtime: this is init, in the runtime's pid namespace.
    Cloned(i32),
    /// Joiner or init to runtime: this step failed.
    Failed {
        /// Index in the plan.
        step: usize,
        /// Why.
        errno: Errno,
        /// What exactly.
        detail: String,
    },
    /// Init to runtime: everything is prepared.
    Ready,
    /// Runtime to init: the state is written; wait for `start`.
    Committed,
}

/// Longest text that is sent; the rest is cut.
const TEXT_MAX: usize = 2048;
const HEADER: usize = 12;

impl Message {
    fn encode(&self) -> Vec<u8> {
        let (kind, number, errno, text): (i32, i32, i32, &str) = match self {
            Self::Go => (1, 0, 0, ""),
            Self::Cloned(pid) => (2, *pid, 0, ""),
            Self::Failed { step, errno, detail } => {
                (3, i32::try_from(*step).unwrap_or(i32::MAX), *errno as i32, detail)
            }
            Self::Ready => (4, 0, 0, ""),
            Self::Committed => (5, 0, 0, ""),
        };
        let mut bytes = Vec::with_capacity(HEADER + text.len());
        for number in [kind, number, errno] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(&text.as_bytes()[..text.len().min(TEXT_MAX)]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |i: usize| {
            bytes.get(i * 4..i * 4 + 4).and_then(|word| word.try_into().ok()).map(i32::from_ne_bytes)
        };
        Some(match word(0)? {
            1 => Self::Go,
            2 => Self::Cloned(word(1)?),
            3 => Self::Failed {
                step: usize::try_from(word(1)?).ok()?,
                errno: Errno::from_raw(word(2)?),
                detail: String::from_utf8_lossy(bytes.get(HEADER..)?).into_owned(),
            },
            4 => Self::Ready,
            5 => Self::Committed,
            _ => return None,
        })
    }
}

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    /// Two connected ends.
    ///
    /// # Errors
    /// The errno of socketpair(2).
    pub fn pair() -> Result<(Self, Self), Errno> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(a), Self(b)))
    }

    /// Has [`Channel::recv`] at this end wait no longer than this, at least a microsecond.
    ///
    /// # Errors
    /// The errno of setsockopt(2).
    pub fn answer_within(&self, limit: Duration) -> Result<(), Errno> {
        let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        setsockopt(self, sockopt::ReceiveTimeout, &TimeVal::new(seconds, limit.subsec_micros().into()))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `EPIPE` when the other process has ended.
    pub fn send(&self, message: &Message) -> Result<(), Errno> {
        send(self.0.as_raw_fd(), &message.encode(), MsgFlags::MSG_NOSIGNAL).map(drop)
    }

    /// Waits for a message; `None` when the other end is closed.
    ///
    /// # Errors
    /// `EBADMSG` for what is no message, `EAGAIN` when it waited too long, else the errno of recv(2).
    pub fn recv(&self) -> Result<Option<Message>, Errno> {
        self.recv_with(MsgFlags::empty())
    }

    /// Takes a message that is there already; `None` when there is none.
    ///
    /// # Errors
    /// As [`Channel::recv`].
    pub fn try_recv(&self) -> Result<Option<Message>, Errno> {
        match self.recv_with(MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => Ok(None),
            result => result,
        }
    }

    fn recv_with(&self, flags: MsgFlags) -> Result<Option<Message>, Errno> {
        let mut bytes = [0; HEADER + TEXT_MAX];
        match recv(self.0.as_raw_fd(), &mut bytes, flags)? {
            0 => Ok(None),
            n => Message::decode(&bytes[..n]).map(Some).ok_or(Errno::EBADMSG),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (a, b) = Channel::pair().unwrap();
        let failed = Message::Failed { step: 7, errno: Errno::ENOENT, detail: "x".repeat(TEXT_MAX) };
        for message in [Message::Go, Message::Cloned(42), failed, Message::Ready, Message::Committed] {
            a.send(&message).unwrap();
            assert_eq!(b.recv().unwrap(), Some(message));
        }
        assert_eq!(b.try_recv().unwrap(), None);
        drop(a);
        assert_eq!(b.recv().unwrap(), None);
    }

    #[test]
    fn an_answer_is_not_waited_for_beyond_its_limit() {
        let (a, b) = Channel::pair().unwrap();
        a.answer_within(Duration::from_millis(20)).unwrap();
        let since = Instant::now();
        assert_eq!(a.recv(), Err(Errno::EAGAIN));
        assert!(since.elapsed() >= Duration::from_millis(20));
        b.send(&Message::Ready).unwrap();
        assert_eq!(a.recv().unwrap(), Some(Message::Ready));
    }

    #[test]
    fn nonsense_is_no_message() {
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[9; 40]), None);
    }
}
