//! REAP-11: a sandbox program that has nothing to do does nothing.

use std::time::Duration;

use podproof_ebpf::event::{Event, EventKind};
use podproof_witness::Command;
use serde_json::Value;

use super::standstill::{n_switches, switches};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

/// How long it is looked at, in real time: no event ends it.
const IDLE: Duration = Duration::from_secs(5);

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-11",
    name: "an_idle_sandbox_uses_no_cpu",
    level: Level::Should,
    statement: "An idle sandbox process uses no CPU.",
    source: "Kubernetes build/pause (pause(2) in a loop); pause(2)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    // Five seconds instead of the half minute that the catalog asks for: it finds every loop and every timer of a second
    // or two, and the suite stays short.
    scenario: "A sandbox and a container that joins its PID namespace. Nothing is done for five seconds.",
    inside: "CPU time and context switches of PID 1, as /proc inside shows them, are the same before and after.",
    kernel: "The sandbox's cgroup has used no CPU time meanwhile (usage_usec of cpu.stat; without cgroup v2 the \
             context switches that the node sees), and no event shows its process running.",
    defects: &[("reap-11-ticks", "pause wakes up every second by a timer")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::First,
    observe,
    rules: Rules { inside, kernel },
};

/// What the witness sees of PID 1.
#[derive(Debug, Clone, Copy)]
struct Seen {
    cpu_ticks: u64,
    switches: u64,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let [member] = exactly(&mut pod.members)?;
    let sandbox = &pod.sandbox;
    let seen_before = seen(cell, member)?;
    let usage_before = sandbox.v2().keyed("cpu.stat", "usage_usec");
    let switches_before = switches(sandbox.pid)?;
    let begin = cell.trace()?.events.last().map_or(0, |event| event.seq);
    // Whatever it does meanwhile ends the wait: then it was not idle.
    let acts = |event: &Event| {
        let is_new = event.seq > begin && !matches!(event.kind, EventKind::Free { .. });
        is_new && is(event.current, sandbox.pid)
    };
    let acted = cell.await_event(IDLE, acts)?;
    let switches_after = switches(sandbox.pid)?;
    let usage_after = sandbox.v2().keyed("cpu.stat", "usage_usec");
    let seen_after = seen(cell, member)?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let ticks = seen_after.cpu_ticks.saturating_sub(seen_before.cpu_ticks);
    evidence.inside("cpu.ticks", ticks, "witness a: utime and stime of /proc/1/stat, before and after");
    let switched = seen_after.switches.saturating_sub(seen_before.switches);
    evidence.inside("inner.switches", switched, "witness a: context switches of /proc/1/status");
    evidence.kernel("acted", acted, "the trace: an event of the sandbox process");
    let switched = switches_after.saturating_sub(switches_before);
    let source = format!("node: context switches of /proc/{}/status", sandbox.pid);
    evidence.kernel("switches", switched, source);
    if let (Some(before), Some(after)) = (usage_before, usage_after) {
        let source = format!("cgroup: usage_usec of {}/cpu.stat", sandbox.v2().dir().display());
        evidence.kernel("usage.usec", after.saturating_sub(before), source);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

fn seen(cell: &Cell<'_>, member: &mut Container) -> Result<Seen, Obstacle> {
    let mut read = |path: &str| -> Result<String, Obstacle> {
        let text: Value =
            member.witness()?.ask(Command::ReadFile { path: path.to_owned() }, cell.deadline(5.0))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    };
    let (stat, status) = (read("/proc/1/stat")?, read("/proc/1/status")?);
    let missing = || Obstacle::Runtime("the container cannot read /proc/1".to_owned());
    Ok(Seen {
        cpu_ticks: cpu_ticks(&stat).ok_or_else(missing)?,
        switches: n_switches(&status).ok_or_else(missing)?,
    })
}

/// `utime` and `stime`, the 14th and 15th field (proc_pid_stat(5)).
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (ticks, switches) = (side.number("cpu.ticks")?, side.number("inner.switches")?);
    Ok(Finding::new(
        ticks == 0 && switches == 0,
        "PID 1 does not run",
        format!("{switches} context switches and {ticks} clock ticks of CPU time in {} s", IDLE.as_secs()),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (acted, switches) = (side.flag("acted")?, side.number("switches")?);
    let usage = side.number("usage.usec").unwrap_or(0);
    Ok(Finding::new(
        !acted && switches == 0 && usage == 0,
        "the sandbox's cgroup uses no CPU time, and its process is not switched to",
        format!("{switches} context switches and {usage} us of CPU time in {} s", IDLE.as_secs()),
    ))
}

#[cfg(test)]
mod tests {
    use super::cpu_ticks;

    #[test]
    fn a_name_with_spaces_hides_no_field() {
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 200 0 0 0 7 3 0 0 20 0 1 0 5";
        assert_eq!(cpu_ticks(stat), Some(10));
    }
}
