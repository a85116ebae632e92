//! Making and removing the interfaces.
//!
//! | step | of the node | in the pod |
//! |---|---|---|
//! | 1 | no address overlaps the subnet | |
//! | 2 | the bridge, up, with mark and hardware address, in one request; then its address and alias | |
//! | 3 | one end of the veth pair, up, with mark and bridge | `eth0` with its hardware address: one request for both |
//! | 4 | | `lo` and `eth0` up; address and default route of `eth0` |
//!
//! Each step looks at what is there first, so the whole can be repeated wherever it was interrupted.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{LinkBridge, LinkUnspec, LinkVeth};

use super::lease::{LeaseDir, Mark};
use super::netlink::{InterfaceAddress, Link, Session, new_runtime};
use super::{Lease, NetError};

/// The interface of a pod, as Kubernetes has it.
pub(crate) const POD_INTERFACE: &str = "eth0";

/// Connects a network namespace to the bridge of its lease. Can be repeated, after a crash too.
///
/// The thread enters the namespace for a moment: no other thread of the process may rely on its own. Needs `CAP_NET_ADMIN` and
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// [`NetError::Overlap`], [`NetError::Foreign`], [`NetError::OtherDirectory`], [`NetError::OtherSubnet`],
/// [`NetError::PodInterface`] when something is in the way; [`NetError::Unsupported`] when the kernel has no bridges or no veth; else the failed operation. What
/// was made by then is removed by [`disconnect`].
pub fn connect(netns: BorrowedFd<'_>, lease: &Lease) -> Result<(), NetError> {
    let runtime = new_runtime()?;
    let node = Session::open(&runtime)?;
    let pod = Session::open_in(&runtime, netns)?;
    let bridge = make_bridge(&node, lease)?;
    let interface = make_veth(&node, &pod, netns, lease, &bridge)?;
    set_up_loopback(&pod)?;
    if !interface.is_up {
        // Not when it is made: the kernel sets up none that has no peer yet.
        let message = LinkUnspec::new_with_index(interface.index).up().build();
        pod.change_link("set up interface", POD_INTERFACE, message)?;
    }
    pod.add_address(&interface, lease.address, lease.prefix())?;
    pod.add_default_route(lease.gateway())?;
    // The kernel lets packets through some time after an interface is up, and an address question that is lost until then is
    // repeated only after a second. To be asked about one interface makes the kernel catch up with it (`linkwatch_sync_dev` in
    // `rtnl_getlink`). The bridge has a carrier by then only when its port has.
    pod.link(POD_INTERFACE)?;
    node.link(&lease.host_interface)?;
    node.link(lease.bridge.name())?;
    Ok(())
}

/// Sets up the loopback interface of a network namespace, for a pod without a network.
///
/// # Errors
/// The failed operation.
pub fn loopback(netns: BorrowedFd<'_>) -> Result<(), NetError> {
    let runtime = new_runtime()?;
    set_up_loopback(&Session::open_in(&runtime, netns)?)
}

fn set_up_loopback(pod: &Session<'_>) -> Result<(), NetError> {
    pod.change_link("set up interface", "lo", LinkUnspec::new_with_name("lo").up().build())
}

/// The hardware address that goes with an address. The next pod with the address has it too, so what neighbours remember stays
/// right; and udev leaves a bridge alone that was made with one. The first byte says: locally administered, unicast.
fn hardware_address(address: Ipv4Addr) -> Vec<u8> {
    [&[0x72, 0x74], address.octets().as_slice()].concat()
}

fn make_bridge(node: &Session<'_>, lease: &Lease) -> Result<Link, NetError> {
    let (name, subnet) = (lease.bridge.name(), lease.bridge.subnet());
    let existing = node.link(name)?;
    if let Some(link) = &existing {
        check_owner(link, lease.mark)?;
    }
    check_addresses(node, lease, existing.as_ref())?;
    let bridge = match existing {
        Some(bridge) => bridge,
        None => {
            let message = LinkBridge::new(name)
                .address(hardware_address(lease.gateway()))
                .link_group(lease.mark.group())
                .up()
                .build();
            match node.add_link("make bridge", name, message) {
                // Another pod was connected in between.
                Err(NetError::Netlink { source, .. }) if source.raw_os_error() == Some(libc::EEXIST) => {}
                result => result?,
            }
            let bridge = node.link(name)?.ok_or_else(|| NetError::Vanished { name: name.to_owned() })?;
            check_owner(&bridge, lease.mark)?;
            bridge
        }
    };
    if !bridge.is_bridge {
        return Err(NetError::Foreign { name: name.to_owned(), what: "is no bridge" });
    }
    if !bridge.is_up {
        let message = LinkUnspec::new_with_index(bridge.index).up().build();
        node.change_link("set up bridge", name, message)?;
    }
    node.add_address(&bridge, lease.gateway(), lease.prefix())?;
    let alias = format!("podrt: pods of {subnet}");
    if bridge.alias.as_deref() != Some(&alias) {
        let message = LinkUnspec::new_with_index(bridge.index).alias(alias).build();
        node.change_link("name bridge", name, message)?;
    }
    Ok(bridge)
}

fn check_owner(link: &Link, mark: Mark) -> Result<(), NetError> {
    let name = link.name.clone();
    if link.group == mark.group() {
        Ok(())
    } else if Mark::is_of_podrt(link.group) {
        Err(NetError::OtherDirectory { name })
    } else {
        Err(NetError::Foreign { name, what: "was not made by podrt" })
    }
}

/// No other interface may have addresses of the subnet, nor the bridge those of another.
fn check_addresses(node: &Session<'_>, lease: &Lease, bridge: Option<&Link>) -> Result<(), NetError> {
    let subnet = lease.bridge.subnet();
    let addresses = node.addresses()?;
    let is_of_bridge = |index| bridge.is_some_and(|bridge| bridge.index == index);
    let (of_bridge, of_others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|found| is_of_bridge(found.index));
    let overlapping: Vec<_> =
        of_others.into_iter().filter(|found| subnet.overlaps(found.address, found.prefix)).collect();
    let links = if overlapping.is_empty() { Vec::new() } else { node.links()? };
    if let Some((found, link)) = overlap(&overlapping, &links, lease.bridge.name()) {
        let (interface, address, prefix) = (link.name.clone(), found.address, found.prefix);
        return Err(NetError::Overlap { bridge: lease.bridge.clone(), interface, address, prefix });
    }
    let is_gateway = |address, prefix| address == lease.gateway() && prefix == lease.prefix();
    match of_bridge.first() {
        Some(first) if !of_bridge.iter().any(|found| is_gateway(found.address, found.prefix)) => {
            Err(NetError::OtherSubnet {
                bridge: lease.bridge.clone(),
                address: first.address,
                prefix: first.prefix,
            })
        }
        _ => Ok(()),
    }
}

/// The first of these addresses that an interface other than the bridge has. Commands of other pods may have made the bridge, or
/// removed it, since the addresses were asked for.
fn overlap<'a>(
    overlapping: &'a [InterfaceAddress],
    links: &'a [Link],
    bridge: &str,
) -> Option<(&'a InterfaceAddress, &'a Link)> {
    let of_other = |found: &'a InterfaceAddress| {
        let link = links.iter().find(|link| link.index == found.index)?;
        (link.name != bridge).then_some((found, link))
    };
    overlapping.iter().find_map(of_other)
}

/// Makes the pair, unless it is there; returns the end in the pod.
fn make_veth(
    node: &Session<'_>,
    pod: &Session<'_>,
    netns: BorrowedFd<'_>,
    lease: &Lease,
    bridge: &Link,
) -> Result<Link, NetError> {
    let name = &lease.host_interface;
    let existing = (node.link(name)?, pod.link(POD_INTERFACE)?);
    if let (Some(host), Some(inner)) = &existing
        && host.group == lease.mark.group()
        && (host.peer, inner.peer) == (Some(inner.index), Some(host.index))
    {
        if host.bridge != Some(bridge.index) || !host.is_up {
            let message = LinkUnspec::new_with_index(host.index).controller(bridge.index).up().build();
            node.change_link("join to the bridge", name, message)?;
        }
        return Ok(inner.clone());
    }
    if existing.1.is_some() {
        return Err(NetError::PodInterface { pod: lease.pod.clone(), name: POD_INTERFACE });
    }
    if let (Some(host), _) = &existing {
        // Its other end is in a namespace that this pod had before, and that something still holds.
        check_owner(host, lease.mark)?;
        node.delete_link(host)?;
    }
    let inner = LinkUnspec::new_with_name(POD_INTERFACE)
        .address(hardware_address(lease.address))
        .setns_by_fd(netns.as_raw_fd())
        .build();
    let message = LinkVeth::new(name, POD_INTERFACE)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
        .link_group(lease.mark.group())
        .controller(bridge.index)
        .up()
        .build();
    node.add_link("make interface", name, message)?;
    pod.link(POD_INTERFACE)?.ok_or_else(|| NetError::Vanished { name: POD_INTERFACE.to_owned() })
}

/// Removes what was made for a pod, then its lease, and with the last lease the bridge. Can be repeated; a pod without a lease
/// is fine. Needs `CAP_NET_ADMIN`.
///
/// # Errors
/// The failed operation; what could not be removed keeps its lease.
pub fn disconnect(dir: &Path, pod: &str) -> Result<(), NetError> {
    disconnect_if(dir, pod, || true).map(drop)
}

/// The same, if that is still right once nobody can take a lease or give one back; true when it was. A lease that a new pod of the
/// name has taken meanwhile is that pod's.
///
/// # Errors
/// As [`disconnect`].
pub fn disconnect_if(dir: &Path, pod: &str, is_right: impl FnOnce() -> bool) -> Result<bool, NetError> {
    let Some(leases) = LeaseDir::lock_existing(dir)?.filter(|_| is_right()) else { return Ok(false) };
    let runtime = new_runtime()?;
    let mut is_known = true;
    if let Some(entry) = leases.find(pod)? {
        match leases.read(&entry) {
            Ok(lease) => {
                let node = Session::open(&runtime)?;
                let link = node.link(&lease.host_interface)?;
                if let Some(link) = link.filter(|link| link.group == leases.mark().group()) {
                    node.delete_link(&link)?;
                }
            }
            // The interface is found by its mark.
            Err(NetError::Damaged { .. }) => is_known = false,
            Err(error) => return Err(error),
        }
        leases.remove(&entry)?;
    }
    leases.remove_unfinished()?;
    let (_, n_left) = leases.all()?;
    if n_left == 0 || !is_known {
        sweep(&leases, &Session::open(&runtime)?)?;
    }
    Ok(true)
}

/// Removes the interfaces that were made for this directory and that no lease names; returns their names. Needs
/// `CAP_NET_ADMIN`.
///
/// # Errors
/// The failed operation.
pub fn collect(dir: &Path) -> Result<Vec<String>, NetError> {
    let Some(leases) = LeaseDir::lock_existing(dir)? else { return Ok(Vec::new()) };
    let runtime = new_runtime()?;
    leases.remove_unfinished()?;
    sweep(&leases, &Session::open(&runtime)?)
}

fn sweep(leases: &LeaseDir, node: &Session<'_>) -> Result<Vec<String>, NetError> {
    let (named, n_leases) = leases.all()?;
    let is_named = |link: &Link| {
        named.iter().any(|lease| lease.host_interface == link.name || lease.bridge.name() == link.name)
            // A lease that cannot be read may name any bridge.
            || (link.is_bridge && named.len() < n_leases)
    };
    let mut removed = Vec::new();
    for link in node.links()? {
        if link.group == leases.mark().group() && !is_named(&link) {
            node.delete_link(&link)?;
            removed.push(link.name);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_that_was_just_made_or_removed_overlaps_nothing() {
        let link = |index, name: &str| Link { index, name: name.to_owned(), ..Link::default() };
        let address = |index| InterfaceAddress { index, address: Ipv4Addr::new(10, 89, 0, 1), prefix: 16 };
        let links = [link(2, "eth0"), link(3, "podrt0")];
        let found = |index| overlap(&[address(index)], &links, "podrt0").map(|(_, link)| link.name.clone());
        assert_eq!(found(2), Some("eth0".to_owned()));
        assert_eq!(found(3), None);
        assert_eq!(found(4), None);
    }
}
