//! PID-22: what a container may read of a sibling's process.

use nix::errno::Errno;
use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::Command;

use super::users::{self, User};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::witness::WitnessError;

/// Number of `CAP_SYS_PTRACE` (capabilities(7)).
const CAP_SYS_PTRACE: u8 = 19;

const TARGET: User = User { name: "target", id: 1000, capabilities: &[] };
/// Who reads, and whether it may.
const READERS: [(User, bool); 4] = [
    (User { name: "same", id: 1000, capabilities: &[] }, true),
    (User { name: "other", id: 2000, capabilities: &[] }, false),
    // As root in most containers: file permissions do not stop it (environ is its owner's only), the check does.
    (User { name: "root", id: 0, capabilities: &["CAP_DAC_OVERRIDE", "CAP_KILL"] }, false),
    (User { name: "tracer", id: 0, capabilities: &["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE"] }, true),
];

const REQUIREMENT: Requirement = Requirement {
    id: "PID-22",
    name: "siblings_are_read_by_the_ptrace_access_check",
    level: Level::Must,
    statement: "A sibling's root directory and environment are reachable through /proc/<pid>/root and environ only \
                when the ptrace access check passes.",
    source: "proc(5); ptrace(2), ptrace access mode checking; Kubernetes share-process-namespace",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and five containers that join its PID namespace. One runs as user 1000. Of the others one \
               runs as the same user, one as user 2000, one as root with CAP_DAC_OVERRIDE but without \
               CAP_SYS_PTRACE and one as root with both; each reads the environment of the first one's program and lists its root directory.",
    inside: "Both succeed for the same user and for CAP_SYS_PTRACE, and are EACCES for the others.",
    // The check itself has no hook; it depends on nothing but these.
    kernel: "What the check depends on, when the programs are executed: their users, and that none has \
             CAP_SYS_PTRACE but the one that was given it; all are in one PID namespace (sched_process_exec).",
    defects: &[("pid-22-ptrace-for-root", "containers that run as root are given CAP_SYS_PTRACE")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let sandbox = cell.sandbox("pause")?;
    let target = TARGET.start(cell, &sandbox)?;
    let number = target.link.as_ref().map_or(0, |link| link.hello.birth.pid);
    let mut evidence = Evidence::default();
    let mut readers = Vec::new();
    for (user, _) in READERS {
        let mut reader = user.start(cell, &sandbox)?;
        let environ = Command::ReadFile { path: format!("/proc/{number}/environ") };
        let root = Command::ListDir { path: format!("/proc/{number}/root/") };
        for (what, command) in [("environ", environ), ("root", root)] {
            let errno = errno(cell, &mut reader, command)?;
            let source = format!("witness {}: reads /proc/{number}/{what}", user.name);
            evidence.inside(&format!("{what}.{}", user.name), errno, source);
        }
        readers.push(reader);
    }
    let trace = cell.trace()?;
    for container in readers.iter().chain([&target]) {
        facts::kernel_ns(&mut evidence, &trace, container, NsKind::Pid);
        users::credentials(&mut evidence, &trace, container, CAP_SYS_PTRACE);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

/// The error number that a command of the witness ends with, 0 for none.
fn errno(cell: &Cell<'_>, reader: &mut Container, command: Command) -> Result<i32, Obstacle> {
    match reader.witness()?.ask(command, cell.deadline(5.0)) {
        Ok(_) => Ok(0),
        Err(WitnessError::Failed { source, .. }) => Ok(source.raw_os_error().unwrap_or(0)),
        Err(error) => Err(error.into()),
    }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut finding = Finding::new(true, "", "");
    for (user, may) in READERS {
        let wanted = if may { 0 } else { Errno::EACCES as u64 };
        for what in ["environ", "root"] {
            let errno = side.number(&format!("{what}.{}", user.name))?;
            finding = finding.and(Finding::new(
                errno == wanted,
                format!("{what} gives {} {wanted}", user.name),
                format!("{what} gave {} {errno}", user.name),
            ));
        }
    }
    Ok(finding)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let spaces = ["pid.target", "pid.same", "pid.other", "pid.root", "pid.tracer"];
    let mut finding = facts::all_equal(side, "PID namespace", &spaces)?;
    for user in READERS.iter().map(|(user, _)| user).chain([&TARGET]) {
        let name = user.name;
        let (uid, is_capable) =
            (side.number(&format!("uid.{name}"))?, side.flag(&format!("capable.{name}"))?);
        let wanted = user.capabilities.contains(&"CAP_SYS_PTRACE");
        finding = finding.and(Finding::new(
            uid == u64::from(user.id) && is_capable == wanted,
            format!("{name} has user {} and CAP_SYS_PTRACE: {wanted}", user.id),
            format!("{name} has user {uid} and CAP_SYS_PTRACE: {is_capable}"),
        ));
    }
    Ok(finding)
}
