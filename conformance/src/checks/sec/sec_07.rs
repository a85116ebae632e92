//! SEC-07: a seccomp rule takes effect in the main process, its threads and in exec processes.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde_json::json;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::Trace;

const REQUIREMENT: Requirement = Requirement {
    id: "SEC-07",
    name: "a_seccomp_rule_holds_everywhere",
    level: Level::Must,
    statement: "A seccomp rule takes effect with the configured action, in the main process, its threads and in exec \
                processes.",
    source: "runtime-spec config-linux.md#seccomp; seccomp(2)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with CAP_SYS_ADMIN and a UTS namespace of its own, whose filter answers sethostname(2) with an \
               error that the kernel never gives there. The main process, a thread of it and a process of `exec` each try \
               to set a host name.",
    inside: "Each gets that error.",
    kernel: "Seccomp is 2 (a filter) in /proc/PID/status of both processes, read on the node; no call of sethostname(2) with \
             one of the three names succeeded (sys_exit).",
    defects: &[
        ("sec-07-exec-unfiltered", "processes of exec run without the filter"),
        ("sec-07-other-errno", "a rule is applied with EPERM, whatever error it is configured with"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// The configured error, which sethostname(2) does not have.
const ERRNO: i32 = libc::ENODATA;
/// Who tries, and the beginning of the name that each tries to set.
const TRIES: [&str; 3] = ["main", "thread", "exec"];
const NAME: &str = "podproof-";

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": ERRNO }],
    });
    let mut container = cell.container(&Bundle::witness("a").with("/linux/seccomp", filter))?;
    let timeout = cell.deadline(5.0);
    let (call, link) = cell.exec_witness(&container, "x", &[])?;
    succeeded(&call)?;
    let mut link = link.ok_or_else(|| Obstacle::Runtime("the witness of exec did not call".to_owned()))?;

    let mut evidence = Evidence::default();
    for who in TRIES {
        let command = Command::TrySetHostname { name: format!("{NAME}{who}"), thread: who == "thread" };
        let witness = if who == "exec" { &mut link } else { container.witness()? };
        let errno: i32 = witness.ask_as(command, timeout)?;
        evidence.inside(&format!("errno.{who}"), errno, format!("witness, {who}: sethostname(2)"));
    }
    for (who, pid) in [("main", container.outer_pid()), ("exec", link.outer_pid)] {
        let mode = process::status_line(pid, "Seccomp").and_then(|mode| mode.parse::<u64>().ok());
        evidence.kernel_if(
            &format!("mode.{who}"),
            mode,
            format!("/proc/{pid}/status, Seccomp, read on the node"),
        );
    }
    let trace = cell.trace()?;
    evidence.kernel("names.set", names_set(&trace), "sys_exit of sethostname(2), up to the fence");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::Hostname { .. })
    });
    Ok(evidence)
}

/// The names of the three that were set.
fn names_set(trace: &Trace) -> Vec<String> {
    let set = trace.events.iter().filter_map(|event| match &event.kind {
        EventKind::Hostname { name, ret: 0, .. } if name.starts_with(NAME) => Some(name.clone()),
        _ => None,
    });
    set.collect()
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut all = Finding::new(true, "", "");
    for who in TRIES {
        let errno = side.signed(&format!("errno.{who}"))?;
        let observed = if errno == 0 { "sets a host name".to_owned() } else { format!("gets errno {errno}") };
        let holds = errno == i64::from(ERRNO);
        all = all.and(Finding::new(holds, format!("{who} gets errno {ERRNO}"), format!("{who} {observed}")));
    }
    Ok(all)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (main, exec, set) = (side.number("mode.main")?, side.number("mode.exec")?, side.texts("names.set")?);
    let observed = format!("mode {main} of main and {exec} of exec; names set: [{}]", set.join(", "));
    let holds = main == 2 && exec == 2 && set.is_empty();
    Ok(Finding::new(holds, "mode 2 (filter) of main and exec, no name set", observed))
}
