//! CG-14: the pids limit stops forks and threads.

use podproof_ebpf::event::EventKind;
use podproof_witness::{Command, WITNESS_PATH};
use serde::Deserialize;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{CLONE_THREAD, Trace, is};

const REQUIREMENT: Requirement = Requirement {
    id: "CG-14",
    name: "pids_limit_stops_forks_and_threads",
    level: Level::Must,
    statement: "pids.max stops the fork that would exceed it, threads included, with EAGAIN.",
    source: "runtime-spec config-linux.md#pids; kernel pids controller",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with a pids limit. Its program forks until it is refused, ends those children, and then \
               starts threads until it is refused.",
    inside: "As many forks and threads succeed as the limit leaves room for, and the next one fails with EAGAIN.",
    kernel: "As many tasks are created (task_newtask), then clone fails with EAGAIN (exit of the call), once \
             for a fork and once for a thread; pids.max is the limit, and pids.events counts max.",
    defects: &[("cg-14-no-pids-limit", "the pids controller's part of the configuration is ignored")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Limits,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// The limit: above what runtimes written in Go need while they start the container.
const LIMIT: u64 = 40;
/// Where an unlimited container stops.
const AT_MOST: u32 = 100;
const EAGAIN: u64 = 11;

#[derive(Debug, Deserialize)]
struct Refused {
    made: u64,
    errno: u64,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let bundle = Bundle::witness("a").with("/linux/resources/pids/limit", LIMIT);
    let mut container = cell.container(&bundle)?;
    let cgroup = container.v2();
    let mut evidence = Evidence::default();
    let timeout = cell.deadline(20.0);
    // Forks first: a joined thread is released a moment after its join.
    let attempts = [
        ("forks", Command::ForkUntilRefused { at_most: AT_MOST }),
        ("threads", Command::ThreadsUntilRefused { at_most: AT_MOST }),
    ];
    for (what, attempt) in attempts {
        let current = cgroup.read("pids.current").ok().and_then(|text| text.parse::<u64>().ok());
        if let Some(current) = current {
            let source = format!("{}/pids.current before the attempt", cgroup.dir().display());
            facts::told(&mut evidence, &format!("{what}.before"), current, &source);
        }
        let refused: Refused = container.witness()?.ask_as(attempt, timeout)?;
        evidence.inside(&format!("{what}.made"), refused.made, "witness a: attempts that succeeded");
        evidence.inside(&format!("{what}.errno"), refused.errno, "witness a: the attempt that did not");
    }
    let trace = cell.trace()?;
    for (what, is_thread) in [("forks", false), ("threads", true)] {
        let (made, refused) = clones(&trace, container.pid, is_thread);
        evidence.kernel(&format!("{what}.made"), made, "tp_btf/task_newtask, up to the fence");
        evidence.kernel(&format!("{what}.refused"), refused, "tp_btf/sys_exit of clone, up to the fence");
    }
    let limit = cgroup.read("pids.max").unwrap_or_else(|error| error.to_string());
    evidence.kernel("pids.max", limit, format!("{}/pids.max", cgroup.dir().display()));
    let source = format!("{}/pids.events", cgroup.dir().display());
    evidence.kernel_if("pids.events.max", cgroup.keyed("pids.events", "max"), source);
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::CloneFailed { .. })
    });
    Ok(evidence)
}

/// Forks or threads that the program made, and those that it was refused with EAGAIN.
fn clones(trace: &Trace, pid: i32, is_thread: bool) -> (usize, usize) {
    let begin = trace.exec_of(pid, WITNESS_PATH).map_or(u64::MAX, |exec| exec.event.seq);
    let wanted = |clone_flags: u64| (clone_flags & CLONE_THREAD != 0) == is_thread;
    let (mut made, mut refused) = (0, 0);
    for event in trace.events.iter().filter(|event| event.seq > begin && is(event.current, pid)) {
        match event.kind {
            EventKind::NewTask { flags, .. } if wanted(flags) => made += 1,
            EventKind::CloneFailed { flags, errno }
                if wanted(flags) && u64::try_from(errno) == Ok(EAGAIN) =>
            {
                refused += 1;
            }
            _ => {}
        }
    }
    (made, refused)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut all = Finding::new(true, "", "");
    for what in ["forks", "threads"] {
        let (before, made, errno) = (
            side.number(&format!("{what}.before"))?,
            side.number(&format!("{what}.made"))?,
            side.number(&format!("{what}.errno"))?,
        );
        let expected = format!("{what} up to {LIMIT} tasks in all, then EAGAIN");
        let observed = format!("{made} {what} beside {before} tasks, then errno {errno} (0: none failed)");
        all = all.and(Finding::new(before + made == LIMIT && errno == EAGAIN, expected, observed));
    }
    Ok(all)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (limit, hits) = (side.text("pids.max")?, side.number("pids.events.max").unwrap_or(0));
    let mut all = Finding::new(
        limit == LIMIT.to_string() && hits > 0,
        format!("pids.max is {LIMIT} and was hit"),
        format!("pids.max is {limit} and was hit {hits} times"),
    );
    for what in ["forks", "threads"] {
        let (before, made, refused) = (
            side.number(&format!("{what}.before"))?,
            side.number(&format!("{what}.made"))?,
            side.number(&format!("{what}.refused"))?,
        );
        let expected = format!("{what} up to {LIMIT} tasks in all, then a clone that fails with EAGAIN");
        let observed = format!("{made} {what} beside {before} tasks, {refused} refused with EAGAIN");
        all = all.and(Finding::new(before + made == LIMIT && refused > 0, expected, observed));
    }
    Ok(all)
}
