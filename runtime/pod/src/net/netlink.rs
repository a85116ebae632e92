//! Requests to the kernel (rtnetlink(7)), one after the other on the caller's thread.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::runtime::{Builder, Runtime};

use super::NetError;

/// A request takes microseconds. Without an end, an answer that the library cannot read would be waited for for ever.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the requests run on: one thread, gone with the value.
pub(super) fn new_runtime() -> Result<Runtime, NetError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| NetError::Socket { source })
}

/// A netlink socket in one network namespace.
#[derive(Debug)]
pub(super) struct Session<'a> {
    runtime: &'a Runtime,
    handle: Handle,
}

impl<'a> Session<'a> {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn open(runtime: &'a Runtime) -> Result<Self, NetError> {
        let _inside = runtime.enter();
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|source| NetError::Socket { source })?;
        drop(runtime.spawn(connection));
        Ok(Self { runtime, handle })
    }

    /// Opens a socket in another network namespace: a socket stays in the one where it was made, so this thread enters that
    /// for the moment only. The process must have no other thread that relies on the namespace.
    pub(super) fn open_in(runtime: &'a Runtime, netns: BorrowedFd<'_>) -> Result<Self, NetError> {
        let failed = |op| move |errno: Errno| NetError::Namespace { op, source: errno.into() };
        let own = open("/proc/thread-self/ns/net", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(failed("open the network namespace of this thread"))?;
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(failed("enter the network namespace of the pod"))?;
        let session = Self::open(runtime);
        setns(own, CloneFlags::CLONE_NEWNET)
            .map_err(failed("return to the network namespace of the node"))?;
        session
    }

    /// Waits for the answer to a request.
    fn run<T>(
        &self,
        op: &'static str,
        object: &str,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, NetError> {
        let object = || object.to_owned();
        let answer = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, request).await });
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(rtnetlink::Error::NetlinkError(error))) => {
                Err(NetError::Netlink { op, object: object(), source: error.to_io() })
            }
            Ok(Err(source)) => Err(NetError::Protocol { op, object: object(), source: Box::new(source) }),
            Err(_elapsed) => Err(NetError::NoAnswer { op, object: object() }),
        }
    }

    /// An interface by its name.
    pub(super) fn link(&self, name: &str) -> Result<Option<Link>, NetError> {
        let links = self.handle.link().get().match_name(name).execute();
        let first = async { std::pin::pin!(links).try_next().await };
        match self.run("look up interface", name, first) {
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            result => Ok(result?.map(Link::from)),
        }
    }

    /// All interfaces of the namespace.
    pub(super) fn links(&self) -> Result<Vec<Link>, NetError> {
        let links = self.handle.link().get().execute().map_ok(Link::from);
        self.run("list interfaces", "of the namespace", links.try_collect())
    }

    /// All IPv4 addresses of the namespace.
    pub(super) fn addresses(&self) -> Result<Vec<InterfaceAddress>, NetError> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        let messages: Vec<_> =
            self.run("list addresses", "of the namespace", request.execute().try_collect())?;
        let mut addresses = Vec::new();
        for message in messages {
            let (index, prefix) = (message.header.index, message.header.prefix_len);
            // With a peer (point to point) the prefix belongs to the peer's address, and the local one is one more.
            let mut of_message: Vec<Ipv4Addr> = Vec::new();
            for attribute in &message.attributes {
                if let AddressAttribute::Address(IpAddr::V4(address))
                | AddressAttribute::Local(IpAddr::V4(address)) = attribute
                    && !of_message.contains(address)
                {
                    of_message.push(*address);
                }
            }
            addresses.extend(of_message.into_iter().map(|address| InterfaceAddress {
                index,
                address,
                prefix,
            }));
        }
        Ok(addresses)
    }

    /// Makes an interface, or a pair of them; `EEXIST` when there is one of the name.
    pub(super) fn add_link(
        &self,
        op: &'static str,
        object: &str,
        message: LinkMessage,
    ) -> Result<(), NetError> {
        match self.run(op, object, self.handle.link().add(message).execute()) {
            Err(NetError::Netlink { op, object, source })
                if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
            {
                Err(NetError::Unsupported { op, object, source })
            }
            result => result,
        }
    }

    /// Changes an interface.
    pub(super) fn change_link(
        &self,
        op: &'static str,
        object: &str,
        message: LinkMessage,
    ) -> Result<(), NetError> {
        self.run(op, object, self.handle.link().change(message).execute())
    }

    /// Removes an interface; it may be gone already.
    pub(super) fn delete_link(&self, link: &Link) -> Result<(), NetError> {
        match self.run("remove interface", &link.name, self.handle.link().del(link.index).execute()) {
            Err(error) if error.is(Errno::ENODEV) => Ok(()),
            result => result,
        }
    }

    /// Gives an interface an address; it may have it already.
    pub(super) fn add_address(&self, link: &Link, address: Ipv4Addr, prefix: u8) -> Result<(), NetError> {
        let object = format!("{address}/{prefix} to {}", link.name);
        let request = self.handle.address().add(link.index, address.into(), prefix);
        existing_is_fine(self.run("give address", &object, request.execute()))
    }

    /// Sends what is for elsewhere to a gateway; that may be so already.
    pub(super) fn add_default_route(&self, gateway: Ipv4Addr) -> Result<(), NetError> {
        let message = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        let request = self.handle.route().add(message);
        existing_is_fine(self.run("add default route by", &gateway.to_string(), request.execute()))
    }
}

fn existing_is_fine(result: Result<(), NetError>) -> Result<(), NetError> {
    match result {
        Err(error) if error.is(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// An IPv4 address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterfaceAddress {
    /// Of the interface.
    pub(super) index: u32,
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
}

/// What is of interest of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) is_up: bool,
    pub(super) is_bridge: bool,
    /// The interface group, 0 by default.
    pub(super) group: u32,
    /// Index of the bridge that it is a port of.
    pub(super) bridge: Option<u32>,
    /// Index, in its namespace, of the other end of a veth pair.
    pub(super) peer: Option<u32>,
    pub(super) alias: Option<String>,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            is_up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::Controller(index) => link.bridge = Some(index),
                LinkAttribute::Link(index) => link.peer = Some(index),
                LinkAttribute::LinkInfo(parts) => {
                    link.is_bridge = parts.contains(&LinkInfo::Kind(InfoKind::Bridge));
                }
                _ => {}
            }
        }
        link
    }
}

impl NetError {
    /// True when the kernel refused with this errno.
    fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Netlink { source, .. } if source.raw_os_error() == Some(errno as i32))
    }
}
