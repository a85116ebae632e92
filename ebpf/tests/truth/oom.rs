//! The OOM killer in a cgroup: the victim, the limit that was hit, and the end that it brought.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};
use podproof_ebpf::event::{EventKind, OomConstraint};

use crate::Res;
use crate::cgroups::{CLONE_INTO_CGROUP, Cgroup, say_cgroup};
use crate::observe::{Case, Observed, equal, in_order, truth};
use crate::report::{TaskTruth, cgroup2_mount, say_number, say_skip, say_task};
use crate::sys;

pub(crate) const CASES: &[Case] = &[
    Case { name: "oom::victim", scenario: in_the_limited, check: check_victim },
    Case { name: "oom::limit_of_the_own_cgroup", scenario: in_the_limited, check: check_limit },
    Case { name: "oom::limit_of_an_ancestor", scenario: below_the_limited, check: check_limit },
];

/// Gives the children of the root the memory controller while it lives, to one scenario at a time: the first to take it
/// back would take it from all.
pub(crate) struct MemoryController {
    /// Where it is taken back, if it was not there before.
    control: Option<PathBuf>,
    _alone: Flock<File>,
}

impl MemoryController {
    fn enable() -> Result<Self, String> {
        let mount = cgroup2_mount().ok_or("no cgroup v2 hierarchy is mounted")?;
        let read = |name: &str| fs::read_to_string(mount.join(name)).unwrap_or_default();
        if !read("cgroup.controllers").split_whitespace().any(|name| name == "memory") {
            return Err("the cgroup v2 hierarchy has no memory controller".into());
        }
        let locked = |error| format!("cannot lock {}: {error}", mount.display());
        let dir = File::open(&mount).map_err(|error| locked(error.to_string()))?;
        let alone =
            Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, error)| locked(error.to_string()))?;
        let control = mount.join("cgroup.subtree_control");
        if read("cgroup.subtree_control").split_whitespace().any(|name| name == "memory") {
            return Ok(Self { control: None, _alone: alone });
        }
        fs::write(&control, "+memory")
            .map_err(|error| format!("cannot enable the memory controller: {error}"))?;
        Ok(Self { control: Some(control), _alone: alone })
    }
}

impl Drop for MemoryController {
    fn drop(&mut self) {
        if let Some(control) = &self.control
            && let Err(error) = fs::write(control, "-memory")
        {
            eprintln!("cannot disable the memory controller: {error}");
        }
    }
}

/// A cgroup with a limit on memory, and without swap.
pub(crate) fn limited(name: &str) -> Result<(MemoryController, Cgroup), String> {
    let made = (MemoryController::enable()?, Cgroup::make(name)?);
    let write = |file: &str, value: &str| {
        fs::write(made.1.dir.join(file), value).map_err(|error| format!("cannot write {file}: {error}"))
    };
    write("memory.max", "16777216")?;
    // Absent where swap is not accounted.
    if made.1.dir.join("memory.swap.max").exists() {
        write("memory.swap.max", "0")?;
    }
    Ok(made)
}

/// A child that eats memory in a cgroup until it is killed.
fn eat_in(cgroup: &Cgroup) -> Res<()> {
    say_task("parent")?;
    let dir = File::open(&cgroup.dir)?;
    let child = sys::clone3(CLONE_INTO_CGROUP, libc::SIGCHLD, Some(dir.as_fd()), || {
        say_task("child")?;
        sys::eat_memory()
    })?;
    equal("killed", &sys::wait(child)?, &-9)
}

fn in_the_limited() -> Res<()> {
    // In this order, for they are dropped in the other: first the cgroup, then the controller.
    let (_memory, cgroup) = match limited("oom") {
        Ok(made) => made,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&cgroup)?;
    say_number("limit", i64::try_from(cgroup.id)?)?;
    eat_in(&cgroup)
}

/// The victim's cgroup accounts memory too, but has no limit.
fn below_the_limited() -> Res<()> {
    let (_memory, outer) = match limited("oom-outer") {
        Ok(made) => made,
        Err(reason) => return say_skip(&reason),
    };
    fs::write(outer.dir.join("cgroup.subtree_control"), "+memory")?;
    let inner = Cgroup::make_in(&outer.dir, "inner")?;
    say_cgroup(&inner)?;
    say_number("limit", i64::try_from(outer.id)?)?;
    eat_in(&inner)
}

fn check_victim(seen: &Observed) -> Res<()> {
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

fn of_oom(seen: &Observed, task: &TaskTruth) -> Res<Option<bool>> {
    seen.one("end", |event| match &event.kind {
        EventKind::Exit { task: view, oom, group_dead: true, .. } if task.is(&view.task) => Some(*oom),
        _ => None,
    })
}

fn check_limit(seen: &Observed) -> Res<()> {
    check_victim(seen)?;
    let why = seen.one("victim", |event| match event.kind {
        EventKind::OomVictim { constraint, limit_cgroup_id, .. } => Some((constraint, limit_cgroup_id)),
        _ => None,
    })?;
    let limit = u64::try_from(seen.number("limit")?)?;
    let said = if seen.attached.contains("oom_kill_process") {
        (Some(OomConstraint::Memcg), Some(limit))
    } else {
        (None, None)
    };
    equal("constraint and limit", &why, &said)?;
    equal("the victim ended of it", &of_oom(seen, seen.task("child")?)?, &Some(true))?;
    equal("the parent did not", &of_oom(seen, seen.task("parent")?)?, &Some(false))
}
