//! The mount API that works on descriptors, and path resolution inside a root (fsopen(2), open_tree(2),
//! move_mount(2), mount_setattr(2), openat2(2)).
//!
//! A target is opened once, inside the container's root, and the mount goes to that descriptor: a link that the
//! image changes in between cannot redirect it.
#![expect(unsafe_code, reason = "nix has no wrappers for the mount API of Linux 5.2")]

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::check;
use crate::spec::mounts::Attributes;

fn owned(ret: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(check(ret)?).map_err(|_too_big| Errno::EBADF)?;
    // SAFETY: the callers pass the result of a system call that returns a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a path as if `root` were the root directory: `..` and absolute links stay inside, links of `/proc` that
/// jump elsewhere are refused.
///
/// # Errors
/// The errno of openat2(2).
pub fn open_in_root(root: impl AsFd, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// Makes a detached copy of the mount at `path`; it goes away with its last descriptor unless it is attached.
///
/// # Errors
/// The errno of open_tree(2).
pub fn clone_tree(dir: BorrowedFd<'_>, path: &Path, is_recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if is_recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    if path.as_os_str().is_empty() {
        flags |= libc::AT_EMPTY_PATH as u32;
    }
    // SAFETY: `path` is a NUL-terminated string for the length of the call.
    let ret = path.with_nix_path(|path| unsafe {
        libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags)
    })?;
    owned(ret)
}

/// Attaches a detached mount at `target`.
///
/// # Errors
/// The errno of move_mount(2).
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: both paths are the empty string, which the flags allow.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    check(ret).map(drop)
}

/// Changes attributes or propagation of the mount that `mount` is the root of.
///
/// # Errors
/// The errno of mount_setattr(2); `ENOSYS` before Linux 5.12.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    propagation: u64,
    is_recursive: bool,
) -> Result<(), Errno> {
    // The kernel wants the whole field of access time bits cleared when one of them is set.
    let mut clear = attributes.clear;
    if (attributes.set | clear) & libc::MOUNT_ATTR__ATIME != 0 {
        clear |= libc::MOUNT_ATTR__ATIME;
    }
    // SAFETY: mount_attr is plain integers; all zeroes means no change.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = attributes.set;
    attr.attr_clr = clear;
    attr.propagation = propagation;
    mount_setattr(mount, &attr, is_recursive)
}

/// Gives a detached mount the ids of a user namespace.
///
/// # Errors
/// `EINVAL` when the file system cannot be mapped, or is mapped already; else the errno of mount_setattr(2).
pub fn set_id_map(mount: BorrowedFd<'_>, users: BorrowedFd<'_>, is_recursive: bool) -> Result<(), Errno> {
    // SAFETY: mount_attr is plain integers; all zeroes means no change.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = libc::MOUNT_ATTR_IDMAP;
    attr.userns_fd = u64::from(users.as_raw_fd().unsigned_abs());
    mount_setattr(mount, &attr, is_recursive)
}

fn mount_setattr(mount: BorrowedFd<'_>, attr: &libc::mount_attr, is_recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if is_recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` is a mount_attr of the size given, and lives for the length of the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    };
    check(ret).map(drop)
}

/// `FSPICK_CLOEXEC` and `FSPICK_EMPTY_PATH` of `linux/mount.h`.
const FSPICK_FLAGS: libc::c_uint = 0x1 | 0x8;
/// `FSCONFIG_CMD_RECONFIGURE` of `linux/mount.h`.
const FSCONFIG_CMD_RECONFIGURE: libc::c_uint = 7;

/// A file system that is being configured.
#[derive(Debug)]
pub struct FsContext(OwnedFd);

impl FsContext {
    /// Begins (fsopen(2)).
    ///
    /// # Errors
    /// `ENODEV` when the kernel has no such file system; else the errno of fsopen(2).
    pub fn open(fstype: &CStr) -> Result<Self, Errno> {
        // SAFETY: `fstype` is NUL-terminated.
        let ret = unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), libc::FSOPEN_CLOEXEC) };
        owned(ret).map(Self)
    }

    /// Begins with the file system of a mount (fspick(2)).
    ///
    /// # Errors
    /// The errno of fspick(2).
    pub fn of(mount: BorrowedFd<'_>) -> Result<Self, Errno> {
        // SAFETY: the path is the empty string, which the flags allow.
        let ret = unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), FSPICK_FLAGS) };
        owned(ret).map(Self)
    }

    /// Makes what was set true of the file system that was picked.
    ///
    /// # Errors
    /// The errno of fsconfig(2).
    pub fn reconfigure(&self) -> Result<(), Errno> {
        self.config(FSCONFIG_CMD_RECONFIGURE, std::ptr::null(), std::ptr::null())
    }

    /// Sets a parameter, or a flag when there is no value.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not take it.
    pub fn set(&self, key: &CStr, value: Option<&CStr>) -> Result<(), Errno> {
        let command = if value.is_some() { libc::FSCONFIG_SET_STRING } else { libc::FSCONFIG_SET_FLAG };
        self.config(command, key.as_ptr(), value.map_or(std::ptr::null(), CStr::as_ptr))
    }

    /// Makes the file system and a detached mount of it.
    ///
    /// # Errors
    /// The errno of fsconfig(2) or fsmount(2).
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd, Errno> {
        self.config(libc::FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        // SAFETY: no pointers.
        let ret = unsafe {
            libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attributes)
        };
        owned(ret)
    }

    /// What the kernel has to say about the last failure, if anything.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let mut text = [0_u8; 512];
        let n = nix::unistd::read(&self.0, &mut text).ok()?;
        // Each message begins with its class: "e ", "w " or "i ".
        let message = String::from_utf8_lossy(&text[..n]);
        message.get(2..).map(|text| text.trim_end().to_owned())
    }

    fn config(
        &self,
        command: libc::c_uint,
        key: *const libc::c_char,
        value: *const libc::c_char,
    ) -> Result<(), Errno> {
        // SAFETY: `key` and `value` are null or NUL-terminated, as the callers above pass them.
        let ret =
            unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, key, value, 0_i32) };
        check(ret).map(drop)
    }
}
