//! Who keeps a namespace that should have ended.

use std::collections::BTreeSet;
use std::fs;

use crate::cell::Cell;
use crate::observe::process;
use crate::observe::trace::Trace;

/// Who keeps one of these namespaces. Their numbers may belong to others by now, so of processes only this cell's are
/// asked, and of the node's mounts only those that do not belong to another cell.
pub(super) fn of(cell: &Cell<'_>, trace: &Trace, namespaces: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for birth in trace.living() {
        let pid = birth.child.task.tgid.cast_signed();
        let within = process::namespaces(pid);
        let within = within.iter().map(|(kind, id)| format!("{kind}:[{}]", id.ino));
        found.extend(
            within.filter(|name| namespaces.contains(name)).map(|name| format!("{pid} is in {name}")),
        );
        let open = process::open_fds(pid).unwrap_or_default().into_iter().map(|open| open.target);
        found.extend(
            open.filter(|name| namespaces.contains(name)).map(|name| format!("{pid} has {name} open")),
        );
        found.extend(pins(cell, &format!("/proc/{pid}/mountinfo"), namespaces));
    }
    found.extend(pins(cell, "/proc/self/mountinfo", namespaces));
    found
}

/// Mounts of one of these namespaces.
fn pins(cell: &Cell<'_>, mountinfo: &str, namespaces: &BTreeSet<String>) -> Vec<String> {
    let mounts = process::mounts(&fs::read_to_string(mountinfo).unwrap_or_default());
    mounts
        .into_iter()
        .filter(|mount| mount.fstype == "nsfs" && namespaces.contains(&mount.root))
        .filter(|mount| !cell.is_of_another_cell(mount))
        .map(|mount| format!("{} is mounted at {} in {mountinfo}", mount.root, mount.target))
        .collect()
}
