//! Mounts and System V shared memory.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root};
use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::observe::{Case, Observed, equal};
use crate::report::{namespaces, say_number, say_text};
use crate::sys;

pub(crate) const CASES: &[Case] = &[
    Case { name: "mount::mount_pivot_umount", scenario: mounts, check: check_mounts },
    Case { name: "ipc::shared_memory", scenario: shared_memory, check: check_shared_memory },
];

const NONE: Option<&str> = None;

/// A directory that the scenario made; removed on drop.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    /// Makes one for temporary files.
    pub(crate) fn make(name: &str) -> Res<Self> {
        let dir = std::env::temp_dir().join(format!("podproof-truth-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

fn mounts() -> Res<()> {
    let root = Directory::make("mounts")?;
    say_text("root", &root.0.display().to_string())?;
    let child = sys::fork(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let mnt = namespaces()?.mnt.ok_or("no mount namespace")?;
        say_number("mnt", mnt)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(
            Some("truth"),
            &root.0,
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some("size=1m"),
        )?;
        let long = format!("/nowhere/{}", "x".repeat(200));
        let refused = mount(Some("none"), long.as_str(), Some("proc"), MsFlags::empty(), NONE);
        equal("no such target", &refused, &Err(Errno::ENOENT))?;
        let old = root.0.join("old");
        std::fs::create_dir(&old)?;
        pivot_root(&root.0, &old)?;
        chdir("/")?;
        equal("no such root", &pivot_root("/nowhere", "/old"), &Err(Errno::ENOENT))?;
        umount2("/old", MntFlags::MNT_DETACH)?;
        equal("no mount", &umount2("/old", MntFlags::empty()), &Err(Errno::EINVAL))?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_mounts(seen: &Observed) -> Res<()> {
    let mnt = Some(u32::try_from(seen.number("mnt")?)?);
    let root = seen.text("root")?.to_owned();
    let calls = seen.all(|event| match &event.kind {
        kind @ (EventKind::Mount { .. } | EventKind::PivotRoot { .. } | EventKind::Umount { .. }) => {
            Some(kind.clone())
        }
        _ => None,
    });
    let text = String::from;
    let errno = |errno: Errno| -(errno as i64);
    let said = vec![
        EventKind::Mount {
            from: text(""),
            target: text("/"),
            fstype: text(""),
            flags: 0x4_4000,
            ret: 0,
            mnt_ns: mnt,
        },
        EventKind::Mount {
            from: text("truth"),
            target: root.clone(),
            fstype: text("tmpfs"),
            flags: 2 | 4,
            ret: 0,
            mnt_ns: mnt,
        },
        EventKind::Mount {
            from: text("none"),
            target: format!("/nowhere/{}", "x".repeat(127 - 9)),
            fstype: text("proc"),
            flags: 0,
            ret: errno(Errno::ENOENT),
            mnt_ns: mnt,
        },
        EventKind::PivotRoot { new_root: root.clone(), put_old: format!("{root}/old"), ret: 0, mnt_ns: mnt },
        EventKind::PivotRoot {
            new_root: text("/nowhere"),
            put_old: text("/old"),
            ret: errno(Errno::ENOENT),
            mnt_ns: mnt,
        },
        EventKind::Umount { target: text("/old"), flags: 2, ret: 0, mnt_ns: mnt },
        EventKind::Umount { target: text("/old"), flags: 0, ret: errno(Errno::EINVAL), mnt_ns: mnt },
    ];
    equal("mount calls", &calls, &said)
}

const SIZE: usize = 12_288;
const KEY: i32 = 0x7072_6f62;

fn shared_memory() -> Res<()> {
    unshare(CloneFlags::CLONE_NEWIPC)?;
    say_number("ipc", namespaces()?.ipc.ok_or("no IPC namespace")?)?;
    let (id, attached) = sys::shared_memory(KEY, SIZE, libc::IPC_CREAT | 0o600)?;
    say_number("id", id)?;
    equal("attached", &attached, &0)?;
    equal("refusals", &sys::missing_shared_memory(KEY), &(Errno::ENOENT, Errno::EINVAL))
}

fn check_shared_memory(seen: &Observed) -> Res<()> {
    let ipc_ns = Some(u32::try_from(seen.number("ipc")?)?);
    let id = i32::try_from(seen.number("id")?)?;
    let calls = seen.all(|event| match &event.kind {
        kind @ (EventKind::Shmget { .. } | EventKind::Shmat { .. }) => Some(kind.clone()),
        _ => None,
    });
    let said = vec![
        EventKind::Shmget {
            key: KEY,
            size: SIZE as u64,
            flags: (libc::IPC_CREAT | 0o600).cast_unsigned(),
            ret: id.into(),
            ipc_ns,
        },
        EventKind::Shmat { id, ret: 0, ipc_ns },
        EventKind::Shmget { key: KEY, size: 4096, flags: 0, ret: -(Errno::ENOENT as i64), ipc_ns },
        EventKind::Shmat { id: -1, ret: -(Errno::EINVAL as i64), ipc_ns },
    ];
    equal("calls", &calls, &said)
}
