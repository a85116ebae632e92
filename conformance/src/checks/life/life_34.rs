//! LIFE-34: a crash of one container leaves the others of its pod alone.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use podproof_ebpf::event::EventKind;
use podproof_witness::{Birth, Command, WITNESS_PATH};
use serde::Deserialize;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly, joining, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{Trace, is};
use crate::observe::{process, tcp};

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-34",
    name: "a_crash_leaves_the_siblings_alone",
    level: Level::Must,
    statement: "A crash of one container (SEGV, memory kill, exit 1) leaves siblings' processes, sockets and shared \
                namespaces untouched.",
    source: "Kubernetes concepts/workloads/pods (the pod's shared context outlives its containers)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "In one pod b holds a TCP connection to a over localhost, and texts go there and back. Beside them a \
               container exits with 1, one faults, and one touches more memory than it may; each is deleted by the \
               runtime when it has ended. After each deletion a further text goes over the same connection.",
    inside: "Every text comes back, before and after; a and b have the network cookie and the namespaces that they were \
             born with.",
    kernel: "The three end with code 1, by SIGSEGV and as victims of the OOM killer (sched_process_exit, mark_victim); \
             neither a nor b nor the sandbox ends or is sent a signal; the sockets at both ends of the connection are the \
             same, established, before and after.",
    defects: &[(
        "life-34-pod-taken-down",
        "the delete of a container that crashed ends the others of its pod",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// The containers that end, and with which wait status (wait(2)).
const CRASHING: [(&str, i32); 3] = [("exits", 1 << 8), ("faults", libc::SIGSEGV), ("swells", libc::SIGKILL)];
/// Memory limit of the one that swells, bytes: room for the start of a runtime written in Go.
const LIMIT: u64 = 32 << 20;
/// What it touches, bytes.
const TOUCHED: u64 = 48 << 20;
/// Kinds of namespaces that a pod shares.
const SHARED: [&str; 3] = ["net", "ipc", "uts"];

#[derive(Debug, Deserialize)]
struct Got {
    errno: i32,
    #[serde(default)]
    local_port: u16,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.pod(false, &["a", "b"])?;
    let timeout = cell.deadline(10.0);
    let [a, b] = exactly(&mut pod.members)?;
    let serve = Command::HttpServe { port: 0, body: "a".to_owned() };
    let port: u16 = a.witness()?.ask_as(serve, timeout)?;
    let got: Got = b.witness()?.ask_as(Command::HttpGet { port }, timeout)?;
    if got.errno != 0 {
        return Err(Obstacle::Runtime(format!("b cannot connect to a (errno {})", got.errno)));
    }
    let ends = |a: &Container, b: &Container| ends(a, b, port, got.local_port);
    let before = ends(&*a, &*b);
    let mut echoed = vec![echo(b, "before", timeout)];
    let mut evidence = Evidence::default();
    let mut crashed = Vec::new();
    for (name, expected) in CRASHING {
        let container = crash(cell, pod.sandbox.pid, name)?;
        let status = cell.wait(container.pid, cell.deadline(20.0))?;
        let status = status.map(ExitStatusExt::into_raw);
        // The kernel adds a core dump where it makes one.
        let bare = status.map(|status| if status & 0x7f == 0 { status } else { status & 0x7f });
        if bare != Some(expected) {
            let what = format!("the container {name} did not end as it should: wait status {status:?}");
            return Err(Obstacle::Runtime(what));
        }
        cell.delete(&container.id)?;
        crashed.push(container);
        echoed.push(echo(b, name, timeout));
    }
    evidence.inside("echoed", echoed, "witness b: texts that came back over its connection to a");
    for member in [&mut *a, &mut *b] {
        let name = member.name.clone();
        let witness = member.witness()?;
        let born = witness.hello.birth.clone();
        let now = witness.ask_as::<Birth>(Command::Report, timeout);
        let same = now.is_ok_and(|now| {
            now.net_cookie == born.net_cookie
                && SHARED.iter().all(|kind| now.ns.get(*kind) == born.ns.get(*kind))
        });
        let source = format!("witness {name}: SO_NETNS_COOKIE and /proc/self/ns, against its birth");
        evidence.inside(&format!("namespaces_kept.{name}"), same, source);
    }
    let after = ends(&*a, &*b);
    let trace = cell.trace()?;
    for (container, (_, expected)) in crashed.iter().zip(CRASHING) {
        ended(&mut evidence, &trace, container, expected);
    }
    let source = "/proc/PID/net/tcp with /proc/PID/fd of a and b, read on the node: inodes of both ends";
    evidence.kernel("ends.before", before, source);
    evidence.kernel("ends.after", after, source);
    for container in std::iter::once(&pod.sandbox).chain(&pod.members) {
        let (name, pid) = (&container.name, container.outer_pid());
        let lives = trace.end_of(pid).is_none() && process::state(pid).is_some_and(|state| state != 'Z');
        evidence.kernel(
            &format!("lives.{name}"),
            lives,
            "tp_btf/sched_process_exit, up to the fence; /proc/PID/status",
        );
        // A runtime's own process may send itself signals before it becomes the program.
        let begin = trace.exec_of(pid, &container.program).map_or(u64::MAX, |exec| exec.event.seq);
        let sent = trace.signals_to(pid).filter(|sent| sent.event.seq > begin).count();
        evidence.kernel(
            &format!("signals.{name}"),
            sent,
            "tp_btf/signal_generate, from its exec up to the fence",
        );
    }
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::Exit { .. } | EventKind::OomVictim { .. } | EventKind::Setns { .. } => true,
        // What the threads of a Go runtime send each other tells nothing.
        EventKind::SignalGenerate { signal, .. } => *signal != libc::SIGURG.unsigned_abs(),
        _ => false,
    });
    Ok(evidence)
}

/// Starts one of the containers that end, and lets it.
fn crash(cell: &mut Cell<'_>, sandbox: i32, name: &str) -> Result<Container, Obstacle> {
    let bundle = joining(Bundle::witness(name), sandbox, false);
    if name == "swells" {
        let bundle = bundle.args(&[WITNESS_PATH, "touch", &TOUCHED.to_string(), "sleep"]);
        let container = cell.create(&facts::memory_limited(bundle, LIMIT))?;
        succeeded(&cell.call(&["start", &container.id])?)?;
        return Ok(container);
    }
    let mut container = cell.container(&bundle)?;
    let end = if name == "exits" { Command::Exit { code: 1 } } else { Command::Fault };
    container.witness()?.tell(end)?;
    Ok(container)
}

/// A text over the connection that b holds; what came back, or why it could not be sent.
fn echo(b: &mut Container, text: &str, timeout: Duration) -> String {
    let command = Command::HttpEcho { text: text.to_owned() };
    let answer = b.witness().and_then(|witness| Ok(witness.ask_as::<String>(command, timeout)?));
    answer.unwrap_or_else(|obstacle| obstacle.to_string())
}

/// Inodes of the sockets at both ends, where they are established and held by a and b.
fn ends(a: &Container, b: &Container, port: u16, local_port: u16) -> Vec<u64> {
    let held = |pid: i32, local: u16, remote: u16| {
        let table = tcp::table(pid).unwrap_or_default();
        tcp::established(&table, local, remote)
            .map(|socket| socket.inode)
            .filter(|inode| tcp::holds(pid, *inode))
    };
    [held(a.outer_pid(), port, local_port), held(b.outer_pid(), local_port, port)]
        .into_iter()
        .flatten()
        .collect()
}

fn ended(evidence: &mut Evidence, trace: &Trace, container: &Container, expected: i32) {
    let Some(end) = trace.end_of(container.pid) else { return };
    let status = if end.status & 0x7f == 0 { end.status } else { end.status & 0x7f };
    let victim = trace
        .events
        .iter()
        .any(|event| matches!(event.kind, EventKind::OomVictim { task, .. } if is(task, container.pid)));
    let crashed = i64::from(status) == i64::from(expected) && victim == (container.name == "swells");
    evidence.kernel(&format!("crashed.{}", container.name), crashed, end.event.source.clone());
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let echoed = side.texts("echoed")?;
    let expected: Vec<&str> =
        std::iter::once("before").chain(CRASHING.iter().map(|(name, _)| *name)).collect();
    let kept = side.flag("namespaces_kept.a")? && side.flag("namespaces_kept.b")?;
    let observed = format!("came back: {}; namespaces kept: {kept}", echoed.join(", "));
    let expected_text = format!("come back: {}; namespaces kept", expected.join(", "));
    Ok(Finding::new(echoed == expected && kept, expected_text, observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    for (name, _) in CRASHING {
        if !side.flag(&format!("crashed.{name}"))? {
            return Err(Gap(format!("the end of the container {name} as it was meant")));
        }
    }
    let (before, after) = (side.numbers("ends.before")?, side.numbers("ends.after")?);
    if before.len() != 2 {
        return Err(Gap("both ends of the connection before the crashes".to_owned()));
    }
    let expected = format!("the connection keeps its sockets {before:?}");
    let mut all =
        Finding::new(before == after, expected, format!("its sockets are {after:?} after the crashes"));
    for name in ["pause", "a", "b"] {
        let (lives, signals) =
            (side.flag(&format!("lives.{name}"))?, side.number(&format!("signals.{name}"))?);
        let observed = format!("{name} lives: {lives}, {signals} signals were sent to it");
        all = all.and(Finding::new(
            lives && signals == 0,
            format!("{name} lives and is sent no signal"),
            observed,
        ));
    }
    Ok(all)
}
