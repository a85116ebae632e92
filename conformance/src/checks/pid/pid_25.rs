//! PID-25: a reboot inside is the end of PID 1, and of nothing else.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::is;

const SIGHUP: u64 = 1;
const SIGKILL: u32 = 9;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const REQUIREMENT: Requirement = Requirement {
    id: "PID-25",
    name: "a_reboot_inside_ends_pid_1_only",
    level: Level::Should,
    statement: "reboot(2) inside a PID namespace ends only that namespace's PID 1.",
    source: "reboot(2), behavior inside PID namespaces; pid_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with a new PID namespace and CAP_SYS_BOOT, and a second one without anything special. The \
               program of the first one calls reboot(2) to restart; it does so only when NSpid shows that it is in a \
               nested PID namespace.",
    inside: "The program ends by SIGHUP (waitid(2) by the suite), and the second one answers.",
    kernel: "The program was executed with numbers in two PID namespaces; SIGKILL is generated for it by itself \
             (signal_generate) and it ends; the second one does not; the node's boot id is the same.",
    defects: &[("pid-25-node-pids", "a container with CAP_SYS_BOOT gets no PID namespace of its own")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let boot = ["CAP_SYS_BOOT"];
    let bundle = ["bounding", "effective", "permitted"].iter().fold(Bundle::witness("a"), |bundle, set| {
        bundle.with(&format!("/process/capabilities/{set}"), boot.as_slice())
    });
    let mut container = cell.container(&bundle)?;
    let mut second = cell.container(&Bundle::witness("b"))?;
    let timeout = cell.deadline(5.0);
    let pid = container.outer_pid();
    let before = boot_id()?;
    let mut evidence = Evidence::default();
    let levels = process::ns_pids(pid).map_or(0, |numbers| numbers.len());
    evidence.inside("levels", levels, format!("node: NSpid of /proc/{pid}/status"));
    if levels >= 2 {
        container.witness()?.tell(Command::Reboot)?;
        let ended = cell.wait(container.pid, cell.deadline(10.0))?;
        let signal = ended.and_then(|status| status.signal());
        evidence.inside("ended.signal", signal, "node: waitid(2) by the suite");
    }
    let answers = second.witness()?.ask(Command::Ping, timeout).is_ok();
    evidence.inside("second.answers", answers, "witness b: its answer after the reboot");

    let trace = cell.trace()?;
    if let Some(exec) = trace.exec_of(pid, &container.program) {
        let source = format!("{}: numbers of the task", exec.event.source);
        evidence.kernel("numbers", exec.task.ns_pids.len(), source);
        let by_itself = trace
            .signals_to(pid)
            .filter(|sent| sent.event.seq > exec.event.seq)
            .any(|sent| sent.signal == SIGKILL && is(sent.event.current, pid));
        evidence.kernel("killed.by_itself", by_itself, "tp_btf/signal_generate: SIGKILL, current is PID 1");
        let ended = |pid: i32| trace.end_of(pid).is_some();
        let source = "tp_btf/sched_process_exit, up to the fence";
        evidence.kernel("ended", ended(pid), source);
        evidence.kernel("second.ended", ended(second.outer_pid()), source);
        evidence.kernel("same_boot", boot_id()? == before, format!("{BOOT_ID}, before and after"));
    }
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { target, .. } => is(*target, pid),
        EventKind::Exit { .. } | EventKind::Exec { .. } => true,
        _ => false,
    });
    Ok(evidence)
}

fn boot_id() -> Result<String, Obstacle> {
    fs::read_to_string(BOOT_ID).map_err(|source| Obstacle::Node { op: "read", path: BOOT_ID.into(), source })
}

const EXPECTED: &str = "the program ends by SIGHUP and everything else goes on";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("levels")? < 2 {
        let seen = "the program is in no PID namespace of its own, so it was not asked to reboot";
        return Ok(Finding::new(false, EXPECTED, seen));
    }
    let (signal, answers) = (side.value("ended.signal")?.as_u64(), side.flag("second.answers")?);
    let end = signal
        .map_or_else(|| "did not end by a signal".to_owned(), |signal| format!("ended by signal {signal}"));
    let rest = if answers { "the second one answers" } else { "the second one does not answer" };
    Ok(Finding::new(signal == Some(SIGHUP) && answers, EXPECTED, format!("the program {end}, {rest}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("numbers")? < 2 {
        return Ok(Finding::new(false, EXPECTED, "the program is in no PID namespace of its own"));
    }
    let (killed, ended) = (side.flag("killed.by_itself")?, side.flag("ended")?);
    let (second, same) = (side.flag("second.ended")?, side.flag("same_boot")?);
    Ok(Finding::new(
        killed && ended && !second && same,
        EXPECTED,
        format!(
            "SIGKILL by itself: {killed}, ended: {ended}; the second one ended: {second}; the node is the same \
             boot: {same}"
        ),
    ))
}
