//! podproof's probes: one BPF program per kernel hook. They record facts; who they concern is a scope, what they
//! mean is decided by the reader.
//!
//! Build for `bpfel-unknown-none` with bpf-linker (version 0.13, on an LLVM not older than the compiler's) and
//! `RUSTC_BOOTSTRAP=1`, profile `release`, with these flags:
//! `--cfg=bpf_target_arch="x86_64" -Cdebuginfo=2 -Clink-arg=--btf -Ctarget-cpu=v3`. CPU v3 gives atomic
//! instructions that return a value; it is set here because the linker refuses a second `--cpu`.
//!
//! Kernel structs are read through BTF pointers at the offsets in [`OFFS`], which the loader fills in; so the verifier
//! checks every offset against the kernel's own types. `bpf_probe_read_kernel` is left for what a
//! BTF pointer cannot do: an index that varies, strings, and a `siginfo` that may be a small number.

#![no_std]
#![no_main]
#![allow(internal_features, reason = "the target has no read-modify-write in core::sync::atomic")]
#![feature(core_intrinsics)]
#![allow(unsafe_code, reason = "kernel memory is read through raw pointers that the verifier checks")]

mod atomic;
mod cgroup;
mod count;
mod emit;
mod fence;
mod kernel;
mod log;
mod maps;
mod namespace;
mod oom;
mod orphans;
mod reap;
mod scope;
mod signal;
mod syscall;
mod task;
mod throttle;
mod wait;

use podproof_abi::{Mode, Offsets};

/// Replaced by the loader before the programs are loaded; the section is frozen then, so that the verifier sees constants.
#[unsafe(no_mangle)]
static OFFS: Offsets = Offsets::UNKNOWN;

/// Replaced in the same way: what is not wanted is not even verified.
#[unsafe(no_mangle)]
static MODE: Mode = Mode { events: 0, counters: 0, host_mnt_ns: 0, host_pid_ns: 0 };

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the programs have no panicking path, and the verifier refuses an endless loop.
    loop {}
}
