//! PID-04: with process sharing everybody sees everybody, below the sandbox program.

use std::collections::BTreeSet;
use std::path::PathBuf;

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::Command;

use super::census::{census, comparison, exact};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, PAUSE_PATH};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

const MEMBERS: [&str; 2] = ["a", "b"];
/// Children of each container's program.
const SLEEPERS: u32 = 2;
/// The sandbox program, and of each container its program with the children.
const PROCESSES: u32 = 1 + 2 * (1 + SLEEPERS);

const REQUIREMENT: Requirement = Requirement {
    id: "PID-04",
    name: "shared_processes_are_visible_below_the_sandbox",
    level: Level::Must,
    statement: "With process sharing on, PID 1 is the sandbox process and the processes of all containers are \
                visible in each.",
    source: "Kubernetes share-process-namespace",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and two containers that join its PID namespace. The program of each forks two children \
               that sleep.",
    inside: "In both containers /proc/1/cmdline is the sandbox program's, and /proc lists it, both programs and all \
             their children by different numbers, and nothing else.",
    kernel: "All three programs are executed in one PID namespace, pause as number 1 of it; a census of that \
             namespace (creations less ends) against the entries of the file system on each container's /proc, read \
             from the node through /proc/PID/root.",
    defects: &[
        (
            "pid-04-proc-before-join",
            "/proc is mounted before the PID namespace is joined, and shows that of the runtime",
        ),
        (
            "pid-04-second-alone",
            "only the first container joins the PID namespace; each further one gets a new one",
        ),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &MEMBERS)?;
    let timeout = cell.deadline(10.0);
    // One by one: two processes with the same number are not in one namespace.
    let mut made = vec![1];
    for member in &mut pod.members {
        let link = member.witness()?;
        made.push(u64::from(link.hello.birth.pid));
        let command = Command::ForkSleepers { count: SLEEPERS, sessions: false };
        made.extend(link.ask_as::<Vec<u64>>(command, timeout)?);
    }
    let known: BTreeSet<u64> = made.iter().copied().collect();
    let mut evidence = Evidence::default();
    evidence.inside("made", made, "witnesses: their own numbers and those of their children, after PID 1");
    for member in &mut pod.members {
        let name = member.name.clone();
        let link = member.witness()?;
        let read = |path: &str| Command::ReadFile { path: path.to_owned() };
        let line: String = link.ask_as(read("/proc/1/cmdline"), timeout)?;
        let line = line.split('\0').next().unwrap_or_default();
        evidence.inside(&format!("first.{name}"), line, format!("witness {name}: /proc/1/cmdline"));
        let names: Vec<String> = link.ask_as(Command::ListDir { path: "/proc".to_owned() }, timeout)?;
        let listed = names.iter().filter_map(|name| name.parse().ok()).collect();
        for (key, value) in comparison(&known, &listed) {
            let source = format!("witness {name}: entries of /proc against the processes that both made");
            evidence.inside(&format!("inside.{name}.{key}"), value, source);
        }
    }
    let trace = cell.trace()?;

    facts::kernel_ns(&mut evidence, &trace, &pod.sandbox, NsKind::Pid);
    if let Some(exec) = trace.exec_of(pod.sandbox.pid, &pod.sandbox.program) {
        let source = format!("{}: exec of {}", exec.event.source, exec.filename);
        evidence.kernel_if("number.pause", exec.task.ns_pid(), source);
        let census = census(&trace, &exec).unwrap_or_default();
        for member in &pod.members {
            facts::kernel_ns(&mut evidence, &trace, member, NsKind::Pid);
            let proc = PathBuf::from(format!("/proc/{}/root/proc", member.outer_pid()));
            let listed = process::listed_pids(&proc).map_err(|source| Obstacle::Node {
                op: "list",
                path: proc.clone(),
                source,
            })?;
            for (key, value) in comparison(&census, &listed.into_iter().collect()) {
                let source = format!("{} against tp_btf/task_newtask and sched_process_exit", proc.display());
                evidence.kernel(&format!("outside.{}.{key}", member.name), value, source);
            }
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::NewTask { .. } | EventKind::Exec { .. } | EventKind::Setns { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let made = side.numbers("made")?;
    let different: BTreeSet<&u64> = made.iter().collect();
    let mut finding = Finding::new(
        made.len() == PROCESSES as usize && different.len() == made.len(),
        format!("{PROCESSES} processes with different numbers"),
        format!("their numbers are {made:?}"),
    );
    for name in MEMBERS {
        let first = side.text(&format!("first.{name}"))?;
        finding = finding.and(Finding::new(
            first == PAUSE_PATH,
            format!("PID 1 is {PAUSE_PATH} in {name}"),
            format!("PID 1 is {first} in {name}"),
        ));
        if finding.holds {
            finding = finding.and(exact(side, &format!("inside.{name}"), PROCESSES)?);
        }
    }
    Ok(finding)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let number = side.number("number.pause")?;
    let mut finding = facts::all_equal(side, "PID namespace", &["pid.pause", "pid.a", "pid.b"])?
        .and(Finding::new(number == 1, "pause is number 1", format!("pause is number {number}")));
    for name in MEMBERS {
        if finding.holds {
            finding = finding.and(exact(side, &format!("outside.{name}"), PROCESSES)?);
        }
    }
    Ok(finding)
}
