//! SEC-01: the capability sets of a process are the configured ones.

use podproof_ebpf::event::EventKind;
use serde_json::{Value, json};

use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SEC-01",
    name: "capabilities_are_the_configured_ones",
    level: Level::Must,
    statement: "The five capability sets of the process equal the configuration, for configurations that execve \
                leaves as they are.",
    source: "runtime-spec config.md#linux-process",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container of root with permitted, effective and bounding the same, and one capability inheritable \
               that the caller of create holds as an ambient one; and a container of uid 1000 with one capability \
               inheritable, permitted, effective and ambient. Other configurations the kernel itself recomputes at \
               the exec.",
    inside: "CapInh, CapPrm, CapEff, CapBnd and CapAmb of /proc/self/status at birth.",
    kernel: "The credentials that each program was executed with (sched_process_exec).",
    defects: &[
        ("sec-01-ambient-kept", "the ambient set keeps what the caller holds"),
        ("sec-01-user-without-ambient", "the ambient set is lost where the user is not root"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

/// The capabilities in use: number (capabilities(7), linux/capability.h) and name.
const CHOWN: (u8, &str) = (0, "CAP_CHOWN");
const KILL: (u8, &str) = (5, "CAP_KILL");
const NET_BIND_SERVICE: (u8, &str) = (10, "CAP_NET_BIND_SERVICE");

/// A configuration: the capabilities of each set, in the order of `SETS`.
type Configuration = [&'static [(u8, &'static str)]; 5];

const SETS: [&str; 5] = ["inheritable", "permitted", "effective", "bounding", "ambient"];
const ALL: &[(u8, &str)] = &[CHOWN, KILL, NET_BIND_SERVICE];
const CONTAINERS: [(&str, u32, Configuration); 2] = [
    ("root", 0, [&[KILL], ALL, ALL, ALL, &[]]),
    ("user", 1000, [&[NET_BIND_SERVICE], &[NET_BIND_SERVICE], &[NET_BIND_SERVICE], ALL, &[NET_BIND_SERVICE]]),
];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let caller = Caller { ambient_caps: vec![KILL.0], ..Caller::default() };
    let mut containers = Vec::new();
    for (name, uid, configuration) in CONTAINERS {
        let bundle = Bundle::witness(name)
            .with("/process/user", json!({ "uid": uid, "gid": uid }))
            .with("/process/capabilities", capabilities(&configuration));
        let (mut container, create) = cell.try_create(&bundle, &caller)?;
        succeeded(&create)?;
        cell.start(&container)?;
        cell.greet(&mut container)?;
        containers.push(container);
    }
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    for container in &containers {
        let name = &container.name;
        if let Some(caps) = born_with(container) {
            for (set, bits) in SETS.iter().zip(caps) {
                evidence.inside(&format!("{name}.{set}"), bits, format!("witness {name}: /proc/self/status"));
            }
        }
        if let Some(exec) = trace.exec_of(container.pid, &container.program) {
            let creds = exec.creds;
            let caps = [
                creds.cap_inheritable,
                creds.cap_permitted,
                creds.cap_effective,
                creds.cap_bounding,
                creds.cap_ambient,
            ];
            for (set, bits) in SETS.iter().zip(caps) {
                let source = format!("{}: credentials of {}", exec.event.source, exec.filename);
                evidence.kernel(&format!("{name}.{set}"), bits, source);
            }
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

fn born_with(container: &Container) -> Option<[u64; 5]> {
    let caps = container.link.as_ref()?.hello.birth.caps?;
    Some([caps.inheritable, caps.permitted, caps.effective, caps.bounding, caps.ambient])
}

fn capabilities(configuration: &Configuration) -> Value {
    let names = |caps: &[(u8, &'static str)]| caps.iter().map(|(_, name)| *name).collect::<Vec<_>>();
    SETS.iter().zip(configuration).map(|(set, caps)| ((*set).to_owned(), json!(names(caps)))).collect()
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut wrong = Vec::new();
    for (name, _, configuration) in CONTAINERS {
        for (set, caps) in SETS.iter().zip(configuration) {
            let configured = caps.iter().fold(0, |bits, (number, _)| bits | 1 << number);
            let seen = side.number(&format!("{name}.{set}"))?;
            if seen != configured {
                wrong.push(format!("{set} set of {name}: {seen:#x} instead of {configured:#x}"));
            }
        }
    }
    let expected = "all five sets of both containers as configured";
    let observed = if wrong.is_empty() { expected.to_owned() } else { wrong.join("; ") };
    Ok(Finding::new(wrong.is_empty(), expected, observed))
}
