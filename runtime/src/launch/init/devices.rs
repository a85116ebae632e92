//! Device nodes and the links in `/dev`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::super::{Context, StepError};
use super::rootfs;
use crate::spec::{DeviceKind, DeviceSpec};
use crate::sys::mount::attach;

fn file_type(kind: DeviceKind) -> SFlag {
    match kind {
        DeviceKind::Char => SFlag::S_IFCHR,
        DeviceKind::Block => SFlag::S_IFBLK,
        DeviceKind::Fifo => SFlag::S_IFIFO,
    }
}

/// Makes a node, or binds the node's own.
pub(super) fn make(rootfs: BorrowedFd<'_>, device: &DeviceSpec, is_bound: bool) -> Result<(), StepError> {
    if is_bound {
        let source = node_of_host(&device.path, device.major, device.minor)?;
        let target = rootfs::make_file(rootfs, &device.path)?;
        return attach(source.as_fd(), target.as_fd()).during(|| "attach it");
    }
    let (directory, name) = rootfs::parent_and_name(rootfs, &device.path)?;
    let kind = file_type(device.kind);
    let number = if device.kind == DeviceKind::Fifo { 0 } else { makedev(device.major, device.minor) };
    match mknodat(&directory, name, kind, Mode::from_bits_truncate(device.mode), number) {
        Ok(()) => {}
        Err(Errno::EEXIST) => {
            let there = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let is_same = SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT == kind
                && (device.kind == DeviceKind::Fifo || there.st_rdev == number);
            if !is_same {
                return Err(StepError::new("another file has that name", Errno::EEXIST));
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    fchownat(&directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).during(|| "set its owner")
}

/// A detached bind of a device node of the host, checked to be that device: a path proves nothing.
pub(super) fn node_of_host(path: &Path, major: u64, minor: u64) -> Result<OwnedFd, StepError> {
    let source = rootfs::clone_of_host(path)?;
    let stat = fstat(&source)?;
    if stat.st_rdev != makedev(major, minor) {
        return Err(StepError::new(
            format!("{} of the node is not device {major}:{minor}", path.display()),
            Errno::ENODEV,
        ));
    }
    Ok(source)
}

/// Makes a symbolic link. Whatever has the name already is what the image wants there.
pub(super) fn link(rootfs: BorrowedFd<'_>, path: &Path, target: &Path) -> Result<(), StepError> {
    let (directory, name) = rootfs::parent_and_name(rootfs, path)?;
    match symlinkat(target, &directory, name) {
        Err(Errno::EEXIST) => Ok(()),
        result => Ok(result?),
    }
}
