//! Brings the loopback interface up (netdevice(7)): a machine without it is not what a runtime meets.
#![expect(unsafe_code, reason = "SIOCGIFFLAGS and SIOCSIFFLAGS have no safe wrapper")]

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::step::{Failure, Step};

nix::ioctl_read_bad!(interface_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

pub(crate) fn up(degraded: &mut Vec<String>) {
    if let Err(failure) = try_up() {
        degraded.push(failure.to_string());
    }
}

fn try_up() -> Result<(), Failure> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .step("open socket for", "lo")?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    for (slot, byte) in request.ifr_name.iter_mut().zip(*b"lo\0") {
        *slot = byte.cast_signed();
    }
    // SAFETY: `request` is a whole ifreq with a terminated name; the kernel writes only its flags.
    unsafe { interface_flags(socket.as_raw_fd(), &raw mut request) }.step("read flags of", "lo")?;
    // SAFETY: the call above succeeded, so the kernel filled this member of the union.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags }) | libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).step("convert flags of", "lo")?;
    // SAFETY: as above; this call only reads the request.
    unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }.step("bring up", "lo")?;
    Ok(())
}
