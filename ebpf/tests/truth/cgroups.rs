//! Cgroups: made, removed, joined, born into; and the OOM killer in one.

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
    Case { name: "cgroup::oom_victim", scenario: oom, check: check_oom },
];

const CLONE_INTO_CGROUP: u64 = 1 << 33;

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
fn say_cgroup(cgroup: &Cgroup) -> Res<()> {
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

/// Gives the children of the root the memory controller while it lives.
struct MemoryController(Option<PathBuf>);

impl MemoryController {
    fn enable() -> Result<Self, String> {
        let mount = cgroup2_mount().ok_or("no cgroup v2 hierarchy is mounted")?;
        let read = |name: &str| fs::read_to_string(mount.join(name)).unwrap_or_default();
        if !read("cgroup.controllers").split_whitespace().any(|name| name == "memory") {
            return Err("the cgroup v2 hierarchy has no memory controller".into());
        }
        let control = mount.join("cgroup.subtree_control");
        if read("cgroup.subtree_control").split_whitespace().any(|name| name == "memory") {
            return Ok(Self(None));
        }
        fs::write(&control, "+memory")
            .map_err(|error| format!("cannot enable the memory controller: {error}"))?;
        Ok(Self(Some(control)))
    }
}

impl Drop for MemoryController {
    fn drop(&mut self) {
        if let Some(control) = &self.0
            && let Err(error) = fs::write(control, "-memory")
        {
            eprintln!("cannot disable the memory controller: {error}");
        }
    }
}

fn oom() -> Res<()> {
    let made = MemoryController::enable().and_then(|memory| Ok((memory, Cgroup::make("oom")?)));
    let (_memory, cgroup) = match made {
        Ok(made) => made,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&cgroup)?;
    fs::write(cgroup.dir.join("memory.max"), "16777216")?;
    // Absent where swap is not accounted.
    if cgroup.dir.join("memory.swap.max").exists() {
        fs::write(cgroup.dir.join("memory.swap.max"), "0")?;
    }
    let dir = File::open(&cgroup.dir)?;
    let child = sys::clone3(CLONE_INTO_CGROUP, libc::SIGCHLD, Some(dir.as_fd()), || {
        say_task("child")?;
        sys::eat_memory()
    })?;
    equal("killed", &sys::wait(child)?, &-9)
}

fn check_oom(seen: &Observed) -> Res<()> {
    let child = seen.task("child")?;
    let (event, victim, cgroup_id) = seen.one("victim", |event| match event.kind {
        EventKind::OomVictim { task, cgroup_id, .. } => Some((event, task, cgroup_id)),
        _ => None,
    })?;
    truth("the child is the victim", child.is(&victim))?;
    equal("its cgroup", &cgroup_id, &u64::try_from(seen.number("id")?)?)?;
    let (end, _, status) = seen.death(child)?;
    equal("wait status", &status, &9)?;
    in_order(&[event, end])
}
