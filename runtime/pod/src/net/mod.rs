//! The network of a pod that has a network namespace of its own, which its sandbox holds.
//!
//! Each pod has a veth pair: one end is `eth0` in its namespace, and ends with it; the other is a port of a bridge of the node.
//! The bridge has the first address of the subnet, and each pod a [`Lease`] of another. So the pods behind one bridge reach
//! each other and the node, and the node reaches them.
//!
//! Nothing is set for the node as a whole: addresses are neither forwarded nor translated, so a pod reaches nothing beyond the
//! node unless its administrator arranges it. IPv4 only. Where the node filters bridged packets (`br_netfilter`, as Docker
//! sets up) its rules hold for pods too.
//!
//! Called by the command, never by the supervisor: entering a namespace and waiting for the kernel happen on the one thread,
//! and what that needs is gone when the function returns. Reference: rtnetlink(7), veth(4), network_namespaces(7).

mod bridge;
mod connect;
mod lease;
mod netlink;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

pub use bridge::{Bridge, BridgeError, Subnet};
pub(crate) use connect::POD_INTERFACE;
pub use connect::{collect, connect, disconnect, disconnect_if, loopback};
pub use lease::{Lease, LeaseEntry, Mark, find, lease, leases};

/// A network that could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A file operation.
    #[error("{op} {}", path.display())]
    File {
        /// Operation.
        op: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The name of a pod cannot be that of a file.
    #[error(
        "pod name {pod:?} cannot name a lease: it must be 1 to 253 letters, digits, '.', '_' or '-', and not begin with '.'"
    )]
    PodName {
        /// What was given.
        pod: String,
    },
    /// A lease cannot be understood.
    #[error("lease {} is damaged ({reason}); podrt pod rm --force removes the pod with it", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// All addresses are taken.
    #[error(
        "no address is free in {} of bridge {}, which has room for {} pods; remove pods, or choose a larger subnet with another \
         bridge", bridge.subnet(), bridge.name(), bridge.subnet().capacity()
    )]
    Exhausted {
        /// Bridge.
        bridge: Bridge,
    },
    /// The pod has an address of another bridge.
    #[error(
        "pod {pod} is connected to {has} already, so it cannot be connected to {wanted}; remove it first"
    )]
    OtherBridge {
        /// Pod.
        pod: String,
        /// The bridge that it has.
        has: Bridge,
        /// The bridge that was asked for.
        wanted: Bridge,
    },
    /// An address of the node is in the way.
    #[error(
        "the subnet {} of bridge {} overlaps {address}/{prefix} of interface {interface}; choose another subnet \
         (NAME,SUBNET)", bridge.subnet(), bridge.name()
    )]
    Overlap {
        /// Bridge that was asked for.
        bridge: Bridge,
        /// Interface with the address.
        interface: String,
        /// Address.
        address: Ipv4Addr,
        /// Length of its prefix.
        prefix: u8,
    },
    /// The bridge has other addresses.
    #[error(
        "bridge {} has {address}/{prefix}, so it cannot serve {}; choose a bridge of another name (NAME,SUBNET)",
        bridge.name(), bridge.subnet()
    )]
    OtherSubnet {
        /// Bridge that was asked for.
        bridge: Bridge,
        /// Address that it has.
        address: Ipv4Addr,
        /// Length of its prefix.
        prefix: u8,
    },
    /// An interface of the name belongs to others.
    #[error(
        "interface {name} {what}; choose a bridge of another name (NAME,SUBNET), or remove the interface"
    )]
    Foreign {
        /// Interface.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An interface of the name belongs to podrt with another state directory.
    #[error(
        "interface {name} belongs to pods of another state directory; choose a bridge of another name and subnet \
         (NAME,SUBNET), or remove it (ip link delete {name}) if those pods are gone"
    )]
    OtherDirectory {
        /// Interface.
        name: String,
    },
    /// The namespace of the pod has such an interface already.
    #[error("pod {pod} has an interface {name} that leads elsewhere; remove the pod, and run it again")]
    PodInterface {
        /// Pod.
        pod: String,
        /// Interface.
        name: &'static str,
    },
    /// An interface was removed by somebody while it was needed.
    #[error("interface {name} was removed while the pod was being connected; try again")]
    Vanished {
        /// Interface.
        name: String,
    },
    /// The kernel has no such interfaces.
    #[error(
        "{op} {object}: this kernel has none of that kind (modules bridge and veth); load them, or write spec.hostNetwork: true, or choose --network none"
    )]
    Unsupported {
        /// Operation.
        op: &'static str,
        /// Interface.
        object: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A network namespace could not be entered or left.
    #[error("{op}")]
    Namespace {
        /// Operation.
        op: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No netlink socket.
    #[error("open a netlink socket")]
    Socket {
        /// Why.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("{op} {object}")]
    Netlink {
        /// Operation.
        op: &'static str,
        /// What it was for.
        object: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel's answer was not understood.
    #[error("{op} {object}")]
    Protocol {
        /// Operation.
        op: &'static str,
        /// What it was for.
        object: String,
        /// What the library says.
        source: Box<rtnetlink::Error>,
    },
    /// The kernel gave no answer that was understood.
    #[error("{op} {object}: no answer from the kernel")]
    NoAnswer {
        /// Operation.
        op: &'static str,
        /// What it was for.
        object: String,
    },
}

impl NetError {
    fn file(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { op, path, source }
    }
}
