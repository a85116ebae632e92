//! Makes the file of an entry, with its owner, mode, attributes and time.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, makedev, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};
use runtime::sys::xattr;

use super::super::members::{Attributes, Device, Member, MemberKind, Members, Segment, Source, shown};
use super::tree::Place;
use super::{Trouble, failed, open_at};
use crate::descriptor::fd_path;

/// Makes an entry that is no directory and no hard link, where nothing is.
pub(super) fn entry<S: Source>(
    place: &Place,
    name: &OsStr,
    member: &Member,
    members: &mut Members<S>,
    buffer: &mut [u8],
) -> Result<(), Trouble> {
    let dir = place.dir.as_fd();
    match &member.kind {
        MemberKind::File { size, segments } => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            let file =
                open_at(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed("make the file"))?;
            let mut file = File::from(file);
            data(&mut file, *size, segments, members, buffer)?;
            owner_and_mode(file.as_fd(), &member.attributes)?;
            attributes(file.as_fd(), &member.attributes, true)?;
            let time = time(member.attributes.modified);
            return futimens(&file, &time, &time).map_err(failed("set the time"));
        }
        MemberKind::Symlink(target) if target.is_empty() => {
            return Err(Trouble::Refused("a symbolic link to nothing".to_owned()));
        }
        MemberKind::Symlink(target) => {
            symlinkat(OsStr::from_bytes(target), dir, name).map_err(failed("make the symbolic link"))?;
        }
        MemberKind::CharDevice(device) => node(dir, name, SFlag::S_IFCHR, Some(*device))?,
        MemberKind::BlockDevice(device) => node(dir, name, SFlag::S_IFBLK, Some(*device))?,
        MemberKind::Fifo => node(dir, name, SFlag::S_IFIFO, None)?,
        MemberKind::Directory | MemberKind::HardLink(_) => {
            return Err(Trouble::Failed { op: "make it", errno: Errno::EINVAL });
        }
    }
    let Attributes { uid, gid, mode, .. } = member.attributes;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(failed("set the owner"))?;
    if !matches!(member.kind, MemberKind::Symlink(_)) {
        // It was made just before, by this process, in a directory that is this process's alone: it is no link.
        let mode = Mode::from_bits_truncate(mode);
        fchmodat(dir, name, mode, FchmodatFlags::FollowSymlink).map_err(failed("set the mode"))?;
    }
    let time = time(member.attributes.modified);
    utimensat(dir, name, &time, &time, UtimensatFlags::NoFollowSymlink).map_err(failed("set the time"))
}

/// Gives a directory what its entry says, but for the time.
pub(super) fn directory(dir: BorrowedFd<'_>, of: &Attributes) -> Result<(), Trouble> {
    owner_and_mode(dir, of)?;
    attributes(dir, of, false)
}

/// Gives a file another name.
pub(super) fn hard_link(from: &Place, name: &OsStr, to: &Place, as_name: &OsStr) -> Result<(), Trouble> {
    linkat(&from.dir, name, &to.dir, as_name, AtFlags::empty()).map_err(failed("make the hard link"))
}

/// A time for the kernel.
pub(super) fn time((seconds, nanoseconds): (i64, i64)) -> TimeSpec {
    TimeSpec::new(seconds, nanoseconds)
}

fn data<S: Source>(
    file: &mut File,
    size: u64,
    segments: &[Segment],
    members: &mut Members<S>,
    buffer: &mut [u8],
) -> Result<(), Trouble> {
    let io = |op| {
        move |error: std::io::Error| failed(op)(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    };
    let mut end = 0;
    for segment in segments {
        if segment.offset != end {
            file.seek(SeekFrom::Start(segment.offset)).map_err(io("write the file"))?;
        }
        let mut left = segment.length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let n = members.read(&mut buffer[..most]).map_err(Trouble::Archive)?;
            file.write_all(&buffer[..n]).map_err(io("write the file"))?;
            left -= n as u64;
        }
        end = segment.offset + segment.length;
    }
    if end < size { file.set_len(size).map_err(io("write the file")) } else { Ok(()) }
}

fn node(dir: BorrowedFd<'_>, name: &OsStr, kind: SFlag, device: Option<Device>) -> Result<(), Trouble> {
    let number = device.map_or(0, |device| makedev(device.major.into(), device.minor.into()));
    mknodat(dir, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, number).map_err(failed("make the node"))
}

fn owner_and_mode(file: BorrowedFd<'_>, of: &Attributes) -> Result<(), Trouble> {
    let (uid, gid) = (Uid::from_raw(of.uid), Gid::from_raw(of.gid));
    fchown(file, Some(uid), Some(gid)).map_err(failed("set the owner"))?;
    // After the owner, whose change takes the set-id bits away.
    fchmod(file, Mode::from_bits_truncate(of.mode)).map_err(failed("set the mode"))
}

/// Sets extended attributes, after the owner, whose change takes capabilities away.
fn attributes(file: BorrowedFd<'_>, of: &Attributes, is_file: bool) -> Result<(), Trouble> {
    for (name, value) in of.xattrs.iter().filter(|(name, _)| is_kept(name, is_file)) {
        let name = CString::new(name.as_slice()).map_err(|_nul| {
            Trouble::Refused(format!("an extended attribute whose name {} contains a NUL", shown(name)))
        })?;
        match xattr::set(&fd_path(file), &name, value) {
            // tmpfs has none of these before Linux 6.6; containerd leaves them out there, too.
            Err(Errno::EOPNOTSUPP) if name.as_bytes().starts_with(b"user.") => {}
            result => result.map_err(failed("set an extended attribute"))?,
        }
    }
    Ok(())
}

/// Which attributes an archive may set: none that says something to overlayfs, or that is the node's to decide.
fn is_kept(name: &[u8], is_file: bool) -> bool {
    let is_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    is_user || (is_file && name == b"security.capability")
}
