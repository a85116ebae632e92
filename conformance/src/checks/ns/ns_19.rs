//! NS-19: namespaces that no process is in are kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use podproof_ebpf::event::{EventKind, NsKind, NsSet};
use podproof_witness::{Birth, Command};

use super::matrix;
use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::{Trace, inode};

/// What a pod shares.
const KINDS: [NsKind; 3] = [NsKind::Net, NsKind::Ipc, NsKind::Uts];
/// The runs of the container, as the facts call them.
const RUNS: [&str; 2] = ["a-0", "a-1"];
/// Left in the IPC namespace by the first run.
const TEXT: &str = "left by a";
/// Given to the UTS namespace by the first run.
const NAME: &str = "named-by-a";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-19",
    name: "namespaces_without_a_process_are_kept",
    level: Level::Must,
    statement: "An engine that runs no sandbox process must pin each shared namespace so that it survives with zero tasks.",
    source: "namespaces(7), lifetime of a namespace; CRI-O's drop_infra_ctr",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with restartPolicy OnFailure and the container a, which leaves a shared memory segment and another host \
               name, and exits with 1. Skipped where another process is in its network, IPC or UTS namespace, as pause is.",
    inside: "The next run reads the same inodes for net, ipc and uts, the same network cookie, the text in the segment and the \
             host name.",
    kernel: "At the end of the first run no process is in the three namespaces (task_newtask, setns, unshare, \
             sched_process_exec, sched_process_exit), the program is executed in the same ones again, and none of them was \
             made in between (task_newtask, unshare).",
    defects: &[(
        "ns-19-only-net",
        "no process but the containers' own is in their namespaces, and only the network namespace is kept",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let manifest = Manifest::of_witnesses("pod", &["a"]).restarted("OnFailure");
    // Without what says that there is a sandbox, which other checks need.
    succeeded(&cell.try_pod("run", &manifest)?)?;
    let pod = cell.pod_name(&manifest.name);
    let mut first = cell.member(&pod, "a")?;
    no_sandbox(&first)?;
    let (key, timeout) = (facts::shm_key(19), cell.deadline(5.0));
    first.witness()?.ask(Command::ShmCreate { key, text: TEXT.to_owned() }, timeout)?;
    first.witness()?.ask(Command::SetHostname { name: NAME.to_owned() }, timeout)?;
    let mut evidence = Evidence::default();
    let [name, next] = RUNS;
    name.clone_into(&mut first.name);
    born_into(&mut evidence, &first);
    let (pid, program) = (first.outer_pid(), first.program.clone());
    pods::exit(&mut first, 1)?;
    // The suite's end of the connection would keep the network namespace.
    drop(first);

    let mut second = cell.member(&pod, "a")?;
    next.clone_into(&mut second.name);
    born_into(&mut evidence, &second);
    let report: Birth = second.witness()?.ask_as(Command::Report, timeout)?;
    evidence.inside("hostname", report.hostname, "witness a-1: uname(2)");
    let read = second.witness()?.ask(Command::ShmRead { key }, timeout)?;
    let text = read["text"].as_str().unwrap_or_default();
    evidence.inside("segment.text", text, format!("witness a-1: shmat(2) of key {key:#x}"));
    if read["errno"] == 0 {
        second.witness()?.ask(Command::ShmRemove { key }, timeout)?;
    }
    kernel_side(&mut evidence, &cell.trace()?, [pid, second.outer_pid()], &program);
    Ok(evidence)
}

/// Skips when another process is in a namespace that a container shares: the requirement is about engines without one.
fn no_sandbox(container: &Container) -> Result<(), Obstacle> {
    let own = container.outer_pid();
    let namespaces = process::namespaces(own);
    let pids = process::listed_pids(Path::new("/proc")).map_err(|source| Obstacle::Node {
        op: "list",
        path: "/proc".into(),
        source,
    })?;
    for pid in pids.into_iter().filter_map(|pid| i32::try_from(pid).ok()).filter(|pid| *pid != own) {
        let of = process::namespaces(pid);
        let is_shared = |kind: &NsKind| {
            let name = kind.proc_name();
            of.contains_key(name) && of.get(name) == namespaces.get(name)
        };
        if let Some(kind) = KINDS.iter().find(|kind| is_shared(kind)) {
            let program = process::program(pid).unwrap_or_default();
            return Err(Obstacle::Skip(format!(
                "the engine runs a sandbox process: {pid} ({program}) holds the pod's {kind} namespace"
            )));
        }
    }
    Ok(())
}

fn born_into(evidence: &mut Evidence, run: &Container) {
    for kind in KINDS {
        facts::inside_ns(evidence, run, kind.proc_name());
    }
    if let Some(cookie) = run.link.as_ref().and_then(|link| link.hello.birth.net_cookie) {
        let name = &run.name;
        evidence.inside(&format!("cookie.{name}"), cookie, format!("witness {name}: SO_NETNS_COOKIE"));
    }
}

fn kernel_side(evidence: &mut Evidence, trace: &Trace, runs: [i32; 2], program: &str) {
    let [first, second] = runs.map(|pid| trace.exec_of(pid, program));
    for (exec, name) in [(first, RUNS[0]), (second, RUNS[1])] {
        for kind in KINDS {
            if let Some(exec) = exec {
                let value = inode(exec.task.ns.get(kind));
                evidence.kernel_if(&format!("{kind}.{name}"), value, exec.event.source.clone());
            }
        }
    }
    if let (Some(first), Some(second), Some(end)) = (first, second, trace.end_of(runs[0])) {
        let source = "tp_btf/task_newtask, setns(2), unshare(2), tp_btf/sched_process_exec and _exit";
        let left = others_in(trace, &first.task.ns, runs[0], end.event.seq);
        evidence.kernel("others", left, format!("{source}: at the end of the first run"));
        for kind in KINDS {
            let made = made_between(trace, kind, second.task.ns.get(kind), end.event.seq..second.event.seq);
            let source = "tp_btf/task_newtask and unshare(2), from the first run's end to the next exec";
            evidence.kernel(&format!("made.{kind}"), made, source);
        }
    }
    facts::keep_trace(evidence, trace, |kind| {
        pods::tells(kind) || matches!(kind, EventKind::Setns { .. } | EventKind::Unshare { .. })
    });
}

/// Processes other than this one that are in one of these namespaces at this point of the trace.
fn others_in(trace: &Trace, namespaces: &NsSet, own: i32, until: u64) -> usize {
    let mut living: BTreeMap<u32, &NsSet> = BTreeMap::new();
    for event in trace.events.iter().take_while(|event| event.seq < until) {
        match &event.kind {
            EventKind::NewTask { child, .. } if child.task.tid == child.task.tgid => {
                living.insert(child.task.tgid, &child.ns);
            }
            EventKind::Exec { task, .. } => {
                living.insert(task.task.tgid, &task.ns);
            }
            EventKind::Setns { ret: 0, after, .. } | EventKind::Unshare { ret: 0, after, .. } => {
                living.insert(event.current.tgid, after);
            }
            EventKind::Exit { task, group_dead: true, .. } => {
                living.remove(&task.task.tgid);
            }
            _ => {}
        }
    }
    let shares = |of: &NsSet| KINDS.iter().any(|kind| of.get(*kind) == namespaces.get(*kind));
    living.iter().filter(|(tgid, of)| i32::try_from(**tgid) != Ok(own) && shares(of)).count()
}

/// How often a namespace with this number was made: one that is gone may leave its number to the next.
fn made_between(trace: &Trace, kind: NsKind, number: Option<u32>, during: Range<u64>) -> usize {
    let is_made = |event: &EventKind| match event {
        EventKind::Unshare { ret: 0, before, after, .. } => {
            after.get(kind) == number && before.get(kind) != number
        }
        EventKind::NewTask { child, flags, .. } => {
            flags & clone_flag(kind) != 0 && child.ns.get(kind) == number
        }
        _ => false,
    };
    trace.events.iter().filter(|event| during.contains(&event.seq) && is_made(&event.kind)).count()
}

/// `CLONE_NEW*` of clone(2).
fn clone_flag(kind: NsKind) -> u64 {
    match kind {
        NsKind::Uts => 0x0400_0000,
        NsKind::Ipc => 0x0800_0000,
        NsKind::Net => 0x4000_0000,
        _ => 0,
    }
}

fn unchanged(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(KINDS, |kind| matrix::shared(side, kind, &RUNS))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let cookies = facts::all_equal(side, "network cookie", &["cookie.a-0", "cookie.a-1"])?;
    let (text, name) = (side.text("segment.text")?, side.text("hostname")?);
    let left = Finding::new(
        text == TEXT && name == NAME,
        format!("the segment still says `{TEXT}` and the host name is `{NAME}`"),
        format!("the segment says `{text}`, the host name is `{name}`"),
    );
    Ok(unchanged(side)?.and(cookies).and(left))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("others")? > 0 {
        return Err(Gap("a moment without a process in the namespaces".to_owned()));
    }
    let old = matrix::each(KINDS, |kind| {
        let made = side.number(&format!("made.{kind}"))?;
        let expected = format!("no {kind} namespace was made for the second run");
        Ok(Finding::new(
            made == 0,
            expected,
            format!("{made} {kind} namespaces were made for the second run"),
        ))
    })?;
    Ok(unchanged(side)?.and(old))
}
