//! A process with a number that another one had (clone3(2), `set_tid`).

use std::io;

use anyhow::Result;

/// Starts a process with this number, which stays until it is killed, and prints 0; or the error that it was refused with.
pub(super) fn start(pid: i32) -> Result<()> {
    println!("{}", clone_as(pid).map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0));
    Ok(())
}

#[expect(unsafe_code, reason = "nix has no clone3(2)")]
fn clone_as(pid: i32) -> io::Result<()> {
    let number = [pid];
    // SAFETY: clone_args is plain data for which all zeroes are valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    arguments.set_tid = number.as_ptr().expose_provenance() as u64;
    arguments.set_tid_size = number.len() as u64;
    // SAFETY: without CLONE_VM and with no stack the call behaves as fork(2), in a process that has one thread; both the
    // arguments and the number outlive it.
    let child =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => loop {
            // SAFETY: pause(2) takes nothing and touches no memory.
            unsafe { libc::pause() };
        },
        _ => Ok(()),
    }
}
