//! Commands of bpf(2) that the BPF library has no wrapper for, or none that may run between fork and exec.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper for BPF_PROG_RUN")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// `BPF_PROG_TEST_RUN`, also called `BPF_PROG_RUN`.
const BPF_PROG_RUN: libc::c_long = 10;

/// The `test` member of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct ProgRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// Runs a raw tracepoint program once with these arguments, on the calling CPU.
pub(crate) fn run_raw_tracepoint(program: BorrowedFd<'_>, args: [u64; 2]) -> io::Result<()> {
    let attr = ProgRunAttr {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        ctx_size_in: size_of_val(&args) as u32,
        ctx_in: args.as_ptr() as u64,
        ..ProgRunAttr::default()
    };
    // SAFETY: `attr` and `args` outlive the call; their sizes are passed with them, and bytes beyond the members
    // that this command knows are zero.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_RUN, &raw const attr, size_of::<ProgRunAttr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;

/// The members of `union bpf_attr` for commands on an element of a map.
#[repr(C)]
struct MapElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Writes an element of a map from 32-bit keys to two words. It allocates nothing: it may be called between fork and exec.
pub(crate) fn update_element(map: RawFd, key: u32, value: [u64; 2]) -> io::Result<()> {
    let attr = MapElementAttr {
        map_fd: map.cast_unsigned(),
        pad: 0,
        key: (&raw const key).addr() as u64,
        value: value.as_ptr().addr() as u64,
        flags: 0,
    };
    // SAFETY: key and value outlive the call and have the sizes that the map was made with.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM, &raw const attr, size_of::<MapElementAttr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
