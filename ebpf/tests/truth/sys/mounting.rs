//! The mount calls by descriptor (fsopen(2) and its kin), calls with bad addresses, and statx(2).
#![allow(unsafe_code, reason = "raw mount calls and statx")]

use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use podproof_ebpf::event::RootMount;

use crate::Res;

const FSCONFIG_CMD_CREATE: u32 = 6;

fn descriptor(result: i64) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)?;
    // SAFETY: the kernel has just given out this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// fsopen(2)
pub(crate) fn fsopen(fstype: &str) -> Res<Result<OwnedFd, Errno>> {
    let fstype = CString::new(fstype)?;
    // SAFETY: a C string and a number.
    let result = unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), 1) };
    Ok(descriptor(result))
}

/// fsconfig(2) that makes the file system.
pub(crate) fn fsconfig_create(fs: i32) -> Res<()> {
    // SAFETY: this command takes no key and no value.
    match unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// fsmount(2)
pub(crate) fn fsmount(fs: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, fs, 1, 0) })
}

/// move_mount(2) to a path.
pub(crate) fn move_mount(dir: i32, from: &str, target: &str, flags: u32) -> Res<Result<(), Errno>> {
    let (from, target) = (CString::new(from)?, CString::new(target)?);
    // SAFETY: two C strings and numbers.
    let result = unsafe {
        libc::syscall(libc::SYS_move_mount, dir, from.as_ptr(), libc::AT_FDCWD, target.as_ptr(), flags)
    };
    Ok(Errno::result(result).map(drop))
}

/// open_tree(2)
pub(crate) fn open_tree(path: &str, flags: u32) -> Res<Result<OwnedFd, Errno>> {
    let path = CString::new(path)?;
    // SAFETY: a C string and numbers.
    let result = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    Ok(descriptor(result))
}

/// mount_setattr(2)
pub(crate) fn mount_setattr(path: &str, set: u64, clear: u64, flags: i32) -> Res<Result<(), Errno>> {
    let path = CString::new(path)?;
    // struct mount_attr: set, clear, propagation, user namespace.
    let attributes = [set, clear, 0, 0];
    // SAFETY: a C string, and a structure whose size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    Ok(Errno::result(result).map(drop))
}

/// mount(2) from and to an address that is not mapped; the error.
pub(crate) fn mount_from_nowhere() -> Errno {
    let nowhere = std::ptr::without_provenance::<libc::c_char>(8);
    // SAFETY: the kernel checks the addresses.
    let ret = unsafe { libc::mount(nowhere, nowhere, nowhere, 0, std::ptr::null()) };
    if ret == -1 { Errno::last() } else { Errno::UnknownErrno }
}

/// execve(2) of an address that is not mapped; the error.
pub(crate) fn exec_from_nowhere() -> Errno {
    let nowhere = std::ptr::without_provenance::<libc::c_char>(8);
    let nothing = [std::ptr::null::<libc::c_char>()];
    // SAFETY: the kernel checks the address; both arrays hold nothing but their end.
    unsafe { libc::execve(nowhere, nothing.as_ptr(), nothing.as_ptr()) };
    Errno::last()
}

/// The caller's root directory by statx(2); `None` where the kernel does not give the mount's id.
pub(crate) fn root_mount() -> Res<Option<RootMount>> {
    const MNT_ID: u32 = 0x1000;
    const IS_MOUNT_ROOT: u64 = 0x2000;
    // `struct statx` up to the mount's id, and room for what came later.
    #[repr(C, align(8))]
    struct Statx([u8; 256]);
    let mut place = Statx([0; 256]);
    // SAFETY: a C string, numbers, and a place of the structure's size.
    let result =
        unsafe { libc::syscall(libc::SYS_statx, libc::AT_FDCWD, c"/".as_ptr(), 0, MNT_ID, &raw mut place) };
    Errno::result(result)?;
    let word =
        |at: usize| u32::from_ne_bytes([place.0[at], place.0[at + 1], place.0[at + 2], place.0[at + 3]]);
    // stx_mask 0, stx_attributes 8, stx_dev_major 0x88, stx_dev_minor 0x8c, stx_mnt_id 0x90.
    Ok((word(0) & MNT_ID != 0).then(|| RootMount {
        mount_id: word(0x90),
        dev_major: word(0x88),
        dev_minor: word(0x8c),
        is_mount_root: u64::from(word(8)) & IS_MOUNT_ROOT != 0,
    }))
}
