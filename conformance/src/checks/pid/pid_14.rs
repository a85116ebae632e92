//! PID-14: a nested PID namespace is seen from above and sees nothing above.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use podproof_ebpf::event::EventKind;
use podproof_witness::{Birth, Command};

use super::census::{census, comparison};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::is;

/// `CLONE_NEWPID` (clone(2)).
const CLONE_NEWPID: u64 = 0x2000_0000;
/// Its default action is none, should it reach somebody.
const SIGWINCH: i32 = 28;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-14",
    name: "a_nested_pid_namespace_is_seen_from_above_only",
    level: Level::Must,
    statement: "A nested PID namespace made inside a container is visible from the container and the node, never \
                the other way round.",
    source: "pid_namespaces(7), nesting",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A container whose program makes a child in a PID namespace nested in its own, and another such child \
               that sends signals upwards.",
    inside: "NSpid of the child shows one level more than that of the program; /proc of the container lists the \
             child; kill(2) from the nested namespace to a process of the container, and from the container to the \
             program's number on the node, is ESRCH; no proc file system in the container's mount table lists a \
             process that is not of the container.",
    kernel: "The child is born with CLONE_NEWPID, one level deeper; a census of the container's PID namespace and \
             of those nested in it against the entries of each proc file system in its mount table, read from the \
             node through /proc/PID/root.",
    defects: &[("pid-14-second-proc", "the node's /proc is mounted in the container at a second place")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.alone("a")?;
    let timeout = cell.deadline(10.0);
    let pid = container.outer_pid();
    let link = container.witness()?;
    let command = Command::ForkSleepers { count: 1, sessions: false };
    let sleepers: Vec<i32> = link.ask_as(command, timeout)?;
    let nested: u64 = link.ask_as(Command::ForkNested, timeout)?;
    let upwards: Vec<i32> = link.ask_as(Command::FindFromNested { pids: sleepers.clone() }, timeout)?;
    let outwards: i32 = link.ask_as(Command::SignalFromChild { pid, signal: SIGWINCH }, timeout)?;
    let known: BTreeSet<u64> = sleepers
        .iter()
        .filter_map(|pid| u64::try_from(*pid).ok())
        .chain([nested, u64::from(link.hello.birth.pid)])
        .collect();
    let birth: Birth = link.ask_as(Command::Report, timeout)?;
    let (mut strangers, mut is_listed) = (0, false);
    for path in proc_mounts(&birth.mountinfo.unwrap_or_default()) {
        let names: Vec<String> = link.ask_as(Command::ListDir { path: path.clone() }, timeout)?;
        let listed: BTreeSet<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        strangers += listed.difference(&known).count();
        is_listed |= path == "/proc" && listed.contains(&nested);
    }
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let levels = |pid: i32| process::ns_pids(pid).map(|numbers| numbers.len());
    let born = trace.births().find(|birth| is(birth.child.parent, pid) && birth.flags & CLONE_NEWPID != 0);
    if let Some(levels) = levels(pid) {
        evidence.inside("levels.container", levels, format!("node: NSpid of /proc/{pid}/status"));
    }
    // Its number on the node, as the kernel tells it; what is read of it there is read by the suite.
    let nested_pid = born.map_or(0, |birth| birth.child.task.tgid.cast_signed());
    if let Some(levels) = levels(nested_pid) {
        evidence.inside("levels.nested", levels, format!("node: NSpid of /proc/{nested_pid}/status"));
    }
    evidence.inside("nested.listed", is_listed, "witness a: entries of /proc");
    evidence.inside("errno.upwards", upwards, "witness a: kill(2) in a nested child, to the container's");
    evidence.inside("errno.outwards", outwards, "witness a: kill(2) to its number on the node");
    let source =
        "witness a: entries of all proc file systems that its mount table shows, against its processes";
    evidence.inside("strangers.inside", strangers, source);
    if let (Some(birth), Some(exec)) = (born, trace.exec_of(pid, &container.program)) {
        evidence.kernel("levels.container", exec.task.ns_pids.len(), exec.event.source.clone());
        evidence.kernel("levels.nested", birth.child.ns_pids.len(), birth.event.source.clone());
        let census = census(&trace, &exec).unwrap_or_default();
        let strangers = strangers_outside(pid, &census)?;
        let source = format!("proc file systems of /proc/{pid}/mountinfo against tp_btf/task_newtask");
        evidence.kernel("strangers.outside", strangers, source);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::NewTask { .. } | EventKind::SignalGenerate { .. } | EventKind::Mount { .. })
    });
    Ok(evidence)
}

/// Where a mount table shows whole proc file systems.
fn proc_mounts(mountinfo: &str) -> Vec<String> {
    let is_proc = |mount: &process::Mount| mount.fstype == "proc" && mount.root == "/";
    process::mounts(mountinfo).into_iter().filter(is_proc).map(|mount| mount.target).collect()
}

/// Entries of the proc file systems in a process's mount table that are not of its PID namespace.
fn strangers_outside(pid: i32, census: &BTreeSet<u64>) -> Result<u64, Obstacle> {
    let path = PathBuf::from(format!("/proc/{pid}/mountinfo"));
    let failed = |op, path: PathBuf| move |source| Obstacle::Node { op, path, source };
    let table = fs::read_to_string(&path).map_err(failed("read", path.clone()))?;
    let mut strangers = 0;
    for target in proc_mounts(&table) {
        let proc = PathBuf::from(format!("/proc/{pid}/root{target}"));
        let listed = process::listed_pids(&proc).map_err(failed("list", proc.clone()))?;
        let compared = comparison(census, &listed.into_iter().collect());
        let found = compared.iter().find(|(key, _)| *key == "strangers");
        strangers += found.and_then(|(_, value)| value.as_u64()).unwrap_or(0);
    }
    Ok(strangers)
}

fn levels(side: &Side<'_>) -> Result<Finding, Gap> {
    let (container, nested) = (side.number("levels.container")?, side.number("levels.nested")?);
    Ok(Finding::new(
        nested == container + 1,
        "the nested process has one number more than the container's",
        format!("the container's program has {container} numbers, the nested process {nested}"),
    ))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (upwards, outwards) = (side.numbers("errno.upwards")?, side.number("errno.outwards")?);
    let esrch = Errno::ESRCH as u64;
    let hidden = !upwards.is_empty() && upwards.iter().chain([&outwards]).all(|errno| *errno == esrch);
    let (is_listed, strangers) = (side.flag("nested.listed")?, side.number("strangers.inside")?);
    Ok(levels(side)?
        .and(Finding::new(
            is_listed,
            "the container sees the nested process",
            if is_listed { "it is in /proc" } else { "it is not in /proc" },
        ))
        .and(Finding::new(
            hidden,
            "no signal goes upwards (ESRCH)",
            format!("kill(2) upwards gave {upwards:?}, to the node {outwards}"),
        ))
        .and(no_strangers(strangers)))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    Ok(levels(side)?.and(no_strangers(side.number("strangers.outside")?)))
}

fn no_strangers(strangers: u64) -> Finding {
    Finding::new(
        strangers == 0,
        "no proc file system of the container shows other processes",
        format!("{strangers} processes that are not the container's are shown"),
    )
}
