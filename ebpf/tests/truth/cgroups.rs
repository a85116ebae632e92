//! Cgroups: made, removed, joined, born into.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::observe::{Case, Observed, equal, in_order, same_task, truth};
use crate::report::{cgroup2_mount, say_number, say_skip, say_task, say_text};
use crate::sys;

pub(crate) const CASES: &[Case] = &[
    Case { name: "cgroup::clone_into", scenario: clone_into, check: check_clone_into },
    Case { name: "cgroup::attach", scenario: attach, check: check_attach },
];

pub(crate) const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// A cgroup of the v2 hierarchy; removed on drop.
pub(crate) struct Cgroup {
    pub(crate) dir: PathBuf,
    pub(crate) id: u64,
}

impl Cgroup {
    /// Makes one below the root of the hierarchy; the reason when this machine has none or does not allow it.
    pub(crate) fn make(name: &str) -> Result<Self, String> {
        let mount = cgroup2_mount().ok_or("no cgroup v2 hierarchy is mounted")?;
        Self::make_in(&mount, &format!("podproof-truth-{name}-{}", std::process::id()))
    }

    /// Makes one below another.
    pub(crate) fn make_in(parent: &Path, name: &str) -> Result<Self, String> {
        let dir = parent.join(name);
        let refused = |error| format!("cannot make the cgroup {}: {error}", dir.display());
        fs::create_dir(&dir).map_err(refused)?;
        let id = fs::metadata(&dir).map_err(refused)?.ino();
        Ok(Self { dir, id })
    }

    /// Moves a process into it.
    pub(crate) fn add(&self, tgid: u32) -> Res<()> {
        Ok(fs::write(self.dir.join("cgroup.procs"), tgid.to_string())?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// Says what a cgroup is.
pub(crate) fn say_cgroup(cgroup: &Cgroup) -> Res<()> {
    say_number("id", i64::try_from(cgroup.id)?)?;
    let name = cgroup.dir.file_name().ok_or("a cgroup without a name")?;
    say_text("path", &format!("/{}", name.display()))
}

fn clone_into() -> Res<()> {
    let cgroup = match Cgroup::make("clone") {
        Ok(cgroup) => cgroup,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&cgroup)?;
    say_task("parent")?;
    let dir = File::open(&cgroup.dir)?;
    let child =
        sys::clone3(CLONE_INTO_CGROUP, libc::SIGCHLD, Some(dir.as_fd()), || say_task("child").map(|_| 0))?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_clone_into(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let id = u64::try_from(seen.number("id")?)?;
    let (born, view, flags, _) = seen.birth(child)?;
    same_task(view, child, parent)?;
    equal("cgroup at birth", &view.cgroup_id, &id)?;
    equal("clone flags", &flags, &CLONE_INTO_CGROUP)?;
    let made = seen.one("mkdir", |event| match &event.kind {
        EventKind::CgroupMkdir { id, hierarchy, path } => Some((event, *id, *hierarchy, path.as_str())),
        _ => None,
    })?;
    equal("made", &(made.1, made.2, made.3), &(id, 0, seen.text("path")?))?;
    let removed = seen.one("rmdir", |event| match &event.kind {
        EventKind::CgroupRmdir { id, hierarchy, path } => Some((event, *id, *hierarchy, path.as_str())),
        _ => None,
    })?;
    equal("removed", &(removed.1, removed.2, removed.3), &(id, 0, seen.text("path")?))?;
    let joined = seen.all(|event| matches!(event.kind, EventKind::CgroupAttach { .. }).then_some(event));
    truth("a birth in a cgroup is no move", joined.is_empty())?;
    in_order(&[made.0, born, seen.death(child)?.0, removed.0])
}

fn attach() -> Res<()> {
    let cgroup = match Cgroup::make("attach") {
        Ok(cgroup) => cgroup,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&cgroup)?;
    say_task("parent")?;
    let (mut go, moved) = std::io::pipe()?;
    let child = sys::fork(|| {
        go.read_exact(&mut [0])?;
        say_task("child").map(|_| 0)
    })?;
    cgroup.add(child.as_raw().cast_unsigned())?;
    std::io::Write::write_all(&mut &moved, b"!")?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_attach(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let id = u64::try_from(seen.number("id")?)?;
    let (event, moved) = seen.one("attach", |event| match &event.kind {
        EventKind::CgroupAttach { id, hierarchy, path, task, threadgroup } => {
            Some((event, (*id, *hierarchy, path.as_str(), child.is(task), *threadgroup)))
        }
        _ => None,
    })?;
    equal("move", &moved, &(id, 0, seen.text("path")?, true, true))?;
    truth("the parent moved it", parent.is(&event.current))?;
    equal("cgroup at birth", &Some(seen.birth(child)?.1.cgroup_id), &parent.cgroup_id)?;
    equal("cgroup at the end", &seen.death(child)?.1.cgroup_id, &id)
}
