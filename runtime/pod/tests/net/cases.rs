//! What is made, what is refused, and what is left.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use pod::net::{Bridge, Lease, NetError, collect, connect, disconnect, lease, leases, loopback};
use rtnetlink::LinkUnspec;

use crate::Case;
use crate::node::{Netns, Outcome, expect, expect_error, reaches};

pub(crate) const CASES: &[Case] = &[
    ("net::pods_reach_each_other_and_the_node", reach),
    ("net::a_pod_without_a_network_has_loopback", only_loopback),
    ("net::connecting_can_be_repeated_whatever_is_missing", repeat),
    ("net::a_new_namespace_of_the_pod_takes_over", take_over),
    ("net::nothing_is_left_after_the_last_pod", nothing_left),
    ("net::what_died_with_its_namespace_is_no_error", namespace_gone),
    ("net::interfaces_of_others_are_refused_and_kept", foreign),
    ("net::a_bridge_of_another_directory_is_refused", other_directory),
    ("net::subnets_that_overlap_are_refused", overlap),
    ("net::remainders_without_a_lease_are_collected", remainders),
    ("net::an_address_that_is_used_again_is_reached_at_once", address_again),
];

/// Connects a new namespace.
fn pod(dir: &Path, name: &str, bridge: &Bridge) -> Outcome<(Netns, Lease)> {
    let netns = Netns::new()?;
    let lease = lease(dir, name, bridge)?;
    connect(netns.as_fd(), &lease)?;
    Ok((netns, lease))
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn reach() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    let (a, lease_a) = pod(dir.path(), "a", &bridge)?;
    let (b, lease_b) = pod(dir.path(), "b", &bridge)?;
    expect(lease_a.address, Ipv4Addr::new(10, 89, 0, 2))?;
    expect(lease_b.address, Ipv4Addr::new(10, 89, 0, 3))?;
    reaches(&a, &b, lease_b.address)?;
    reaches(&b, &a, lease_a.address)?;
    reaches(&a, &node, bridge.gateway())?;
    reaches(&node, &a, lease_a.address)?;
    reaches(&a, &a, Ipv4Addr::LOCALHOST)?;
    reaches(&a, &a, lease_a.address)?;
    // By the default route: another address of the node.
    node.make_bridge("other", [192, 168, 9, 1], 24)?;
    reaches(&b, &node, Ipv4Addr::new(192, 168, 9, 1))?;
    expect(a.interfaces()?, names(&["lo", "eth0"]))?;
    expect(node.interfaces()?, names(&["lo", "other", "podrt0", "podrt0a590002", "podrt0a590003"]))
}

fn only_loopback() -> Outcome {
    let netns = Netns::new()?;
    loopback(netns.as_fd())?;
    loopback(netns.as_fd())?;
    expect(netns.interfaces()?, names(&["lo"]))?;
    reaches(&netns, &netns, Ipv4Addr::LOCALHOST)?;
    let elsewhere = SocketAddr::from(([10, 89, 0, 1], 1));
    let error = netns.enter(|| Ok(TcpStream::connect_timeout(&elsewhere, Duration::from_secs(1)).err()))?;
    expect(error.and_then(|error| error.raw_os_error()), Some(libc::ENETUNREACH))
}

fn repeat() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    let (peer, peer_lease) = pod(dir.path(), "peer", &bridge)?;
    let (netns, lease) = pod(dir.path(), "pod", &bridge)?;
    let host = &lease.host_interface;
    let missing: [(&str, &dyn Fn() -> Outcome); 12] = [
        ("nothing", &|| Ok(())),
        ("the pair", &|| node.delete(host)),
        ("the pair, from inside", &|| netns.delete("eth0")),
        ("the pod's address", &|| netns.flush("eth0")),
        ("the pod's interface is down", &|| netns.set_down("eth0")),
        ("the node's interface is down", &|| node.set_down(host)),
        ("the bridge is not joined", &|| node.change(LinkUnspec::new_with_name(host).nocontroller().build())),
        ("the bridge's address", &|| node.flush("podrt0")),
        ("the bridge is down", &|| node.set_down("podrt0")),
        ("the bridge's alias", &|| node.change(LinkUnspec::new_with_name("podrt0").alias("").build())),
        ("loopback is down", &|| netns.set_down("lo")),
        ("the bridge", &|| node.delete("podrt0")),
    ];
    for (what, remove) in missing {
        let run = || -> Outcome {
            remove()?;
            connect(netns.as_fd(), &lease)?;
            // A bridge that is new has lost all others.
            connect(peer.as_fd(), &peer_lease)?;
            reaches(&netns, &peer, peer_lease.address)?;
            reaches(&peer, &netns, lease.address)?;
            reaches(&netns, &node, bridge.gateway())?;
            reaches(&netns, &netns, Ipv4Addr::LOCALHOST)
        };
        run().map_err(|error| format!("{what}: {error}"))?;
    }
    disconnect(dir.path(), "pod")?;
    disconnect(dir.path(), "peer")?;
    expect(node.interfaces()?, names(&["lo"]))
}

fn take_over() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    let (old, lease) = pod(dir.path(), "pod", &bridge)?;
    let new = Netns::new()?;
    connect(new.as_fd(), &lease)?;
    expect(old.interfaces()?, names(&["lo"]))?;
    reaches(&node, &new, lease.address)?;
    // Whose eth0 leads elsewhere is not connected to two.
    let (other, _) = pod(dir.path(), "other", &bridge)?;
    expect_error(connect(other.as_fd(), &lease), |error| matches!(error, NetError::PodInterface { .. }))
        .map(drop)
}

fn nothing_left() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    disconnect(&dir.path().join("none"), "a")?;
    let (a, _) = pod(dir.path(), "a", &bridge)?;
    let (b, lease_b) = pod(dir.path(), "b", &bridge)?;
    disconnect(dir.path(), "a")?;
    expect(a.interfaces()?, names(&["lo"]))?;
    reaches(&node, &b, lease_b.address)?;
    disconnect(dir.path(), "a")?;
    expect(node.interfaces()?, names(&["lo", "podrt0", &lease_b.host_interface]))?;
    disconnect(dir.path(), "b")?;
    disconnect(dir.path(), "b")?;
    expect(node.interfaces()?, names(&["lo"]))?;
    expect(leases(dir.path())?.len(), 0)?;
    expect(fs::read_dir(dir.path())?.count(), 0)
}

fn namespace_gone() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    let (netns, lease) = pod(dir.path(), "a", &bridge)?;
    drop(netns);
    // Whether the kernel has removed the pair by now, or will in a moment.
    let netns = Netns::new()?;
    connect(netns.as_fd(), &lease)?;
    reaches(&node, &netns, lease.address)?;
    drop(netns);
    disconnect(dir.path(), "a")?;
    expect(node.interfaces()?, names(&["lo"]))
}

fn foreign() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    let refused = |what: &str| -> Outcome {
        let netns = Netns::new()?;
        let lease = lease(dir.path(), "a", &bridge)?;
        let text =
            expect_error(connect(netns.as_fd(), &lease), |error| matches!(error, NetError::Foreign { .. }))?;
        expect(text.contains(what), true)?;
        Ok(disconnect(dir.path(), "a")?)
    };
    // The bridge's name is taken, even with the right address.
    node.make_bridge("podrt0", [10, 89, 0, 1], 16)?;
    refused("interface podrt0")?;
    expect(node.interfaces()?, names(&["lo", "podrt0"]))?;
    node.delete("podrt0")?;
    // The name of the pod's interface is.
    node.make_bridge("podrt0a590002", [192, 168, 9, 1], 24)?;
    refused("interface podrt0a590002")?;
    expect(node.interfaces()?, names(&["lo", "podrt0a590002"]))?;
    node.delete("podrt0a590002")?;
    // Something else has the mark: the end of a pod's pair has been given the name of the bridge.
    let (netns, _) = pod(dir.path(), "b", &bridge)?;
    node.delete("podrt0")?;
    node.set_down("podrt0a590002")?;
    let index = node.link("podrt0a590002")?.header.index;
    node.change(LinkUnspec::new_with_index(index).name("podrt0").build())?;
    let lease = lease(dir.path(), "b", &bridge)?;
    let error = connect(netns.as_fd(), &lease);
    let text = expect_error(error, |error| matches!(error, NetError::Foreign { .. }))?;
    expect(text.contains("is no bridge"), true)
}

fn other_directory() -> Outcome {
    let (node, one, two) = (Netns::current()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let bridge = Bridge::default();
    let (_a, _) = pod(one.path(), "a", &bridge)?;
    let netns = Netns::new()?;
    let refused = lease(two.path(), "a", &bridge)?;
    expect_error(connect(netns.as_fd(), &refused), |error| matches!(error, NetError::OtherDirectory { .. }))?;
    disconnect(two.path(), "a")?;
    expect(collect(two.path())?, Vec::<String>::new())?;
    // Two directories side by side.
    let second: Bridge = "podrt1,10.90.0.0/24".parse()?;
    let (b, lease_b) = pod(two.path(), "b", &second)?;
    reaches(&node, &b, lease_b.address)?;
    disconnect(one.path(), "a")?;
    expect(node.interfaces()?, names(&["lo", "podrt1", &lease_b.host_interface]))
}

fn overlap() -> Outcome {
    let (node, dir) = (Netns::current()?, tempfile::tempdir()?);
    let refused = |bridge: &str, what: &str| -> Outcome {
        let netns = Netns::new()?;
        let lease = lease(dir.path(), "a", &bridge.parse()?)?;
        let text = expect_error(connect(netns.as_fd(), &lease), |error| {
            matches!(error, NetError::Overlap { .. } | NetError::OtherSubnet { .. })
        })?;
        if !text.contains(what) {
            return Err(format!("{text:?} does not name {what}").into());
        }
        Ok(disconnect(dir.path(), "a")?)
    };
    node.make_bridge("lan", [10, 20, 30, 40], 24)?;
    refused("podrt0,10.0.0.0/8", "10.20.30.40/24 of interface lan")?;
    refused("podrt0,10.20.30.128/25", "10.20.30.40/24 of interface lan")?;
    expect(node.interfaces()?, names(&["lan", "lo"]))?;
    let (_a, _) = pod(dir.path(), "first", &"podrt0,10.20.31.0/24".parse()?)?;
    refused("podrt1,10.20.31.0/25", "10.20.31.1/24 of interface podrt0")?;
    refused("podrt0,10.21.0.0/24", "podrt0 has 10.20.31.1/24")?;
    // What comes later is found by the next pod.
    node.add_address("lan", [10, 20, 31, 9], 32)?;
    refused("podrt0,10.20.31.0/24", "10.20.31.9/32 of interface lan")
}

fn remainders() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    let (_a, lease_a) = pod(dir.path(), "a", &bridge)?;
    let (_b, lease_b) = pod(dir.path(), "b", &bridge)?;
    let (_c, lease_c) = pod(dir.path(), "c", &bridge)?;
    expect(collect(dir.path())?, Vec::<String>::new())?;
    let file = |lease: &Lease| dir.path().join(format!("{}@{}", lease.pod, lease.address));
    // A lost lease and a damaged one.
    fs::remove_file(file(&lease_a))?;
    fs::write(file(&lease_b), "{")?;
    fs::write(dir.path().join(".new"), "{")?;
    let removed: BTreeSet<String> = collect(dir.path())?.into_iter().collect();
    expect(removed, names(&[&lease_a.host_interface, &lease_b.host_interface]))?;
    expect(leases(dir.path())?.len(), 2)?;
    disconnect(dir.path(), "c")?;
    expect(node.interfaces()?, names(&["lo", "podrt0"]))?;
    disconnect(dir.path(), "b")?;
    expect(node.interfaces()?, names(&["lo"]))?;
    expect(fs::read_dir(dir.path())?.count(), 0)?;
    // A damaged lease whose pair is still there.
    let (_c, _) = pod(dir.path(), "c", &bridge)?;
    fs::write(dir.path().join("c@10.89.0.2"), "")?;
    disconnect(dir.path(), &lease_c.pod)?;
    expect(node.interfaces()?, names(&["lo"]))
}

/// How often an address is used again.
const AGAIN: u32 = 4;

fn address_again() -> Outcome {
    let (node, dir, bridge) = (Netns::current()?, tempfile::tempdir()?, Bridge::default());
    let (_keeps_the_bridge, _) = pod(dir.path(), "first", &bridge)?;
    let mut n_slow = 0;
    for n in 0..=AGAIN {
        let (netns, lease) = pod(dir.path(), &format!("pod-{n}"), &bridge)?;
        expect(lease.address, Ipv4Addr::new(10, 89, 0, 3))?;
        let start = Instant::now();
        reaches(&node, &netns, lease.address)?;
        reaches(&netns, &node, bridge.gateway())?;
        // The kernel repeats an address question that was lost after one second. The first pod's address is new.
        n_slow += u32::from(n > 0 && start.elapsed() >= Duration::from_secs(1));
        disconnect(dir.path(), &lease.pod)?;
    }
    // What a stale entry slows down, it slows down each time; a busy machine does so now and then.
    if n_slow < AGAIN { Ok(()) } else { Err(format!("none of {AGAIN} pods was reached at once").into()) }
}
