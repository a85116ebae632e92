//! Facts that several checks collect, and comparisons that several rules make.

use podproof_ebpf::event::{EventKind, NsKind};
use serde_json::Value;

use crate::bundle::Bundle;
use crate::cell::Container;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::process;
use crate::observe::trace::{Trace, inode};
use crate::trace::{Look, Machine, Narrator};

/// Which trace lines a report shows at most.
const TRACE_LINES: usize = 60;

/// Adds what the witness in a container was born into: one namespace of it, as `KIND.NAME`.
pub(super) fn inside_ns(evidence: &mut Evidence, container: &Container, kind: &str) {
    let Some(link) = &container.link else { return };
    if let Some(id) = link.hello.birth.ns.get(kind) {
        let key = format!("{kind}.{}", container.name);
        evidence.inside(&key, id.ino, format!("witness {}: stat /proc/self/ns/{kind}", container.name));
    }
}

/// Adds a namespace of a process without a witness, by a plain read on the node.
pub(super) fn node_ns(evidence: &mut Evidence, name: &str, pid: i32, kind: &str) {
    if let Some(id) = process::namespaces(pid).get(kind) {
        evidence.inside(&format!("{kind}.{name}"), id.ino, format!("node: stat /proc/{pid}/ns/{kind}"));
    }
}

/// Adds the namespace that a container's program was executed in.
pub(super) fn kernel_ns(evidence: &mut Evidence, trace: &Trace, container: &Container, kind: NsKind) {
    let pid = container.outer_pid();
    let exec = trace.exec_of(pid, &container.program);
    if let Some(exec) = exec {
        evidence.kernel_if(
            &format!("{kind}.{}", container.name),
            inode(exec.task.ns.get(kind)),
            format!("{}: exec of {} by {pid}", exec.event.source, container.program),
        );
    }
}

/// Adds the node's own namespace, which the first process of the machine is in, to the kernel's side.
pub(super) fn kernel_node_ns(evidence: &mut Evidence, kind: &str) {
    let pid = std::process::id().cast_signed();
    if let Some(id) = process::namespaces(pid).get(kind) {
        evidence.kernel(
            &format!("{kind}.node"),
            id.ino,
            format!("nsfs inode of the suite's own {kind} namespace"),
        );
    }
}

/// Adds what the runtime told, or what the suite itself measured, to both sides.
pub(super) fn told(evidence: &mut Evidence, key: &str, value: impl Into<Value>, source: &str) {
    let value = value.into();
    evidence.inside(key, value.clone(), source);
    evidence.kernel(key, value, source);
}

/// A container with a memory limit in bytes that no swap space can stretch.
pub(super) fn memory_limited(bundle: Bundle, limit: u64) -> Bundle {
    bundle.with("/linux/resources/memory/limit", limit).with("/linux/resources/memory/swap", limit)
}

/// Keeps the part of the trace that a reader of the report wants, and notes what was lost.
pub(super) fn keep_trace(evidence: &mut Evidence, trace: &Trace, wanted: impl Fn(&EventKind) -> bool) {
    evidence.events_lost = trace.lost;
    // The ends of a Go runtime's many threads tell nothing.
    let tells = |kind: &EventKind| match kind {
        EventKind::Exit { task, group_dead, .. } => *group_dead || task.task.tid == task.task.tgid,
        _ => true,
    };
    let shown = |kind: &EventKind| matches!(kind, EventKind::Gap { .. }) || (wanted(kind) && tells(kind));
    let look = Look { colour: false, source: true };
    // It hears of everything, as lines name processes and namespaces of events that are not kept.
    let mut narrator = Narrator::on(Machine::here()).detailed();
    let told = trace.events.iter().map(|event| (shown(&event.kind), narrator.tell(event)));
    let lines = told.filter_map(|(shown, line)| shown.then_some(line)).take(TRACE_LINES);
    evidence.trace = lines.map(|line| line.render(look)).collect();
}

/// Keeps how programs came into their namespaces.
pub(super) fn keep_entries(evidence: &mut Evidence, trace: &Trace) {
    keep_trace(evidence, trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Unshare { .. } | EventKind::Exec { .. })
    });
}

/// A key for System V objects that no other check and no other run uses.
pub(crate) fn shm_key(check: u8) -> i32 {
    let run = std::process::id().cast_signed() & 0xF_FFFF;
    0x7000_0000 | run << 8 | i32::from(check)
}

/// All these values are one.
pub(super) fn all_equal(side: &Side<'_>, what: &str, keys: &[&str]) -> Result<Finding, Gap> {
    let values = values(side, keys)?;
    let holds = values.windows(2).all(|pair| pair[0].1 == pair[1].1);
    Ok(Finding::new(holds, format!("one {what} for {}", names(keys)), show(&values)))
}

/// No two of these values are equal.
pub(super) fn all_differ(side: &Side<'_>, what: &str, keys: &[&str]) -> Result<Finding, Gap> {
    let values = values(side, keys)?;
    let holds = values
        .iter()
        .enumerate()
        .all(|(index, (_, value))| values[index + 1..].iter().all(|(_, other)| value != other));
    Ok(Finding::new(holds, format!("a {what} of its own for each of {}", names(keys)), show(&values)))
}

fn values<'k>(side: &Side<'_>, keys: &[&'k str]) -> Result<Vec<(&'k str, u64)>, Gap> {
    keys.iter().map(|key| Ok((*key, side.number(key)?))).collect()
}

fn names(keys: &[&str]) -> String {
    let names: Vec<&str> = keys.iter().map(|key| key.rsplit('.').next().unwrap_or(key)).collect();
    names.join(", ")
}

fn show(values: &[(&str, u64)]) -> String {
    values.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}
