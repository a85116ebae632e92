//! The sockets.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt};
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
    /// It would show more than metrics to the network.
    #[error(
        "--web.enable-debug: {0} can be reached from other machines; listen on the loopback interface or on unix sockets only, or leave the option out"
    )]
    Exposed(Address),
    /// There is none.
    #[error(
        "--web.systemd-socket: systemd hands no socket over; start the socket unit instead of the service"
    )]
    NoSocket,
    /// It is of no use here.
    #[error("--web.systemd-socket: socket {number} of the unit cannot be listened on")]
    Inherited {
        /// From 1 on, in the order of the unit.
        number: usize,
        /// The cause.
        source: io::Error,
    },
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A socket in the file system; one of our own is removed with the listener.
    Unix(UnixListener, Option<Removed>),
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
    check(address, allow_insecure)?;
    let failed = |source| ListenError::Bind { address: address.clone(), source };
    match address {
        Address::Tcp(ip, port) => bind_tcp(*ip, *port).await.map(Listener::Tcp).map_err(failed),
        Address::Unix(path) => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
            if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
                fs::remove_file(path).map_err(failed)?;
            }
            let listener = UnixListener::bind(path).map_err(failed)?;
            Ok(Listener::Unix(listener, Some(Removed(path.clone()))))
        }
    }
}

fn check(address: &Address, allow_insecure: bool) -> Result<(), ListenError> {
    if address.is_local() || allow_insecure { Ok(()) } else { Err(ListenError::Insecure(address.clone())) }
}

async fn bind_tcp(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((ip, port)).await {
        Err(error) if lacks_ipv6(ip, &error) => {
            tracing::warn!("this machine has no IPv6: 0.0.0.0:{port} takes the place of [::]:{port}");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

/// Whether all addresses were asked for, and the kernel has only those of IPv4 (`ipv6.disable=1`).
fn lacks_ipv6(ip: IpAddr, error: &io::Error) -> bool {
    ip == Ipv6Addr::UNSPECIFIED && error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
}

/// Whether all of these are this machine's alone, whatever else is allowed.
///
/// # Errors
/// Names the first one that is not.
pub fn check_local<'a>(mut addresses: impl Iterator<Item = &'a Address>) -> Result<(), ListenError> {
    let exposed = addresses.find(|address| !address.is_local());
    exposed.map_or(Ok(()), |address| Err(ListenError::Exposed(address.clone())))
}

/// The sockets that systemd listens on for this program (sd_listen_fds(3)), each with its own address. To be called before there
/// are other threads, since it takes the variables out of the environment.
///
/// # Errors
/// When there is none, one is no listening stream socket, or is not this machine's alone and that was not allowed.
pub fn inherited(allow_insecure: bool) -> Result<Vec<(Address, Listener)>, ListenError> {
    let mut sockets = ListenFd::from_env();
    let n_sockets = sockets.len();
    if n_sockets == 0 {
        return Err(ListenError::NoSocket);
    }
    let one = |idx| {
        let failed = |source| ListenError::Inherited { number: idx + 1, source };
        let (address, listener) = take(&mut sockets, idx).map_err(failed)?;
        check(&address, allow_insecure)?;
        Ok((address, listener))
    };
    (0..n_sockets).map(one).collect()
}

fn take(sockets: &mut ListenFd, idx: usize) -> io::Result<(Address, Listener)> {
    // A socket of another family stays where it is.
    if let Ok(Some(listener)) = sockets.take_tcp_listener(idx) {
        check_listens(&listener)?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        return Ok((Address::Tcp(at.ip(), at.port()), Listener::Tcp(TcpListener::from_std(listener)?)));
    }
    let listener = sockets.take_unix_listener(idx)?.ok_or(io::ErrorKind::NotFound)?;
    check_listens(&listener)?;
    listener.set_nonblocking(true)?;
    let at = listener.local_addr()?;
    let path = match (at.as_pathname(), at.as_abstract_name()) {
        (Some(path), _) => path.to_owned(),
        (None, name) => {
            // As ss(8) writes a name that is in no file system.
            let name = [b"@", name.unwrap_or_default()].concat();
            PathBuf::from(std::ffi::OsStr::from_bytes(&name))
        }
    };
    Ok((Address::Unix(path), Listener::Unix(UnixListener::from_std(listener)?, None)))
}

/// With `Accept=yes` systemd hands connections over.
fn check_listens(socket: &impl AsFd) -> io::Result<()> {
    let listens = getsockopt(socket, sockopt::AcceptConn)?;
    if listens { Ok(()) } else { Err(io::Error::other("it does not listen; the unit needs Accept=no")) }
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

    #[test]
    fn only_all_addresses_are_those_of_ipv4_too() {
        let lacks = |ip: &str, errno| lacks_ipv6(ip.parse().unwrap(), &io::Error::from_raw_os_error(errno));
        assert!(lacks("::", nix::libc::EAFNOSUPPORT));
        assert!(!lacks("::1", nix::libc::EAFNOSUPPORT) && !lacks("0.0.0.0", nix::libc::EAFNOSUPPORT));
        assert!(!lacks("::", nix::libc::EADDRINUSE));
    }

    #[tokio::test]
    async fn a_port_alone_is_that_of_ipv4_too() {
        let Listener::Tcp(listener) = bind(&":0".parse().unwrap(), true).await.unwrap() else {
            panic!("no TCP socket")
        };
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn debug_pages_are_for_this_machine() {
        let check = |addresses: &[&str]| {
            let addresses: Vec<Address> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            check_local(addresses.iter()).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["127.0.0.1:9478", "[::1]:9478", "unix:///run/p.sock"]), Ok(()));
        let error = check(&["127.0.0.1:9478", ":9478"]).unwrap_err();
        assert!(error.starts_with("--web.enable-debug: [::]:9478 can be reached"), "{error}");
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
