//! SEC-09: no descriptor of the runtime or its caller is open in the container.

use podproof_ebpf::event::EventKind;
use podproof_witness::OpenFd;

use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

const REQUIREMENT: Requirement = Requirement {
    id: "SEC-09",
    name: "only_standard_descriptors_are_open",
    level: Level::Must,
    statement: "Only descriptors 0, 1 and 2 are open in the main process and in exec processes.",
    source: "runtime-spec runtime-linux.md#file-descriptors",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container is created by a caller that holds three further descriptors without close-on-exec. Its \
               main process is looked at.",
    inside: "The descriptors that the program finds open at its first instruction (/proc/self/fd).",
    kernel: "/proc/PID/fd of the main process, read on the node while it serves: besides 0, 1 and 2 only the socket \
             that its program has opened since.",
    defects: &[
        ("sec-09-leaked-descriptor", "a directory stays open when the program is executed"),
        ("sec-09-first-kept", "one of the caller's further descriptors is kept"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// How many descriptors the caller leaks.
const LEAKED: u32 = 3;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let caller = Caller { leaked_fds: LEAKED, ..Caller::default() };
    let (mut container, create) = cell.try_create(&Bundle::witness("a"), &caller)?;
    succeeded(&create)?;
    cell.start(&container)?;
    cell.greet(&mut container)?;
    let now = process::open_fds(container.pid).map_err(|source| Obstacle::Node {
        op: "list",
        path: format!("/proc/{}/fd", container.pid).into(),
        source,
    })?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    if let Some(fds) = container.link.as_ref().and_then(|link| link.hello.birth.fds.as_ref()) {
        evidence.inside("fds.at_birth", shown(fds), "witness a: /proc/self/fd at its first instruction");
    }
    if trace.exec_of(container.pid, &container.program).is_some() {
        let source = format!("/proc/{}/fd, read on the node after the witness had called", container.pid);
        evidence.kernel("fds.serving", shown(&now), source);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

fn shown(fds: &[OpenFd]) -> Vec<String> {
    fds.iter().map(|open| format!("{} {}", open.fd, open.target)).collect()
}

/// The descriptors other than 0, 1 and 2.
fn further<'s>(fds: &[&'s str]) -> Vec<&'s str> {
    let is_standard = |open: &str| ["0 ", "1 ", "2 "].iter().any(|number| open.starts_with(number));
    fds.iter().copied().filter(|open| !is_standard(open)).collect()
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let fds = side.texts("fds.at_birth")?;
    let further = further(&fds);
    Ok(finding(fds.len() - further.len(), &further, "at the first instruction"))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let fds = side.texts("fds.serving")?;
    let mut further = further(&fds);
    let standard = fds.len() - further.len();
    // The highest socket is the witness's own connection: the newest descriptor that it holds.
    match further.iter().rposition(|open| open.contains(" socket:[")) {
        Some(own) => further.remove(own),
        None => return Err(Gap("the witness's own socket among its descriptors".to_owned())),
    };
    Ok(finding(standard, &further, "besides the witness's own socket"))
}

fn finding(standard: usize, further: &[&str], when: &str) -> Finding {
    let observed = match further {
        [] => format!("{standard} standard descriptors and no other, {when}"),
        further => format!("also open {when}: {}", further.join(", ")),
    };
    Finding::new(standard == 3 && further.is_empty(), "descriptors 0, 1 and 2 only", observed)
}
