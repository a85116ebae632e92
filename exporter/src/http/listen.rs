//! The sockets.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

use crate::cli::Address;

/// An address cannot be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The kernel refuses.
    #[error("cannot listen on {address}")]
    Bind {
        /// As it was asked for.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// It would be open to the network.
    #[error(
        "{0} can be reached from other machines without TLS; name a certificate with --web.config.file, or add --web.insecure-listen"
    )]
    Insecure(Address),
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A socket in the file system, removed with the listener.
    Unix(UnixListener, Removed),
}

/// Removes the file of a socket.
#[derive(Debug)]
pub struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        _ = fs::remove_file(&self.0);
    }
}

/// Listens on an address. A socket file that nobody listens on any more is replaced.
///
/// # Errors
/// When it cannot be listened on, or is not this machine's alone and that was not allowed.
pub async fn bind(address: &Address, allow_insecure: bool) -> Result<Listener, ListenError> {
    if !address.is_local() && !allow_insecure {
        return Err(ListenError::Insecure(address.clone()));
    }
    let failed = |source| ListenError::Bind { address: address.clone(), source };
    match address {
        Address::Tcp(ip, port) => TcpListener::bind((*ip, *port)).await.map(Listener::Tcp).map_err(failed),
        Address::Unix(path) => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
            if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
                fs::remove_file(path).map_err(failed)?;
            }
            let listener = UnixListener::bind(path).map_err(failed)?;
            Ok(Listener::Unix(listener, Removed(path.clone())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_address_has_to_be_allowed() {
        let address: Address = "0.0.0.0:0".parse().unwrap();
        let error = bind(&address, false).await.unwrap_err().to_string();
        assert!(error.starts_with("0.0.0.0:0 can be reached"), "{error}");
        assert!(bind(&address, true).await.is_ok());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address: Address = format!("unix://{}", path.display()).parse().unwrap();
        let listener = bind(&address, false).await.unwrap();
        assert!(matches!(bind(&address, false).await, Err(ListenError::Bind { .. })));
        drop(listener);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert!(bind(&address, false).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }
}
