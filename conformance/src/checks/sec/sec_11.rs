//! SEC-11: a working directory that leads out of the container is refused.

use std::fs;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use podproof_ebpf::event::EventKind;
use podproof_witness::WITNESS_PATH;

use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::witness::Link;

const REQUIREMENT: Requirement = Requirement {
    id: "SEC-11",
    name: "a_working_directory_outside_is_refused",
    level: Level::Must,
    statement: "A working directory that leads out of the container, such as /proc/self/fd/N, is refused at start and at \
                exec.",
    source: "CVE-2024-21626; runtime-spec config.md#process (cwd)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    // The catalog goes up to 30. A runtime that opens its descriptors one after the other has no directory beyond these.
    scenario: "For N from 3 to 14 a container is created and started whose working directory is /proc/self/fd/N, and a \
               process with that working directory is executed in a container that runs.",
    inside: "Each is refused, or the working directory that its program finds is a path below its root (getcwd(2)).",
    kernel: "Of those that run, the working directory (/proc/PID/cwd, opened on the node) lies on a mount that \
             /proc/PID/mountinfo lists below the container's root; of those that are refused no program was executed \
             (sched_process_exec).",
    defects: &[(
        "sec-11-unchecked-cwd",
        "the program of a container begins in a directory that a descriptor of the runtime is open on",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// The descriptors that are tried.
const NUMBERS: RangeInclusive<u32> = 3..=14;
/// How a refusal is told.
const REFUSED: &str = "refused";

/// What was found of one try: by its program, and by the kernel's records.
struct Seen {
    cwd: String,
    mount: String,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let running = cell.container(&Bundle::witness("a"))?;
    let (control, link) = cell.exec_witness(&running, "control", &["--cwd", "/tmp"])?;
    if link.is_none() {
        return Err(Obstacle::Runtime(format!(
            "exec with an ordinary working directory: {}",
            control.summary()
        )));
    }
    let mut evidence = Evidence::default();
    // The container and the control.
    let mut execs = 2_usize;
    for verb in ["create", "exec"] {
        let (mut cwds, mut mounts) = (Vec::new(), Vec::new());
        for number in NUMBERS {
            let directory = format!("/proc/self/fd/{number}");
            let link = if verb == "create" {
                created(cell, number, &directory)?
            } else {
                cell.exec_witness(&running, &format!("x{number}"), &["--cwd", &directory])?.1
            };
            let seen = seen(link.as_ref());
            execs += usize::from(link.is_some());
            cwds.push(format!("{number} {}", seen.cwd));
            mounts.push(format!("{number} {}", seen.mount));
        }
        evidence.inside(
            &format!("cwd.{verb}"),
            cwds,
            "witness: getcwd(2) at birth; or the runtime's refusal",
        );
        let source = "fdinfo of /proc/PID/cwd opened on the node, against /proc/PID/mountinfo";
        evidence.kernel(&format!("mount.{verb}"), mounts, source);
    }
    let trace = cell.trace()?;
    let seen = trace.execs().filter(|exec| exec.filename == WITNESS_PATH).count();
    evidence.kernel("execs.expected", execs, "suite: witnesses that called");
    evidence.kernel("execs", seen, "tp_btf/sched_process_exec, up to the fence");
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

/// Creates and starts a container with this working directory; its witness, unless it was refused.
fn created(cell: &mut Cell<'_>, number: u32, directory: &str) -> Result<Option<Link>, Obstacle> {
    let name = format!("c{number}");
    let bundle = Bundle::witness(&name).with("/process/cwd", directory);
    let (container, created) = cell.try_create(&bundle, &Caller::default())?;
    if !created.ok() && !created.refused() {
        return Err(Obstacle::Runtime(created.summary()));
    }
    let started = created.ok() && cell.call(&["start", &container.id])?.ok();
    // A runtime that refuses in the container's own process may have answered before.
    let link = if started { cell.hello(&name, cell.deadline(2.0)) } else { None };
    if created.ok() && link.is_none() {
        cell.call(&["delete", "--force", &container.id])?;
    }
    Ok(link)
}

fn seen(link: Option<&Link>) -> Seen {
    let Some(link) = link else { return Seen { cwd: REFUSED.to_owned(), mount: REFUSED.to_owned() } };
    let mount = mount_of_cwd(link.outer_pid).unwrap_or_else(|| "cannot be read".to_owned());
    Seen { cwd: link.hello.birth.cwd.clone(), mount }
}

/// Whether the mount that a process's working directory is on is one of its mount table.
fn mount_of_cwd(pid: i32) -> Option<String> {
    let cwd = format!("/proc/{pid}/cwd");
    let directory = open(cwd.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", directory.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().to_owned();
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    let is_listed = table.lines().any(|line| line.split(' ').next() == Some(id.as_str()));
    Some(if is_listed { INSIDE.to_owned() } else { format!("mount {id}, which is none of the container's") })
}

const INSIDE: &str = "a mount of the container";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    // A path that cannot be reached from the root is told without its slash, or not at all (getcwd(2)).
    finding(side, "cwd", |cwd| cwd == REFUSED || cwd.starts_with('/'))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (seen, expected) = (side.number("execs")?, side.number("execs.expected")?);
    let found = finding(side, "mount", |mount| mount == REFUSED || mount == INSIDE)?;
    let observed = format!("{seen} programs were executed, {expected} of them told of themselves");
    Ok(found.and(Finding::new(seen == expected, "no program of a refused call is executed", observed)))
}

fn finding(side: &Side<'_>, key: &str, is_good: impl Fn(&str) -> bool) -> Result<Finding, Gap> {
    let (mut n_tried, mut n_refused, mut bad) = (0, 0, Vec::new());
    for verb in ["create", "exec"] {
        for entry in side.texts(&format!("{key}.{verb}"))? {
            let (number, what) = entry.split_once(' ').unwrap_or((entry, ""));
            n_tried += 1;
            n_refused += usize::from(what == REFUSED);
            if !is_good(what) {
                bad.push(format!("{verb} with /proc/self/fd/{number}: {what}"));
            }
        }
    }
    let observed = match bad.as_slice() {
        [] => format!("{n_refused} of {n_tried} refused, the others inside"),
        bad => bad.join("; "),
    };
    Ok(Finding::new(bad.is_empty(), "every one refused, or inside the container's root", observed))
}
