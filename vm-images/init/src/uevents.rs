//! Waiting for devices: the kernel announces each by a uevent (netlink(7), `NETLINK_KOBJECT_UEVENT`). Subscribing before
//! a driver is loaded, and looking for the device after each event, misses none.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::step::{Failure, Step};

/// The host's own deadline for hello is the one that counts; this one is there to say which device is missing.
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

    /// Waits until `find` gives something; `None` when the time is over.
    pub(crate) fn until<T>(&self, mut find: impl FnMut() -> Option<T>) -> Result<Option<T>, Failure> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = find();
            if found.is_some() || !self.wait(deadline.saturating_duration_since(Instant::now()))? {
                return Ok(found);
            }
        }
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
