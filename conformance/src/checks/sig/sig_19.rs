//! SIG-19: no disposition and no mask of the caller, or of the runtime, reaches the container's program.

use podproof_ebpf::event::EventKind;

use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

/// What the caller ignores.
const SIGPIPE: i32 = 13;
const SIGCHLD: i32 = 17;
/// C libraries keep these for their threads and let nobody change them; one of them leaves them ignored in what it starts.
const RESERVED: [u32; 2] = [32, 33];
/// The masks of `/proc/PID/status` that are looked at.
const MASKS: [(&str, &str); 2] = [("blocked", "SigBlk"), ("ignored", "SigIgn")];

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-19",
    name: "the_program_starts_with_default_dispositions",
    level: Level::Must,
    statement: "The container process starts with an empty blocked mask and default dispositions, whatever the \
                caller ignored.",
    source: "execve(2); signal(7) (ignored signals and the mask survive an exec)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container is created and started by calls that have SIGPIPE and SIGCHLD ignored, and none blocked.",
    inside: "The program finds no signal blocked and none ignored at its first instruction (/proc/self/status); \
             32 and 33, which C libraries keep for themselves, do not count.",
    kernel: "The same in the kernel's record of its main process, read from the node after its exec.",
    defects: &[
        ("sig-19-passes-children-on", "a container starts with SIGCHLD ignored where the caller ignores it"),
        (
            "sig-19-leaves-a-mask",
            "SIGCHLD, which the runtime blocks while it creates a container, stays blocked",
        ),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let caller = Caller { ignored_signals: vec![SIGPIPE, SIGCHLD], ..Caller::default() };
    let (mut container, created) = cell.try_create(&Bundle::witness("a"), &caller)?;
    succeeded(&created)?;
    succeeded(&cell.call_as(&["start", &container.id], &caller)?)?;
    cell.greet(&mut container)?;
    let pid = container.outer_pid();
    let birth = container.witness()?.hello.birth.clone();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let status = birth.status.unwrap_or_default();
    let executed = trace.exec_of(pid, &container.program).is_some();
    for (name, field) in MASKS {
        if let Some(mask) = process::status_field(&status, field).and_then(numbers_of) {
            evidence.inside(name, mask, format!("witness a: {field} of /proc/self/status at its birth"));
        }
        let mask = process::status_line(pid, field);
        if let Some(mask) = mask.as_deref().and_then(numbers_of).filter(|_| executed) {
            evidence.kernel(
                name,
                mask,
                format!("/proc/{pid}/status: {field}, after the exec of the program"),
            );
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

/// The signals of a mask, by number, without the reserved ones.
fn numbers_of(mask: &str) -> Option<Vec<u32>> {
    let mask = u64::from_str_radix(mask, 16).ok()?;
    let has = |signal: &u32| mask & 1 << (signal - 1) != 0;
    Some((1..=64).filter(has).filter(|signal| !RESERVED.contains(signal)).collect())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (blocked, ignored) = (side.numbers("blocked")?, side.numbers("ignored")?);
    Ok(Finding::new(
        blocked.is_empty() && ignored.is_empty(),
        "no signal is blocked, none is ignored",
        format!("blocked: {}; ignored: {}", list(&blocked), list(&ignored)),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    inside(side)
}

fn list(signals: &[u64]) -> String {
    if signals.is_empty() {
        return "none".to_owned();
    }
    signals.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::numbers_of;

    #[test]
    fn the_first_bit_is_signal_1() {
        assert_eq!(numbers_of("8000000180010001"), Some(vec![1, 17, 64]));
        assert_eq!(numbers_of("x"), None);
    }
}
