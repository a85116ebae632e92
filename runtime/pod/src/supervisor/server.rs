//! The supervisor's side of [`crate::control`].

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::{Context, Result};

use crate::control::{REQUEST_MAX, Reply, Request, SOCKET};
use crate::state::PodDir;

/// Connections at one time; more wait.
const CONNECTIONS_MAX: usize = 64;

/// The socket, and who waits.
#[derive(Debug)]
pub(super) struct Server {
    listener: UnixListener,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// What has come of the request.
    text: Vec<u8>,
    /// What it waits for; `None` until it has asked.
    request: Option<Request>,
}

impl Server {
    /// Makes the socket in the pod's directory.
    pub(super) fn open(pod: &PodDir) -> Result<Self> {
        // Through the open directory: a socket address has room for 107 bytes only.
        let directory = std::fs::File::open(pod.path()).context("open the pod's directory")?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        let listener = UnixListener::bind(path)
            .with_context(|| format!("make the socket {}", pod.socket().display()))?;
        listener.set_nonblocking(true).context("make the socket not block")?;
        Ok(Self { listener, connections: Vec::new() })
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let is_open = self.connections.len() < CONNECTIONS_MAX;
        let listener = is_open.then(|| self.listener.as_fd());
        listener.into_iter().chain(self.connections.iter().map(|connection| connection.stream.as_fd()))
    }

    /// Takes new connections and requests; those that are new.
    pub(super) fn receive(&mut self) -> Vec<Request> {
        while self.connections.len() < CONNECTIONS_MAX {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                self.connections.push(Connection { stream, text: Vec::new(), request: None });
            }
        }
        let mut requests = Vec::new();
        self.connections.retain_mut(|connection| connection.read(&mut requests));
        requests
    }

    /// Answers those whose request `is_done` has a reply for.
    pub(super) fn answer(&mut self, is_done: impl Fn(&Request) -> Option<Reply>) {
        self.connections.retain_mut(|connection| {
            let Some(reply) = connection.request.as_ref().and_then(&is_done) else { return true };
            connection.answer(&reply);
            false
        });
    }
}

impl Connection {
    /// Reads what has come; false when the connection is over.
    fn read(&mut self, requests: &mut Vec<Request>) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Gone; what it has asked for stays asked for.
                Err(_) | Ok(0) => return false,
                Ok(n) => self.text.extend(&bytes[..n]),
            }
            if self.text.len() > REQUEST_MAX {
                self.answer(&Reply::Refused(format!("a request has at most {REQUEST_MAX} bytes")));
                return false;
            }
        }
        if self.request.is_some() || !self.text.ends_with(b"\n") {
            return true;
        }
        match serde_json::from_slice::<Request>(&self.text) {
            Ok(request) => {
                requests.push(request.clone());
                self.request = Some(request);
                true
            }
            Err(error) => {
                self.answer(&Reply::Refused(format!("not a request: {error}")));
                false
            }
        }
    }

    fn answer(&mut self, reply: &Reply) {
        let mut text = serde_json::to_vec(reply).unwrap_or_default();
        text.push(b'\n');
        // Who does not wait for the answer does not want it; it fits into the socket's buffer.
        drop(self.stream.write_all(&text));
    }
}
