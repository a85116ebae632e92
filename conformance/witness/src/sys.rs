//! Everything that needs `unsafe`: the C entry point, fork, raw signals, shared memory, System V segments.
//!
//! Each function is a thin call with a safe face; what is done with it is decided by the command families.

#![allow(unsafe_code, reason = "system calls that nix does not offer, or that libc changes on the way")]

mod descriptor;
mod entry;
mod fork;
mod memory;
mod posix;
mod shm;
mod signal;
mod sysv;

pub(crate) use descriptor::{above_stdio, net_cookie, pipe};
pub(crate) use entry::{Words, end_this_thread, exit, sleep_until_killed};
pub(crate) use fork::{fork, fork_in_new_pid_ns, is_running_child, kill, wait_for};
pub(crate) use memory::{SharedWords, fault, touch_pages};
pub(crate) use posix::NamedSemaphore;
pub(crate) use shm::Segment;
pub(crate) use signal::{SIGNALS, SignalState, catch, n_overflowed, n_recorded, next_caught, wait_past};
pub(crate) use sysv::{MessageQueue, Semaphore};
