//! `tree`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::Result;

use super::args::Format;
use super::show::print_json;
use crate::command::observe::observe;
use crate::command::tree::{Group, Member, Namespace, Process, Tree, tree as look};
use crate::plan::SANDBOX;
use crate::state::PodRoot;

/// Shows a pod.
pub(super) fn tree(root: &PodRoot, name: &str, format: Format) -> Result<ExitCode> {
    let tree = look(name, &observe(&root.pod(name)?)?)?;
    match format {
        Format::Json => print_json(&serde_json::to_value(&tree)?)?,
        Format::Table => lines(&tree).iter().for_each(|line| println!("{line}")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Characters of a command line that are shown; JSON has all.
const COMMAND_LENGTH: usize = 60;
/// Generations that are drawn; a program can make a chain of all the pids that it may have.
const DEPTH_MAX: usize = 20;

/// The tree as lines of text.
fn lines(tree: &Tree) -> Vec<String> {
    let ip = tree.ip.as_ref().map(|ip| format!("  {ip}")).unwrap_or_default();
    let mut lines =
        vec![format!("pod {}  {}{ip}", tree.name, tree.state), format!("│   {}", group(&tree.cgroup))];
    for member in &tree.containers {
        let restarts =
            if member.restarts == 0 { String::new() } else { format!("  restarts {}", member.restarts) };
        let title = match member.name.as_str() {
            SANDBOX => "sandbox".to_owned(),
            name => format!("container {name}"),
        };
        lines.push(format!("├── {title}  {}{restarts}", member.state));
        lines.extend(member.cgroup.iter().map(|cgroup| format!("│   │   {}", group(cgroup))));
        let own = own_namespaces(&tree.namespaces, member);
        if !own.is_empty() {
            lines.push(format!("│   │   its own: {own}"));
        }
        processes(&member.processes, &mut lines);
    }
    lines.push("└── shared namespaces".to_owned());
    let shared: Vec<&Namespace> =
        tree.namespaces.iter().filter(|namespace| namespace.members.len() > 1 || namespace.is_node).collect();
    for (index, namespace) in shared.iter().enumerate() {
        let branch = if index + 1 == shared.len() { "└──" } else { "├──" };
        let node = if namespace.is_node { "the node, " } else { "" };
        let members: Vec<&str> = namespace.members.iter().map(|name| shown(name)).collect();
        lines.push(format!(
            "    {branch} {:<6} {}  {node}{}",
            namespace.kind,
            namespace.inode,
            members.join(", ")
        ));
    }
    lines
}

fn shown(name: &str) -> &str {
    if name == SANDBOX { "sandbox" } else { name }
}

fn own_namespaces(namespaces: &[Namespace], member: &Member) -> String {
    let own = namespaces
        .iter()
        .filter(|namespace| !namespace.is_node && namespace.members == [member.name.as_str()]);
    own.map(|namespace| format!("{} {}", namespace.kind, namespace.inode)).collect::<Vec<_>>().join("  ")
}

/// Children below their parents.
fn processes<'a>(list: &'a [Process], lines: &mut Vec<String>) {
    let known: BTreeSet<i32> = list.iter().map(|process| process.pid).collect();
    let mut children: BTreeMap<Option<i32>, Vec<&Process>> = BTreeMap::new();
    for process in list {
        children.entry(Some(process.parent).filter(|pid| known.contains(pid))).or_default().push(process);
    }
    let mut of = |parent, depth, prefix: &str, pending: &mut Vec<(usize, String, bool, &'a Process)>| {
        let siblings = children.remove(&parent).unwrap_or_default();
        let last = siblings.len().saturating_sub(1);
        // From a stack, so the first comes last.
        let branches = siblings.into_iter().enumerate().rev();
        pending.extend(branches.map(|(index, process)| (depth, prefix.to_owned(), index == last, process)));
    };
    let mut pending = Vec::new();
    of(None, 0, "│   ", &mut pending);
    while let Some((depth, prefix, is_last, process)) = pending.pop() {
        let (branch, below) = if is_last { ("└──", "    ") } else { ("├──", "│   ") };
        let zombie = if process.is_zombie { "  (zombie)" } else { "" };
        let mut command: String = process.command.chars().take(COMMAND_LENGTH).collect();
        if command.len() < process.command.len() {
            command.push('…');
        }
        lines.push(format!(
            "{prefix}{branch} {command}  pid {}, {} inside{zombie}",
            process.pid, process.inside
        ));
        let below = if depth < DEPTH_MAX { format!("{prefix}{below}") } else { prefix };
        of(Some(process.pid), depth + 1, &below, &mut pending);
    }
}

fn group(group: &Group) -> String {
    let mut parts = vec![format!("cgroup {}", group.path)];
    if let Some(bytes) = group.memory_bytes {
        let limit = group.memory_max_bytes.map(|limit| format!(" of {}", size(limit))).unwrap_or_default();
        parts.push(format!("memory {}{limit}", size(bytes)));
    }
    if let Some(limit) = group.cpu_max {
        parts.push(format!("at most {limit} CPU"));
    }
    parts.extend(
        group.cpu_usage_us.map(|usage| format!("CPU time {}.{} s", usage / 1_000_000, usage / 100_000 % 10)),
    );
    parts.extend(group.cpu_weight.map(|weight| format!("weight {weight}")));
    parts.extend(group.pids.map(|pids| format!("{pids} task{}", if pids == 1 { "" } else { "s" })));
    parts.join("  ")
}

/// Bytes in the unit that suits.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let in_unit = |unit: u64| bytes as f64 / unit as f64;
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", in_unit(unit)),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_use_are_in_one_line() {
        let known = Group {
            path: "/pods/a".to_owned(),
            memory_bytes: Some(1 << 19),
            memory_max_bytes: Some(3 << 29),
            cpu_weight: Some(59),
            cpu_max: Some(0.5),
            cpu_usage_us: Some(61_990_000),
            pids: Some(1),
        };
        assert_eq!(
            group(&known),
            "cgroup /pods/a  memory 512.0 KiB of 1.5 GiB  at most 0.5 CPU  CPU time 61.9 s  weight 59  1 task"
        );
        let unknown = Group {
            memory_bytes: None,
            memory_max_bytes: None,
            cpu_weight: None,
            cpu_max: None,
            cpu_usage_us: None,
            pids: None,
            ..known
        };
        assert_eq!(group(&unknown), "cgroup /pods/a");
    }

    #[test]
    fn children_are_below_their_parents() {
        let process = |pid, parent, command: &str| Process {
            pid,
            inside: pid - 10,
            parent,
            command: command.to_owned(),
            is_zombie: pid == 14,
            namespaces: BTreeMap::new(),
        };
        let long = "x".repeat(COMMAND_LENGTH + 1);
        let list = [
            process(11, 1, "a"),
            process(12, 11, "b"),
            process(13, 12, "c"),
            process(14, 11, "[d]"),
            process(15, 2, &long),
        ];
        let mut lines = Vec::new();
        processes(&list, &mut lines);
        let cut = format!("│   └── {}…  pid 15, 5 inside", &long[1..]);
        assert_eq!(
            lines,
            [
                "│   ├── a  pid 11, 1 inside",
                "│   │   ├── b  pid 12, 2 inside",
                "│   │   │   └── c  pid 13, 3 inside",
                "│   │   └── [d]  pid 14, 4 inside  (zombie)",
                &cut,
            ]
        );
    }
}
