//! The command's side.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use super::{Reply, Request, SOCKET};
use crate::descriptor::fd_path;
use crate::state::PodDir;
use crate::status::PodStatus;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there, or has gone.
    #[error(
        "pod {name} has no supervisor; its containers may still run: podrt pod rm --force {name} ends them"
    )]
    Unsupervised {
        /// Pod.
        name: String,
    },
    /// It was refused.
    #[error("pod {name}: {reason}")]
    Refused {
        /// Pod.
        name: String,
        /// As the supervisor says.
        reason: String,
    },
    /// A system call, or nonsense as an answer.
    #[error("talk to the supervisor of pod {name}")]
    Io {
        /// Pod.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Sends a request to the supervisor of a pod, and waits for its answer.
///
/// # Errors
/// [`ClientError`].
pub fn call(pod: &PodDir, request: &Request) -> Result<PodStatus, ClientError> {
    let name = || pod.name().to_owned();
    let unsupervised = || ClientError::Unsupervised { name: name() };
    let failed = |source: io::Error| match source.kind() {
        ErrorKind::NotFound
        | ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe => unsupervised(),
        _ => ClientError::Io { name: name(), source },
    };
    let answer = exchange(pod, request).map_err(failed)?;
    if answer.is_empty() {
        return Err(unsupervised());
    }
    match serde_json::from_slice(&answer).map_err(|error| failed(error.into()))? {
        Reply::Status(status) => Ok(status),
        Reply::Refused(reason) => Err(ClientError::Refused { name: name(), reason }),
    }
}

fn exchange(pod: &PodDir, request: &Request) -> io::Result<Vec<u8>> {
    // Through the open directory: a socket address has room for 107 bytes only.
    let directory = File::open(pod.path())?;
    let mut stream = UnixStream::connect(fd_path(&directory).join(SOCKET))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    // A supervisor that refuses a connection answers before it is asked, and closes it.
    let written = stream.write_all(&text);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ if answer.is_empty() => written.map(|()| answer),
        _ => Ok(answer),
    }
}
