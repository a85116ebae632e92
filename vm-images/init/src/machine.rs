//! The machine as a whole: its name, the limits that the command inherits, and its end.
#![expect(unsafe_code, reason = "port I/O needs ioperm(2) and one instruction")]

use std::io::stderr;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::termios::tcdrain;
use nix::unistd::{pause, sethostname};
use vm_init::DEBUG_EXIT_PORT;

use crate::step::Step;

/// Descriptors: the soft limit that select(2) users rely on, a hard limit that runtimes may raise it to.
const FILES: (u64, u64) = (1024, 1 << 20);

pub(crate) fn name_and_limits(hostname: &str, degraded: &mut Vec<String>) {
    for result in [
        sethostname(hostname).step("set hostname", hostname),
        setrlimit(Resource::RLIMIT_NOFILE, FILES.0, FILES.1).step("set limit", "RLIMIT_NOFILE"),
    ] {
        if let Err(failure) = result {
            degraded.push(failure.to_string());
        }
    }
}

/// Ends the machine: QEMU exits with `(status << 1) | 1`.
pub(crate) fn end(status: u8) -> ! {
    // What the console still holds would be lost with the machine; it is a terminal, or there is nothing to wait for.
    tcdrain(stderr()).ok();
    // SAFETY: ioperm(2) changes only which ports this task may use.
    if unsafe { libc::ioperm(libc::c_ulong::from(DEBUG_EXIT_PORT), 4, 1) } == 0 {
        // SAFETY: the port belongs to isa-debug-exit, which takes the value and ends the machine; no memory is touched.
        unsafe {
            std::arch::asm!("out dx, eax", in("dx") DEBUG_EXIT_PORT, in("eax") u32::from(status), options(nomem, nostack, preserves_flags));
        }
    } else {
        eprintln!("vm-init: ioperm on port {DEBUG_EXIT_PORT:#x}: {}", std::io::Error::last_os_error());
    }
    // The write may take effect a little later; a PID 1 that returns would be a kernel panic instead.
    loop {
        pause();
    }
}
