//! Copies what a directory of the image holds into a new file system (`tmpcopyup`).
//!
//! Every name is opened below the directory that it was listed in, and no link is followed: the image cannot lead the copy
//! elsewhere.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, fstatat, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

/// Copies the contents of a directory, and its owner and mode. Extended attributes stay behind.
///
/// # Errors
/// The first failure: `ENOSPC` when the file system is too small.
pub(super) fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listed = Dir::openat(from, ".", flags, Mode::empty())?;
    let to = openat(to, ".", flags, Mode::empty())?;
    let names: Vec<CString> =
        listed.iter().map(|entry| Ok(entry?.file_name().to_owned())).collect::<Result<_, Errno>>()?;
    for name in names.iter().filter(|name| ![c".", c".."].contains(&name.as_c_str())) {
        entry(listed.as_fd(), to.as_fd(), name)?;
    }
    let stat = fstat(&listed)?;
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    // After the owner, whose change takes the set-id bits away.
    fchmod(&to, mode(&stat))
}

fn entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let safe = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    match kind {
        SFlag::S_IFDIR => {
            mkdirat(to, name, Mode::from_bits_truncate(0o700))?;
            let inner = OFlag::O_RDONLY | OFlag::O_DIRECTORY | safe;
            let below = openat(from, name, inner, Mode::empty())?;
            let copy = openat(to, name, inner, Mode::empty())?;
            directory(below.as_fd(), copy.as_fd())?;
        }
        SFlag::S_IFREG => {
            let mut source = File::from(openat(from, name, OFlag::O_RDONLY | safe, Mode::empty())?);
            let created = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | safe;
            let mut copy = File::from(openat(to, name, created, Mode::from_bits_truncate(0o600))?);
            io::copy(&mut source, &mut copy)
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        }
        SFlag::S_IFLNK => symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?,
        _ => mknodat(to, name, kind, Mode::from_bits_truncate(0o600), stat.st_rdev)?,
    }
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if kind != SFlag::S_IFLNK {
        fchmodat(to, name, mode(&stat), FchmodatFlags::FollowSymlink)?;
    }
    let time = |seconds, nanoseconds| TimeSpec::new(seconds, nanoseconds);
    let (accessed, modified) =
        (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
    utimensat(to, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
}

fn mode(stat: &FileStat) -> Mode {
    Mode::from_bits_truncate(stat.st_mode & 0o7777)
}
