//! Virtio-serial ports by name: `/dev/virtio-ports/NAME` links to the device that sysfs gives that name.
//!
//! The kernel adds ports and their names some time after the driver is loaded, and announces each by a
//! uevent (netlink(7), `NETLINK_KOBJECT_UEVENT`). Subscribing before the driver is loaded, and looking at sysfs
//! after each event, misses none.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use vm_init::PORTS_DIR;

use crate::step::{Failure, Step};

const CLASS: &str = "/sys/class/virtio-ports";

/// The host's own deadline for hello is the one that counts; this one is there to say which port is missing.
const DEADLINE: Duration = Duration::from_secs(20);

/// Group 1 carries the kernel's own events.
const KERNEL_EVENTS: u32 = 1;

pub(crate) struct Uevents(OwnedFd);

impl Uevents {
    pub(crate) fn subscribe() -> Result<Self, Failure> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd =
            socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)
                .step("open", "uevent socket")?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_EVENTS)).step("bind", "uevent socket")?;
        Ok(Self(fd))
    }

    /// Waits for the next event and forgets everything that has arrived; `false` when the time is over.
    fn wait(&self, left: Duration) -> Result<bool, Failure> {
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let n_ready = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout)
            .step("poll", "uevent socket")?;
        let mut event = [0; 4096];
        while recv(self.0.as_raw_fd(), &mut event, MsgFlags::MSG_DONTWAIT).is_ok() {}
        Ok(n_ready > 0)
    }
}

/// Makes the links, waiting until every wanted name is there.
pub(crate) fn link(wanted: &[String], uevents: &Uevents) -> Result<(), Failure> {
    let deadline = Instant::now() + DEADLINE;
    let found = loop {
        let found = named_ports();
        let missing: Vec<_> = wanted.iter().filter(|name| !found.contains_key(*name)).cloned().collect();
        if missing.is_empty() {
            break found;
        }
        if !uevents.wait(deadline.saturating_duration_since(Instant::now()))? {
            return Err(Failure::new(
                "find virtio-serial port",
                missing.join(", "),
                "not announced by the kernel; it needs virtio_pci and virtio_console, built in or as modules",
            ));
        }
    };
    fs::create_dir_all(PORTS_DIR).step("create", PORTS_DIR)?;
    for (name, device) in found {
        let path = Path::new(PORTS_DIR).join(&name);
        std::os::unix::fs::symlink(format!("../{device}"), &path).step("link", path.display().to_string())?;
    }
    Ok(())
}

fn named_ports() -> BTreeMap<String, String> {
    let mut ports = BTreeMap::new();
    // The class is missing until the driver is there: no ports yet.
    for entry in fs::read_dir(CLASS).into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        let name = name.trim();
        if !name.is_empty() && !name.contains('/') {
            ports.insert(name.to_owned(), entry.file_name().to_string_lossy().into_owned());
        }
    }
    ports
}
