//! Steps of `create` that fail: the user is told why, and nothing is left.

use std::fs;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use crate::fixture::{Cell, output, refuse};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("failure::of_the_network", of_the_network),
    ("failure::of_a_program_that_is_none", of_a_program_that_is_none),
    ("failure::of_controllers", of_controllers),
    ("failure::of_each_cgroup", of_each_cgroup),
    ("failure::of_each_process", of_each_process),
    ("failure::of_files_for_want_of_room", of_files_for_want_of_room),
];

fn sleeper(cell: &Cell) -> Value {
    cell.pod("failing", &[cell.container("main", "exec sleep 1000")])
}

/// What `create` says that must fail; `None` when the pod was created.
fn told(cell: &Cell, more: &[&str]) -> Result<Option<String>, Failed> {
    let output = output(cell.command("create", &sleeper(cell), more)?)?;
    if output.status.success() {
        return Ok(None);
    }
    let said = refuse(&output)?;
    if said.contains("is left") {
        return fail(format!("create says {said:?}"));
    }
    let entries = |name: &str| fs::read_dir(cell.root().join(name)).map_or(0, Iterator::count);
    for name in ["pods", "network", "containers"] {
        expect(&format!("{name} after {said:?}"), entries(name), 0)?;
    }
    Ok(Some(said))
}

/// Fails unless `create` fails with these words, and leaves nothing.
fn expect_failure(cell: &Cell, more: &[&str], words: &str) -> Result<(), Failed> {
    match told(cell, more)? {
        Some(said) if said.contains(words) => cell.expect_clean(),
        said => fail(format!("create says {said:?} instead of {words:?}")),
    }
}

fn of_the_network() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // The sandbox runs by the time when addresses are compared with those of the node.
    let ip = |verb: &str| {
        let mut command = Command::new("/bin/busybox");
        command.args(["ip", "address", verb, "10.213.8.1/24", "dev", "lo"]);
        output(command)
    };
    expect("ip", ip("add")?.status.code(), Some(0))?;
    let failed = expect_failure(&cell, &["--network", "bridge:pt1,10.213.8.0/24"], "10.213.8.1");
    expect("ip", ip("del")?.status.code(), Some(0))?;
    failed
}

fn of_a_program_that_is_none() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let program = cell.path().join("text");
    fs::write(&program, "no program")?;
    let path = program.display().to_string();
    expect_failure(&cell, &["--pause", &path], "pause")
}

/// Ended on drop.
struct Sleep(Child);

impl Drop for Sleep {
    fn drop(&mut self) {
        // Best effort: a process that is left is seen by its cgroup.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn of_controllers() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // A cgroup that has processes cannot hand controllers down.
    let sleep = Sleep(Command::new("/bin/busybox").args(["sleep", "1000"]).stdin(Stdio::null()).spawn()?);
    fs::write(cell.cgroup("cgroup.procs"), sleep.0.id().to_string())?;
    expect_failure(&cell, &[], "cgroup.subtree_control")?;
    drop(sleep);
    if let Some(said) = told(&cell, &[])? {
        return fail(format!("create says {said:?} without the process"));
    }
    cell.clean(&["failing"])
}

/// With this file of the parent cgroup from 0 on, until the pod is created; how often it was not.
fn failures(cell: &Cell, file: &str) -> Result<u32, Failed> {
    for limit in 0..20 {
        fs::write(cell.cgroup(file), limit.to_string())?;
        if told(cell, &[])?.is_none() {
            cell.clean(&["failing"])?;
            return Ok(limit);
        }
        cell.expect_clean()
            .map_err(|error| format!("{file} of {limit}: {}", error.message().unwrap_or("")))?;
    }
    fail(format!("the pod is never created, with {file} of up to 20"))
}

fn of_each_cgroup() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // The pod's, the supervisor's, and the sandbox's.
    expect("failures", failures(&cell, "cgroup.max.descendants")?, 3)
}

fn of_each_process() -> Result<(), Failed> {
    let cell = Cell::new()?;
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+pids")?;
    // The supervisor and the sandbox, at least: some help to make one.
    let n = failures(&cell, "pids.max")?;
    if n < 2 { fail(format!("a pod was created with pids.max of {n}")) } else { Ok(()) }
}

fn of_files_for_want_of_room() -> Result<(), Failed> {
    let cell = Cell::new()?;
    fs::create_dir(cell.root())?;
    for n_files in (2..).step_by(3) {
        let room = format!("nr_inodes={n_files}");
        mount(Some("tmpfs"), &cell.root(), Some("tmpfs"), MsFlags::empty(), Some(room.as_str()))?;
        let said = told(&cell, &[]);
        let is_created = matches!(said, Ok(None));
        let removed = if is_created { cell.ok(&["rm", "--force", "failing"]).map(drop) } else { Ok(()) };
        // Not of a file system that is in use: of a process or mount that is left.
        let unmounted = umount2(&cell.root(), MntFlags::empty());
        if unmounted.is_err() {
            let _detached = umount2(&cell.root(), MntFlags::MNT_DETACH);
        }
        said.map_err(|error| format!("{room}: {}", error.message().unwrap_or_default()))?;
        removed?;
        unmounted.map_err(|errno| format!("{room}: unmount: {errno}"))?;
        cell.expect_clean()?;
        if is_created {
            return if n_files > 10 { Ok(()) } else { fail(format!("created with {room}")) };
        }
    }
    Ok(())
}
