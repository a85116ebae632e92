//! The suite's side of the witnesses' connections.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, getsockopt, listen, recv,
    send, socket,
};
use podproof_witness::{Command, Hello, MAX_PACKET, Outcome, Reply, Request, SOCKET_NAME};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::interrupt;

/// What went wrong between the suite and a witness.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The listening socket could not be made.
    #[error("{op} {}", path.display())]
    Listen {
        /// Operation.
        op: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// No witness of that name said hello in time.
    #[error("the witness {name} did not say hello within {:.1} s", waited.as_secs_f64())]
    NoHello {
        /// Name of the container.
        name: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The connection failed.
    #[error("{op} on the connection of witness {name}")]
    Connection {
        /// Operation.
        op: &'static str,
        /// Name of the container.
        name: String,
        /// Why.
        source: Errno,
    },
    /// The witness is gone.
    #[error("the witness {name} ended while it was asked to {asked}")]
    Gone {
        /// Name of the container.
        name: String,
        /// The command.
        asked: String,
    },
    /// The witness did not answer in time.
    #[error("the witness {name} did not answer {asked} within {:.1} s", waited.as_secs_f64())]
    Silent {
        /// Name of the container.
        name: String,
        /// The command.
        asked: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The answer could not be understood.
    #[error("the witness {name} answered {asked} with something else: {what}")]
    Nonsense {
        /// Name of the container.
        name: String,
        /// The command.
        asked: String,
        /// What is wrong with it.
        what: String,
    },
    /// A system call inside failed.
    #[error("inside {name}: {op}")]
    Failed {
        /// Name of the container.
        name: String,
        /// Operation and object.
        op: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The socket of a cell, on which its witnesses call.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// Witnesses that called before they were asked for.
    early: Vec<Link>,
}

impl Listener {
    /// Listens in this directory, for callers of any user.
    ///
    /// # Errors
    /// When the socket cannot be made; its path is limited to 107 bytes (unix(7)).
    pub fn new(dir: &Path) -> Result<Self, WitnessError> {
        let path = dir.join(SOCKET_NAME);
        let failed = |op| {
            let path = path.clone();
            move |source| WitnessError::Listen { op, path, source }
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
            .map_err(failed("make the socket"))?;
        let address = UnixAddr::new(&path).map_err(failed("name the socket"))?;
        bind(socket.as_raw_fd(), &address).map_err(failed("bind the socket"))?;
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o777);
        nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            &path,
            mode,
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )
        .map_err(failed("chmod the socket"))?;
        let backlog = Backlog::new(32).map_err(failed("listen on the socket"))?;
        listen(&socket, backlog).map_err(failed("listen on the socket"))?;
        Ok(Self { socket, early: Vec::new() })
    }

    /// Waits for the witness of this name.
    ///
    /// # Errors
    /// When it does not call in time or says something else.
    pub fn hello(&mut self, name: &str, timeout: Duration) -> Result<Link, WitnessError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(found) = self.early.iter().position(|link| link.hello.name == name) {
                return Ok(self.early.swap_remove(found));
            }
            if !readable(&self.socket, deadline) {
                return Err(WitnessError::NoHello { name: name.to_owned(), waited: timeout });
            }
            let connection = |op| {
                let name = name.to_owned();
                move |source| WitnessError::Connection { op, name, source }
            };
            let raw =
                accept4(self.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC).map_err(connection("accept"))?;
            let socket = own(raw);
            let outer_pid = getsockopt(&socket, PeerCredentials).map_err(connection("SO_PEERCRED"))?.pid();
            let packet = receive(&socket, deadline)
                .map_err(connection("recv"))?
                .ok_or_else(|| WitnessError::NoHello { name: name.to_owned(), waited: timeout })?;
            let hello: Hello = serde_json::from_slice(&packet).map_err(|error| WitnessError::Nonsense {
                name: name.to_owned(),
                asked: "hello".to_owned(),
                what: error.to_string(),
            })?;
            self.early.push(Link { socket, hello, outer_pid, next_id: 1 });
        }
    }
}

/// The connection to one witness.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    /// Its first message.
    pub hello: Hello,
    /// Its process id on the node, told by the kernel (`SO_PEERCRED`).
    pub outer_pid: i32,
    next_id: u64,
}

impl Link {
    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// When the witness is gone, silent, or a system call inside failed.
    pub fn ask(&mut self, command: Command, timeout: Duration) -> Result<Value, WitnessError> {
        let asked = describe(&command);
        let id = self.tell(command)?;
        self.answer(id, &asked, timeout)
    }

    /// Waits for the answer to a command that was told; answers to others are passed over.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub fn answer(&mut self, id: u64, asked: &str, timeout: Duration) -> Result<Value, WitnessError> {
        let name = self.hello.name.clone();
        let asked = || asked.to_owned();
        let deadline = Instant::now() + timeout;
        loop {
            let packet = match receive(&self.socket, deadline) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Err(WitnessError::Silent { name, asked: asked(), waited: timeout }),
                Err(Errno::ECONNRESET | Errno::EPIPE) => {
                    return Err(WitnessError::Gone { name, asked: asked() });
                }
                Err(source) => return Err(WitnessError::Connection { op: "recv", name, source }),
            };
            let reply: Reply = serde_json::from_slice(&packet).map_err(|error| WitnessError::Nonsense {
                name: name.clone(),
                asked: asked(),
                what: error.to_string(),
            })?;
            if reply.id != id {
                continue;
            }
            return match reply.outcome {
                Outcome::Done(value) => Ok(value),
                Outcome::Failed { op, errno } => {
                    Err(WitnessError::Failed { name, op, source: std::io::Error::from_raw_os_error(errno) })
                }
            };
        }
    }

    /// The same, with the answer as a typed value.
    ///
    /// # Errors
    /// As [`Link::ask`], and when the answer has another shape.
    pub fn ask_as<T: DeserializeOwned>(
        &mut self,
        command: Command,
        timeout: Duration,
    ) -> Result<T, WitnessError> {
        let asked = describe(&command);
        let value = self.ask(command, timeout)?;
        serde_json::from_value(value).map_err(|error| WitnessError::Nonsense {
            name: self.hello.name.clone(),
            asked,
            what: error.to_string(),
        })
    }

    /// Sends a command and does not wait; its number.
    ///
    /// # Errors
    /// When the witness is gone.
    pub fn tell(&mut self, command: Command) -> Result<u64, WitnessError> {
        let name = self.hello.name.clone();
        let asked = describe(&command);
        let id = self.next_id;
        self.next_id += 1;
        let packet = serde_json::to_vec(&Request { id, command }).map_err(|error| {
            WitnessError::Nonsense { name: name.clone(), asked: asked.clone(), what: error.to_string() }
        })?;
        match send(self.socket.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(id),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(WitnessError::Gone { name, asked }),
            Err(source) => Err(WitnessError::Connection { op: "send", name, source }),
        }
    }

    /// Waits until the witness is gone; `false` when it still is there at the deadline.
    #[must_use]
    pub fn wait_gone(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        matches!(receive(&self.socket, deadline), Err(Errno::ECONNRESET | Errno::EPIPE))
    }
}

/// An error number of a system call inside is a result.
///
/// # Errors
/// Every other error.
pub fn refusable<T>(answer: Result<T, WitnessError>) -> Result<Result<T, i32>, WitnessError> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(WitnessError::Failed { source, .. }) => Ok(Err(source.raw_os_error().unwrap_or(libc::EIO))),
        Err(error) => Err(error),
    }
}

fn describe(command: &Command) -> String {
    serde_json::to_value(command)
        .ok()
        .and_then(|value| value.get("do").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_default()
}

/// One packet; `None` at the deadline, `ECONNRESET` when the other side is gone.
fn receive(socket: &OwnedFd, deadline: Instant) -> Result<Option<Vec<u8>>, Errno> {
    if !readable(socket, deadline) {
        return Ok(None);
    }
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err(Errno::ECONNRESET),
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

fn readable(socket: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX);
        // An interruption is as good as the deadline.
        let mut fds = vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        fds.extend(interrupt::event().map(|event| PollFd::new(event, PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(0) if Instant::now() >= deadline => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return fds.first().and_then(PollFd::any).unwrap_or(false),
            Err(_) => return false,
        }
    }
}

#[expect(unsafe_code, reason = "accept4 of nix returns a bare number")]
fn own(raw: i32) -> OwnedFd {
    // SAFETY: accept4 has just returned this descriptor, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}
