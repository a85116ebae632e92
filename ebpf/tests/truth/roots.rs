//! The root directory that a program starts with, by its mount.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, pivot_root};
use podproof_ebpf::event::{EventKind, RootMount};

use crate::Res;
use crate::mount_calls::private_directory;
use crate::observe::{Case, Observed, equal, truth};
use crate::report::{say_number, say_skip, say_task, say_text};
use crate::sys;
use crate::sys::mounting::root_mount;

pub(crate) const CASES: &[Case] = &[
    Case { name: "root::as_it_was", scenario: plain, check: |seen| check_root(seen, None) },
    Case { name: "root::after_pivot_root", scenario: pivoted, check: |seen| check_root(seen, Some(true)) },
    Case {
        name: "root::after_chroot_to_a_directory",
        scenario: farm,
        check: |seen| check_root(seen, Some(false)),
    },
    Case {
        name: "root::after_chroot_to_a_mount",
        scenario: mounted,
        check: |seen| check_root(seen, Some(true)),
    },
];

const NONE: Option<&str> = None;

/// Run as a program: says what its root is, by statx(2) and by /proc/self/mountinfo.
pub(crate) fn say_root() -> Res<()> {
    say_task("program")?;
    let Some(root) = root_mount()? else { return say_skip("statx does not give the mount's id") };
    say_text("root", &serde_json::to_string(&root)?)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    // Fields: id, parent, device, root, mount point. There may be several, one on another: the last is on top. None,
    // where the root is in the middle of a mount.
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let id: u32 = fields.next().ok_or("an empty line")?.parse()?;
        let device = fields.nth(1).ok_or("a line without a device")?.to_owned();
        if fields.nth(1) == Some("/") && id == root.mount_id {
            say_text("device", &device)?;
            say_number("id", id)?;
        }
    }
    Ok(())
}

/// Runs the program in a child, with this root.
fn run(prepare: impl FnOnce() -> Res<()>) -> Res<()> {
    let child = sys::fork(|| {
        let exe = std::env::current_exe()?;
        prepare()?;
        Err(Command::new(exe).args(["scenario", "root"]).stdin(Stdio::null()).exec().into())
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn plain() -> Res<()> {
    run(|| Ok(()))
}

fn bind(from: &Path, to: &Path) -> Res<()> {
    Ok(mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?)
}

/// The same files, as the root of a mount of their own.
fn pivoted() -> Res<()> {
    let dir = private_directory("pivot")?;
    run(|| {
        bind(Path::new("/"), &dir.0)?;
        chdir(&dir.0)?;
        // Both in one place: the old root comes to lie on the new one, and goes.
        pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        Ok(chdir("/")?)
    })?;
    umount2(&dir.0, MntFlags::MNT_DETACH).or(Ok::<_, nix::errno::Errno>(()))?;
    Ok(())
}

fn mounted() -> Res<()> {
    let dir = private_directory("chroot-to-mount")?;
    bind(Path::new("/"), &dir.0)?;
    run(|| {
        chroot(&dir.0)?;
        Ok(chdir("/")?)
    })?;
    Ok(umount2(&dir.0, MntFlags::MNT_DETACH)?)
}

/// A directory in the middle of a tmpfs, in which everything of the old root is found again.
fn farm() -> Res<()> {
    let dir = private_directory("chroot")?;
    mount(Some("farm"), &dir.0, Some("tmpfs"), MsFlags::empty(), NONE)?;
    let root = dir.0.join("root");
    std::fs::create_dir(&root)?;
    for entry in std::fs::read_dir("/")? {
        let entry = entry?;
        let (from, to) = (entry.path(), root.join(entry.file_name()));
        if entry.file_type()?.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&from)?, &to)?;
        } else if entry.file_type()?.is_dir() {
            std::fs::create_dir(&to)?;
            bind(&from, &to)?;
        } else {
            std::fs::write(&to, "")?;
            bind(&from, &to)?;
        }
    }
    run(|| {
        chroot(&root)?;
        Ok(chdir("/")?)
    })?;
    Ok(umount2(&dir.0, MntFlags::MNT_DETACH)?)
}

fn check_root(seen: &Observed, is_mount_root: Option<bool>) -> Res<()> {
    let program = seen.task("program")?;
    let said: RootMount = serde_json::from_str(seen.text("root")?)?;
    if let Some(is_mount_root) = is_mount_root {
        equal("the scenario has the root that it wants", &said.is_mount_root, &is_mount_root)?;
    }
    if said.is_mount_root {
        let device = format!("{}:{}", said.dev_major, said.dev_minor);
        equal("device, by mountinfo", &seen.text("device")?, &device.as_str())?;
        equal("mount, by mountinfo", &seen.number("id")?, &said.mount_id.into())?;
    }
    let root = seen.one("exec", |event| match &event.kind {
        EventKind::Exec { task, root, .. } if program.is(&task.task) => Some(*root),
        _ => None,
    })?;
    truth(&format!("the root of {program:?} was seen"), root.is_some())?;
    equal("root", &root, &Some(said))
}
