//! chroot, the mount calls by descriptor, and host names.

use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::chroot;
use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::files::Directory;
use crate::observe::{Case, Observed, equal};
use crate::report::{namespaces, say_number, say_skip, say_text};
use crate::sys;
use crate::sys::mounting::{fsconfig_create, fsmount, fsopen, mount_setattr, move_mount, open_tree};
use crate::sys::program::set_name;

pub(crate) const CASES: &[Case] = &[
    Case { name: "mount::by_descriptor", scenario: by_descriptor, check: check_by_descriptor },
    Case { name: "mount::chroot", scenario: change_root, check: check_change_root },
    Case { name: "uts::names", scenario: names, check: check_names },
];

const NONE: Option<&str> = None;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = 0x8_0000;
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;

/// A directory of the scenario, and a mount namespace where nothing gets out.
pub(crate) fn private_directory(name: &str) -> Res<Directory> {
    let dir = Directory::make(name)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    say_number("mnt", namespaces()?.mnt.ok_or("no mount namespace")?)?;
    Ok(dir)
}

fn errno<T>(result: &Result<T, Errno>) -> i64 {
    result.as_ref().map_or_else(|error| -(*error as i64), |_| 0)
}

fn by_descriptor() -> Res<()> {
    let dir = private_directory("by-descriptor")?;
    let target = dir.0.to_str().ok_or("a directory with a strange name")?;
    say_text("target", target)?;
    let fs = fsopen("tmpfs")??;
    say_number("fs", fs.as_raw_fd())?;
    equal("no such file system", &fsopen("no-such-fs")?.err(), &Some(Errno::ENODEV))?;
    fsconfig_create(fs.as_raw_fd())?;
    let new = fsmount(fs.as_raw_fd())?;
    move_mount(new.as_raw_fd(), "", target, MOVE_MOUNT_F_EMPTY_PATH)??;
    let nowhere = move_mount(new.as_raw_fd(), "", "/nowhere/at/all", MOVE_MOUNT_F_EMPTY_PATH)?;
    equal("no such target", &nowhere, &Err(Errno::ENOENT))?;
    let copy = open_tree(target, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)??;
    say_number("copy", copy.as_raw_fd())?;
    let missing = open_tree("/nowhere/at/all", OPEN_TREE_CLOEXEC)?;
    equal("no such tree", &missing.err(), &Some(Errno::ENOENT))?;
    let changed = mount_setattr(target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0)?;
    if changed == Err(Errno::ENOSYS) {
        return say_skip("the kernel has no mount_setattr");
    }
    changed?;
    mount_setattr(target, 0, MOUNT_ATTR_RDONLY, libc::AT_SYMLINK_NOFOLLOW)??;
    let missing = mount_setattr("/nowhere/at/all", MOUNT_ATTR_RDONLY, 0, libc::AT_RECURSIVE)?;
    equal("no such mount", &missing, &Err(Errno::ENOENT))?;
    nix::mount::umount2(&dir.0, nix::mount::MntFlags::MNT_DETACH)?;
    Ok(())
}

fn check_by_descriptor(seen: &Observed) -> Res<()> {
    let mnt_ns = Some(u32::try_from(seen.number("mnt")?)?);
    let target = || seen.text("target").map(str::to_owned);
    let calls = seen.all(|event| match &event.kind {
        kind @ (EventKind::Fsopen { .. }
        | EventKind::OpenTree { .. }
        | EventKind::MoveMount { .. }
        | EventKind::MountSetattr { .. }) => Some(kind.clone()),
        _ => None,
    });
    let text = String::from;
    let enoent = -i64::from(libc::ENOENT);
    let nowhere = || text("/nowhere/at/all");
    let moved = u64::from(MOVE_MOUNT_F_EMPTY_PATH);
    let cloexec = u64::from(OPEN_TREE_CLOEXEC);
    let nofollow = u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned());
    let recursive = u64::from(libc::AT_RECURSIVE.cast_unsigned());
    let rdonly = MOUNT_ATTR_RDONLY;
    let attributes =
        |path, set, clear, flags, ret| EventKind::MountSetattr { path, set, clear, flags, ret, mnt_ns };
    let said = vec![
        EventKind::Fsopen { fstype: text("tmpfs"), ret: seen.number("fs")? },
        EventKind::Fsopen { fstype: text("no-such-fs"), ret: -i64::from(libc::ENODEV) },
        EventKind::MoveMount { from: text(""), target: target()?, flags: moved, ret: 0, mnt_ns },
        EventKind::MoveMount { from: text(""), target: nowhere(), flags: moved, ret: enoent, mnt_ns },
        EventKind::OpenTree {
            path: target()?,
            flags: cloexec | u64::from(OPEN_TREE_CLONE),
            ret: seen.number("copy")?,
        },
        EventKind::OpenTree { path: nowhere(), flags: cloexec, ret: enoent },
        attributes(target()?, rdonly | MOUNT_ATTR_NOSUID, 0, 0, 0),
        attributes(target()?, 0, rdonly, nofollow, 0),
        attributes(nowhere(), rdonly, 0, recursive, enoent),
    ];
    equal("mount calls", &calls, &said)
}

fn change_root() -> Res<()> {
    let dir = Directory::make("chroot")?;
    say_text("dir", dir.0.to_str().ok_or("a directory with a strange name")?)?;
    let child = sys::fork(|| {
        say_number("mnt", namespaces()?.mnt.ok_or("no mount namespace")?)?;
        equal("no such directory", &chroot("/nowhere/at/all"), &Err(Errno::ENOENT))?;
        chroot(&dir.0)?;
        equal("nothing there", &Path::new("/proc").exists(), &false)?;
        sys::set_capabilities(0, 0, 0)?;
        equal("no privilege", &chroot("/"), &Err(Errno::EPERM))?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_change_root(seen: &Observed) -> Res<()> {
    let mnt = Some(u32::try_from(seen.number("mnt")?)?);
    let calls = seen.all(|event| match &event.kind {
        EventKind::Chroot { path, ret, mnt_ns } => Some((path.as_str(), *ret, *mnt_ns)),
        _ => None,
    });
    let said = vec![
        ("/nowhere/at/all", -i64::from(libc::ENOENT), mnt),
        (seen.text("dir")?, 0, mnt),
        ("/", -i64::from(libc::EPERM), mnt),
    ];
    equal("chroot calls", &calls, &said)
}

/// Only the bytes that the length covers are the name: there is no zero after it.
fn names() -> Res<()> {
    unshare(CloneFlags::CLONE_NEWUTS)?;
    say_number("uts", namespaces()?.uts.ok_or("no UTS namespace")?)?;
    let long = "h".repeat(100);
    let calls =
        [("host-of-truth", 4, false), ("domain.of.truth", 15, true), (&long, 64, false), (&long, 70, true)];
    for (text, len, domain) in calls {
        let ret = errno(&set_name(text, len, domain));
        let shown = &text[..len.min(64)];
        say_text("name", &serde_json::to_string(&(shown, domain, ret))?)?;
    }
    equal("host name", &std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim_end(), &&long[..64])?;
    let child = sys::fork(|| {
        sys::set_capabilities(0, 0, 0)?;
        // On a page that is there: a refused call does not touch it, and a probe cannot fetch it.
        let other = String::from("other");
        let ret = errno(&set_name(&other, other.len(), false));
        equal("no privilege", &ret, &-i64::from(libc::EPERM))?;
        say_text("name", &serde_json::to_string(&(other, false, ret))?)?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_names(seen: &Observed) -> Res<()> {
    let uts = Some(u32::try_from(seen.number("uts")?)?);
    let calls = seen.all(|event| match &event.kind {
        EventKind::Hostname { name, domain, ret, uts_ns } => Some(((name.clone(), *domain, *ret), *uts_ns)),
        _ => None,
    });
    let said: Vec<((String, bool, i64), Option<u32>)> = seen
        .texts("name")
        .into_iter()
        .map(|text| Ok((serde_json::from_str(text)?, uts)))
        .collect::<Result<_, serde_json::Error>>()?;
    equal("refusals", &said.iter().filter(|((.., ret), _)| *ret < 0).count(), &2)?;
    equal("names", &calls, &said)
}
