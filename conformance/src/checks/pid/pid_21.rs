//! PID-21: who may signal whom in a shared PID namespace.

use nix::errno::Errno;
use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::Command;
use serde_json::Value;

use super::users::{self, User};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

const SIGUSR1: i32 = 10;
/// Number of `CAP_KILL` (capabilities(7)).
const CAP_KILL: u8 = 5;

const TARGET: User = User { name: "target", id: 1000, capabilities: &[] };
/// Who sends, and whether it may.
const SENDERS: [(User, bool); 4] = [
    (User { name: "same", id: 1000, capabilities: &[] }, true),
    (User { name: "other", id: 2000, capabilities: &[] }, false),
    (User { name: "bare", id: 0, capabilities: &[] }, false),
    (User { name: "capable", id: 0, capabilities: &["CAP_KILL"] }, true),
];

const REQUIREMENT: Requirement = Requirement {
    id: "PID-21",
    name: "siblings_signal_each_other_by_uid_or_capability",
    level: Level::Must,
    statement: "In a process-sharing pod a container may signal a sibling's process when UIDs match or it holds \
                CAP_KILL, and otherwise gets EPERM.",
    source: "kill(2); Kubernetes share-process-namespace",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and five containers that join its PID namespace. One runs as user 1000 and has handlers. \
               Of the others one runs as the same user, one as user 2000, one as root without capabilities and one \
               as root with CAP_KILL; each sends it a signal.",
    inside: "kill(2) succeeds for the same user and for CAP_KILL, and is EPERM for the others; two signals are \
             caught.",
    kernel: "The signal is generated for the program by the same user and by the one with CAP_KILL, and by nobody \
             else (signal_generate); all are executed in one PID namespace with the users and the capability that \
             were configured.",
    defects: &[("pid-21-kill-for-all", "CAP_KILL is granted to every container, also to those of users")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let timeout = cell.deadline(5.0);
    let sandbox = cell.sandbox("pause")?;
    let mut target = TARGET.start(cell, &sandbox)?;
    let link = target.witness()?;
    link.ask(Command::CatchAllSignals, timeout)?;
    let number = i32::try_from(link.hello.birth.pid).unwrap_or(0);
    let mut evidence = Evidence::default();
    let mut senders = Vec::new();
    for (user, _) in SENDERS {
        let mut sender = user.start(cell, &sandbox)?;
        let command = Command::SignalFromChild { pid: number, signal: SIGUSR1 };
        let errno: i32 = sender.witness()?.ask_as(command, timeout)?;
        let source = format!("witness {}: kill(2) in a child", user.name);
        evidence.inside(&format!("errno.{}", user.name), errno, source);
        senders.push(sender);
        // One at a time: a signal that is pending already is not queued a second time.
        if errno == 0 {
            let timeout_ms = millis(cell.deadline(2.0));
            let command = Command::CaughtSignals { at_least: 1, timeout_ms };
            let caught: Vec<Value> = target.witness()?.ask_as(command, timeout)?;
            let source = "witness target: its handler";
            evidence.inside(&format!("caught.{}", user.name), caught.len(), source);
        }
    }
    let trace = cell.trace()?;

    let pid = target.outer_pid();
    for container in senders.iter().chain([&target]) {
        facts::kernel_ns(&mut evidence, &trace, container, NsKind::Pid);
        users::credentials(&mut evidence, &trace, container, CAP_KILL);
    }
    for sender in &senders {
        let children: Vec<u32> = trace
            .births()
            .filter(|birth| is(birth.child.parent, sender.outer_pid()))
            .map(|birth| birth.child.task.tgid)
            .collect();
        let generated = trace
            .signals_to(pid)
            .filter(|sent| {
                sent.signal == SIGUSR1.unsigned_abs() && children.contains(&sent.event.current.tgid)
            })
            .count();
        let name = &sender.name;
        evidence.kernel(&format!("tried.{name}"), children.len(), "tp_btf/task_newtask: children that send");
        let source = "tp_btf/signal_generate: for the program, by these children, up to the fence";
        evidence.kernel(&format!("generated.{name}"), generated, source);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { target, .. } => is(*target, pid),
        EventKind::Exec { .. } => true,
        _ => false,
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut finding = Finding::new(true, "", "");
    for (user, may) in SENDERS {
        let name = user.name;
        let errno = side.number(&format!("errno.{name}"))?;
        let wanted = if may { 0 } else { Errno::EPERM as u64 };
        finding = finding.and(Finding::new(
            errno == wanted,
            format!("kill(2) of {name} gives {wanted}"),
            format!("kill(2) of {name} gave {errno}"),
        ));
        if finding.holds && may {
            let caught = side.number(&format!("caught.{name}"))?;
            finding =
                finding.and(Finding::new(caught == 1, "one is caught", format!("{caught} were caught")));
        }
    }
    Ok(finding)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut finding = Finding::new(true, "", "");
    for (user, may) in SENDERS {
        let name = user.name;
        let generated = side.number(&format!("generated.{name}"))?;
        if side.number(&format!("tried.{name}"))? == 0 {
            return Err(Gap(format!("a child of {name} that sends")));
        }
        finding = finding.and(Finding::new(
            generated == u64::from(may),
            format!("{} of {name}", if may { "one signal" } else { "no signal" }),
            format!("{generated} of {name}"),
        ));
        let (uid, is_capable) =
            (side.number(&format!("uid.{name}"))?, side.flag(&format!("capable.{name}"))?);
        let wanted = !user.capabilities.is_empty();
        finding = finding.and(Finding::new(
            uid == u64::from(user.id) && is_capable == wanted,
            format!("{name} has user {} and CAP_KILL: {wanted}", user.id),
            format!("{name} has user {uid} and CAP_KILL: {is_capable}"),
        ));
    }
    let spaces = ["pid.target", "pid.same", "pid.other", "pid.bare", "pid.capable"];
    Ok(finding.and(facts::all_equal(side, "PID namespace", &spaces)?))
}
