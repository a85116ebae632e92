//! The supervisor's side of [`crate::control`].

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::{Context, Result};
use nix::poll::PollFlags;

use crate::control::{REQUEST_MAX, Reply, Request, SOCKET};
use crate::descriptor::fd_path;
use crate::state::PodDir;

/// Connections at one time. Of more, the oldest that has not asked for anything is closed.
const CONNECTIONS_MAX: usize = 128;
/// How many of them may wait for the pod without asking it for anything.
const WAITERS_MAX: usize = 64;

/// The socket, and who waits.
#[derive(Debug)]
pub(super) struct Server {
    listener: UnixListener,
    connections: Vec<Connection>,
    /// One has asked for the start.
    is_begun: bool,
    /// Is closed to have room for a connection that is to be refused because there is none.
    spare: Option<OwnedFd>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// What has come of the request.
    text: Vec<u8>,
    /// What it waits for; `None` until it has asked.
    request: Option<Request>,
    /// What is not sent yet of its answer.
    answer: Option<Vec<u8>>,
}

impl Server {
    /// Makes the socket in the pod's directory.
    pub(super) fn open(pod: &PodDir) -> Result<Self> {
        // Through the open directory: a socket address has room for 107 bytes only.
        let directory = std::fs::File::open(pod.path()).context("open the pod's directory")?;
        let listener = UnixListener::bind(fd_path(&directory).join(SOCKET))
            .with_context(|| format!("make the socket {}", pod.socket().display()))?;
        listener.set_nonblocking(true).context("make the socket not block")?;
        let spare = listener.as_fd().try_clone_to_owned().context("keep a descriptor for bad times")?;
        Ok(Self { listener, connections: Vec::new(), is_begun: false, spare: Some(spare) })
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let connections = self.connections.iter().map(|connection| {
            let is_answered = connection.answer.is_some();
            let flags = if is_answered { PollFlags::POLLOUT } else { PollFlags::POLLIN };
            (connection.stream.as_fd(), flags)
        });
        std::iter::once((self.listener.as_fd(), PollFlags::POLLIN)).chain(connections)
    }

    /// True from the request for the start on.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Takes new connections and requests; those that are new.
    pub(super) fn receive(&mut self) -> Vec<Request> {
        self.accept();
        let mut requests = Vec::new();
        let mut n_waiters = self.connections.iter().filter(|connection| connection.is_waiter()).count();
        self.connections.retain_mut(|connection| {
            if connection.answer.is_some() {
                return connection.send();
            }
            let is_open = connection.read();
            if let Some(request) = connection.request_read() {
                let is_waiter = request.is_wait();
                let refusal = if is_waiter && n_waiters >= WAITERS_MAX {
                    Some(format!("{WAITERS_MAX} commands wait for it already"))
                } else if request == Request::Start && std::mem::replace(&mut self.is_begun, true) {
                    Some("it was started already, and can be only once".to_owned())
                } else {
                    None
                };
                if let Some(reason) = refusal {
                    connection.give(&Reply::Refused(reason));
                    return connection.send();
                }
                n_waiters += usize::from(is_waiter);
                requests.push(request.clone());
                connection.request = Some(request);
            }
            is_open && (connection.answer.is_none() || connection.send())
        });
        requests
    }

    /// Takes all connections that wait: one that is left would be the next thing that happens, for ever.
    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.connections.extend(Connection::new(stream)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    if self.spare.take().is_none() {
                        return;
                    }
                    let accepted = self.listener.accept();
                    if let Some(connection) = accepted.ok().and_then(|(stream, _)| Connection::new(stream)) {
                        connection
                            .refuse("its supervisor has too many open files (RLIMIT_NOFILE); try again");
                    }
                    self.spare = self.listener.as_fd().try_clone_to_owned().ok();
                }
                // None is left; or one has gone, and the next call comes to the one after it.
                Err(_) => return,
            }
            if self.connections.len() > CONNECTIONS_MAX {
                let silent = self.connections.iter().position(|connection| connection.request.is_none());
                let closed = self.connections.remove(silent.unwrap_or(CONNECTIONS_MAX));
                closed.refuse("too many commands ask at once; try again");
            }
        }
    }

    /// Answers those whose request `is_done` has a reply for.
    pub(super) fn answer(&mut self, is_done: impl Fn(&Request) -> Option<Reply>) {
        self.connections.retain_mut(|connection| {
            let reply =
                connection.request.as_ref().filter(|_| connection.answer.is_none()).and_then(&is_done);
            let Some(reply) = reply else { return true };
            connection.give(&reply);
            connection.send()
        });
    }

    /// True when no answer is left to send.
    pub(super) fn is_idle(&self) -> bool {
        self.connections.iter().all(|connection| connection.answer.is_none())
    }
}

impl Connection {
    fn new(stream: UnixStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        Some(Self { stream, text: Vec::new(), request: None, answer: None })
    }

    /// Says why, and closes.
    fn refuse(mut self, reason: &str) {
        // What is left unread would be an error for the other side.
        self.read();
        self.give(&Reply::Refused(reason.to_owned()));
        self.send();
    }

    fn is_waiter(&self) -> bool {
        self.request.as_ref().is_some_and(Request::is_wait)
    }

    /// Reads what has come; false when the connection is over.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Gone; what it has asked for stays asked for.
                Err(_) | Ok(0) => return false,
                Ok(n) => self.text.extend(&bytes[..n]),
            }
            if self.text.len() > REQUEST_MAX {
                self.give(&Reply::Refused(format!("a request has at most {REQUEST_MAX} bytes")));
                return true;
            }
        }
    }

    /// The request, once all of it has come.
    fn request_read(&mut self) -> Option<Request> {
        if self.request.is_some() || self.answer.is_some() || !self.text.ends_with(b"\n") {
            return None;
        }
        let request = serde_json::from_slice(&self.text);
        request.map_err(|error| self.give(&Reply::Refused(format!("not a request: {error}")))).ok()
    }

    fn give(&mut self, reply: &Reply) {
        let mut text = serde_json::to_vec(reply).unwrap_or_default();
        text.push(b'\n');
        self.answer = Some(text);
    }

    /// Sends what the socket has room for; false when nothing is left to send, or nobody wants it.
    fn send(&mut self) -> bool {
        let Some(answer) = &mut self.answer else { return true };
        while !answer.is_empty() {
            match self.stream.write(answer) {
                Ok(n) => drop(answer.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        false
    }
}
