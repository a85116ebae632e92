//! What the cases need of a node: namespaces, traffic, and requests to the kernel apart from the code under test.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkBridge, LinkUnspec};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What a packet may take on a loaded or emulated machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A network namespace, alive as long as this is.
pub(crate) struct Netns(File);

impl Netns {
    pub(crate) fn current() -> Outcome<Self> {
        Ok(Self(File::open("/proc/thread-self/ns/net")?))
    }

    pub(crate) fn new() -> Outcome<Self> {
        let own = Self::current()?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let new = Self::current();
        setns(&own.0, CloneFlags::CLONE_NEWNET)?;
        new
    }

    /// One that another process holds.
    pub(crate) fn open(path: &str) -> Outcome<Self> {
        Ok(Self(File::open(path)?))
    }

    /// Does something inside.
    pub(crate) fn enter<T>(&self, act: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let own = Self::current()?;
        setns(&self.0, CloneFlags::CLONE_NEWNET)?;
        let result = act();
        setns(&own.0, CloneFlags::CLONE_NEWNET)?;
        result
    }

    /// Names of the interfaces.
    pub(crate) fn interfaces(&self) -> Outcome<BTreeSet<String>> {
        self.enter(|| {
            let text = fs::read_to_string("/proc/thread-self/net/dev")?;
            let names = text.lines().filter_map(|line| line.split_once(':'));
            Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
        })
    }

    /// Sends requests to the kernel.
    pub(crate) fn ask<T, F>(&self, request: impl FnOnce(Handle) -> F) -> Outcome<T>
    where
        F: Future<Output = Result<T, rtnetlink::Error>>,
    {
        self.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let _inside = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection()?;
            drop(runtime.spawn(connection));
            Ok(runtime.block_on(request(handle))?)
        })
    }

    pub(crate) fn link(&self, name: &str) -> Outcome<LinkMessage> {
        let found = self.ask(|handle| async move {
            std::pin::pin!(handle.link().get().match_name(name).execute()).try_next().await
        })?;
        found.ok_or_else(|| format!("no interface {name}").into())
    }

    pub(crate) fn change(&self, message: LinkMessage) -> Outcome {
        self.ask(|handle| async move { handle.link().change(message).execute().await })
    }

    pub(crate) fn delete(&self, name: &str) -> Outcome {
        let index = self.link(name)?.header.index;
        self.ask(|handle| async move { handle.link().del(index).execute().await })
    }

    pub(crate) fn set_down(&self, name: &str) -> Outcome {
        self.change(LinkUnspec::new_with_name(name).down().build())
    }

    /// A bridge as anybody would make it, with an address.
    pub(crate) fn make_bridge(&self, name: &str, address: [u8; 4], prefix: u8) -> Outcome {
        self.ask(|handle| async move { handle.link().add(LinkBridge::new(name).build()).execute().await })?;
        self.add_address(name, address, prefix)
    }

    pub(crate) fn add_address(&self, name: &str, address: [u8; 4], prefix: u8) -> Outcome {
        let index = self.link(name)?.header.index;
        let address = IpAddr::from(address);
        self.ask(|handle| async move { handle.address().add(index, address, prefix).execute().await })
    }

    /// Takes all IPv4 addresses, and the routes by them, from an interface.
    pub(crate) fn flush(&self, name: &str) -> Outcome {
        let index = self.link(name)?.header.index;
        self.ask(|handle| async move {
            let addresses: Vec<_> =
                handle.address().get().set_link_index_filter(index).execute().try_collect().await?;
            for address in addresses {
                if address.header.family == rtnetlink::packet_route::AddressFamily::Inet {
                    handle.address().del(address).execute().await?;
                }
            }
            Ok(())
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends by TCP and by UDP from one namespace to an address of another, and back.
pub(crate) fn reaches(from: &Netns, to: &Netns, address: Ipv4Addr) -> Outcome {
    let any = SocketAddr::from((address, 0));
    let listener = to.enter(|| Ok(TcpListener::bind(any)?))?;
    let target = listener.local_addr()?;
    let mut client = from
        .enter(|| Ok(TcpStream::connect_timeout(&target, DEADLINE)?))
        .map_err(|error| format!("connect to {target}: {error}"))?;
    let (mut server, _) = listener.accept()?;
    let mut buffer = [0; 4];
    client.write_all(b"ping")?;
    server.set_read_timeout(Some(DEADLINE))?;
    server.read_exact(&mut buffer)?;
    server.write_all(b"pong")?;
    client.set_read_timeout(Some(DEADLINE))?;
    client.read_exact(&mut buffer)?;
    expect(&buffer, b"pong")?;

    let server = to.enter(|| Ok(UdpSocket::bind(any)?))?;
    let client = from.enter(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    server.set_read_timeout(Some(DEADLINE))?;
    client.send_to(b"ping", server.local_addr()?)?;
    let (n, _) = server.recv_from(&mut buffer)?;
    expect(&buffer[..n], b"ping")
}

/// Fails unless two values are the same.
pub(crate) fn expect<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(
    found: A,
    expected: B,
) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{found:?} in place of {expected:?}").into()) }
}

/// Fails unless an error is as expected; returns its text.
pub(crate) fn expect_error<T, E: Error>(
    result: Result<T, E>,
    is_expected: impl Fn(&E) -> bool,
) -> Outcome<String> {
    match result {
        Ok(_) => Err("no error".into()),
        Err(error) if is_expected(&error) => Ok(error.to_string()),
        Err(error) => Err(format!("another error: {error} ({:?})", error.source()).into()),
    }
}
