//! The processes of a PID namespace as the kernel made them, against what a proc file system lists.

use std::collections::{BTreeMap, BTreeSet};

use podproof_ebpf::event::EventKind;
use serde_json::Value;

use crate::evidence::{Gap, Side};
use crate::judge::Finding;
use crate::observe::trace::{CLONE_THREAD, Exec, Trace};

/// Numbers that a report shows at most: the node may have thousands.
const SHOWN: usize = 16;

/// What is there, what is listed, and how the two differ.
pub(super) fn comparison(there: &BTreeSet<u64>, listed: &BTreeSet<u64>) -> [(&'static str, Value); 5] {
    let strangers: Vec<u64> = listed.difference(there).copied().collect();
    let missing: Vec<u64> = there.difference(listed).copied().collect();
    let shown = |numbers: &[u64]| numbers.iter().take(SHOWN).copied().collect::<Vec<_>>();
    let there: Vec<u64> = there.iter().copied().collect();
    [
        ("processes", shown(&there).into()),
        ("strangers", strangers.len().into()),
        ("strangers.first", shown(&strangers).into()),
        ("missing", missing.len().into()),
        ("missing.first", shown(&missing).into()),
    ]
}

/// The processes of a PID namespace and of those nested in it, by their numbers in it: all that were created less
/// those that ended.
pub(super) fn census(trace: &Trace, exec: &Exec<'_>) -> Option<BTreeSet<u64>> {
    let (space, level) = (exec.task.ns.pid?, exec.task.ns_pids.len());
    let mut members = BTreeMap::new();
    for event in &trace.events {
        match &event.kind {
            EventKind::NewTask { child, flags, .. } if flags & CLONE_THREAD == 0 => {
                let is_nested = child.ns_pids.len() > level && members.contains_key(&event.current.tgid);
                if (child.ns.pid == Some(space) || is_nested)
                    && let Some(number) = child.ns_pids.get(level - 1)
                {
                    members.insert(child.task.tgid, u64::from(*number));
                }
            }
            EventKind::Exit { task, group_dead: true, .. } => {
                members.remove(&task.task.tgid);
            }
            _ => {}
        }
    }
    Some(members.into_values().collect())
}

/// Whether exactly the processes that are there are listed, at least this many.
pub(super) fn exact(side: &Side<'_>, prefix: &str, at_least: u32) -> Result<Finding, Gap> {
    let key = |name: &str| format!("{prefix}.{name}");
    let (strangers, missing) = (side.number(&key("strangers"))?, side.number(&key("missing"))?);
    let there = side.numbers(&key("processes"))?;
    if there.len() < at_least as usize {
        return Err(Gap(format!("{at_least} processes (there are {})", there.len())));
    }
    let first = side.numbers(&key("strangers.first"))?;
    Ok(Finding::new(
        strangers == 0 && missing == 0,
        format!("/proc lists {there:?} and nothing else"),
        match (strangers, missing) {
            (0, 0) => format!("{there:?} are listed"),
            (0, _) => format!("{missing} of {there:?} are not listed"),
            _ => format!("{strangers} strangers are listed, {first:?} first"),
        },
    ))
}
