//! Commands that are killed in the middle, and many at once.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use pod::net::{Bridge, connect, disconnect, lease, leases};

use crate::Case;
use crate::node::{Netns, Outcome, expect, reaches};

pub(crate) const CASES: &[Case] = &[
    ("crash::a_connect_that_is_killed_is_repeated_or_removed", killed),
    ("crash::pods_that_are_connected_at_once_have_addresses_of_their_own", at_once),
];

/// How many moments are tried.
const N_KILLS: u32 = 60;

/// A command: `--connect DIR POD NETNS`, or `--connect DIR POD` to disconnect.
pub(crate) fn connect_as(args: &[String]) -> Outcome {
    let bridge = Bridge::default();
    match args {
        [dir, pod, netns] => {
            let lease = lease(Path::new(dir), pod, &bridge)?;
            Ok(connect(Netns::open(netns)?.as_fd(), &lease)?)
        }
        [dir, pod] => Ok(disconnect(Path::new(dir), pod)?),
        _ => Err("two or three arguments".into()),
    }
}

fn command(dir: &Path, pod: &str, netns: Option<&Netns>) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--connect").arg(dir).arg(pod).stdout(Stdio::piped());
    if let Some(netns) = netns {
        command.arg(format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd()));
    }
    Ok(command.spawn()?)
}

/// Kills a command some time after its start, if it still runs.
fn kill_after(mut child: Child, delay: Duration) -> Outcome {
    let stdout = child.stdout.take().ok_or("no stdout")?;
    // It ends when the process does.
    ppoll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], Some(TimeSpec::from_duration(delay)), None)?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn killed() -> Outcome {
    let (node, dir) = (Netns::current()?, tempfile::tempdir()?);
    let before = node.interfaces()?;
    let netns = Netns::new()?;
    let start = Instant::now();
    expect(command(dir.path(), "a", Some(&netns))?.wait()?.success(), true)?;
    let whole = start.elapsed();
    disconnect(dir.path(), "a")?;
    for n in 0..N_KILLS {
        let delay = whole * n / N_KILLS;
        let netns = Netns::new()?;
        kill_after(command(dir.path(), "a", Some(&netns))?, delay)?;
        if n % 2 == 0 {
            let lease = lease(dir.path(), "a", &Bridge::default())?;
            connect(netns.as_fd(), &lease)?;
            reaches(&node, &netns, lease.address)?;
            kill_after(command(dir.path(), "a", None)?, delay)?;
        }
        disconnect(dir.path(), "a")?;
        expect(&node.interfaces()?, &before).map_err(|error| format!("killed after {delay:?}: {error}"))?;
        expect(std::fs::read_dir(dir.path())?.count(), 0)?;
    }
    Ok(())
}

fn at_once() -> Outcome {
    let (node, dir) = (Netns::current()?, tempfile::tempdir()?);
    let mut pods = Vec::new();
    for n in 0..10 {
        let netns = Netns::new()?;
        let child = command(dir.path(), &format!("pod-{n}"), Some(&netns))?;
        pods.push((netns, child));
    }
    for (_, child) in &mut pods {
        expect(child.wait()?.success(), true)?;
    }
    let leases = leases(dir.path())?;
    expect(leases.len(), 10)?;
    for entry in &leases {
        let n: usize = entry.pod.trim_start_matches("pod-").parse()?;
        reaches(&node, &pods[n].0, entry.address)?;
        reaches(&pods[n].0, &pods[(n + 1) % 10].0, address_of(&leases, (n + 1) % 10)?)?;
    }
    // And away at once.
    let mut children = Vec::new();
    for n in 0..10 {
        children.push(command(dir.path(), &format!("pod-{n}"), None)?);
    }
    for child in &mut children {
        expect(child.wait()?.success(), true)?;
    }
    expect(node.interfaces()?.len(), 1)
}

fn address_of(leases: &[pod::net::LeaseEntry], n: usize) -> Outcome<std::net::Ipv4Addr> {
    let name = format!("pod-{n}");
    Ok(leases.iter().find(|entry| entry.pod == name).ok_or("no lease")?.address)
}
