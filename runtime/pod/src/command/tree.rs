//! What a running pod is made of, read from the kernel: processes by cgroup, namespaces by inode, limits and use by cgroup file.
//!
//! A process that has ended and was not waited for is in no `cgroup.procs` any more (the kernel's cgroup-v2 document, "Processes"),
//! but `/proc/PID/cgroup` tells where it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use runtime::cgroup::{CgroupPath, MOUNT_POINT};
use serde::Serialize;

use super::observe::{Observed, PodState};
use crate::plan::SANDBOX;
use crate::status::ContainerState;
use crate::status::printable;

/// Namespaces as `/proc/PID/ns` names them.
const KINDS: [&str; 7] = ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user"];

/// A pod.
#[derive(Debug, Serialize)]
pub struct Tree {
    /// Name.
    pub name: String,
    /// State.
    pub state: PodState,
    /// Address.
    pub ip: Option<String>,
    /// The pod's cgroup.
    pub cgroup: Group,
    /// The sandbox, then the containers in order.
    pub containers: Vec<Member>,
    /// Every namespace of the pod's processes, with who is in it.
    pub namespaces: Vec<Namespace>,
}

/// The sandbox or a container.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Name; `_sandbox` for the sandbox.
    pub name: String,
    /// `Running`, or the reason why not.
    pub state: String,
    /// How often it was started again.
    pub restarts: u32,
    /// Its cgroup; `None` while it has none.
    pub cgroup: Option<Group>,
    /// Its processes, parents first.
    pub processes: Vec<Process>,
}

/// Limits and use of a cgroup.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Path in the hierarchy.
    pub path: String,
    /// `memory.current` in bytes.
    pub memory_bytes: Option<u64>,
    /// `memory.max` in bytes; `None` without a limit.
    pub memory_max_bytes: Option<u64>,
    /// `cpu.weight`.
    pub cpu_weight: Option<u64>,
    /// `cpu.max` as CPUs; `None` without a limit.
    pub cpu_max: Option<f64>,
    /// `usage_usec` of `cpu.stat`.
    pub cpu_usage_us: Option<u64>,
    /// `pids.current`.
    pub pids: Option<u64>,
}

/// A process.
#[derive(Debug, Serialize)]
pub struct Process {
    /// Number on the node.
    pub pid: i32,
    /// Number in its own pid namespace.
    pub inside: i32,
    /// Number of its parent on the node.
    pub parent: i32,
    /// Command line, or the name in brackets where there is none.
    pub command: String,
    /// It has ended, and nobody has waited for it yet.
    pub is_zombie: bool,
    /// Inode of its namespace by kind.
    pub namespaces: BTreeMap<&'static str, u64>,
}

/// A namespace.
#[derive(Debug, Serialize)]
pub struct Namespace {
    /// As in `/proc/PID/ns`.
    pub kind: &'static str,
    /// Inode.
    pub inode: u64,
    /// The sandbox and containers that have a process in it.
    pub members: Vec<String>,
    /// It is the node's own.
    pub is_node: bool,
}

/// Looks at a pod.
///
/// # Errors
/// When the pod has no record yet, or its cgroup cannot be named.
pub fn tree(name: &str, observed: &Observed) -> Result<Tree> {
    let record = observed.record.as_ref().with_context(|| format!("pod {name} is being created"))?;
    let cgroup = record.cgroup().map_err(anyhow::Error::msg)?;
    let statuses = observed.report.iter().flat_map(|report| &report.status.containers);
    let zombies = zombies();
    let mut containers = vec![member(SANDBOX, "Running".to_owned(), 0, &cgroup, &zombies)];
    for status in statuses {
        let state = match &status.state {
            ContainerState::Running { .. } => "Running".to_owned(),
            ContainerState::Waiting { reason, .. } => reason.clone(),
            ContainerState::Terminated(end) => match end.exit_code {
                Some(code) => format!("{} ({code})", end.reason),
                None => end.reason.clone(),
            },
        };
        containers.push(member(&status.name, state, status.restart_count, &cgroup, &zombies));
    }
    if let Some(sandbox) = containers.first_mut()
        && sandbox.processes.is_empty()
    {
        "Ended".clone_into(&mut sandbox.state);
    }
    let namespaces = namespaces(&containers);
    let ip = record.address().map(|ip| ip.to_string());
    Ok(Tree {
        name: name.to_owned(),
        state: observed.state,
        ip,
        cgroup: group(&cgroup),
        containers,
        namespaces,
    })
}

fn member(name: &str, state: String, restarts: u32, pod: &CgroupPath, zombies: &[Zombie]) -> Member {
    let cgroup = CgroupPath::try_from(Path::new(&pod.to_string()).join(name)).ok();
    let cgroup = cgroup.filter(|cgroup| cgroup.directory().exists());
    let processes = cgroup.as_ref().map(|cgroup| processes(cgroup, zombies)).unwrap_or_default();
    Member { name: name.to_owned(), state, restarts, cgroup: cgroup.as_ref().map(group), processes }
}

/// The processes in a cgroup and below; those that end meanwhile are left out.
fn processes(cgroup: &CgroupPath, zombies: &[Zombie]) -> Vec<Process> {
    let path = cgroup.to_string();
    let ended = zombies.iter().filter(|zombie| Path::new(&zombie.cgroup).starts_with(&path));
    let mut list: Vec<Process> = ended.filter_map(|zombie| process(zombie.pid)).collect();
    let mut pending = vec![cgroup.directory()];
    while let Some(directory) = pending.pop() {
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        list.extend(text.lines().filter_map(|line| process(line.parse().ok()?)));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        pending.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    list.sort_by_key(|process| process.pid);
    // One that ended while this was read is found in both places.
    list.dedup_by_key(|process| process.pid);
    list
}

/// A process that has ended and was not waited for.
struct Zombie {
    pid: i32,
    /// Path in the hierarchy.
    cgroup: String,
}

/// Those of the whole node.
fn zombies() -> Vec<Zombie> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let zombie = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The state follows the name, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let text =
            fs::read_to_string(entry.path().join("cgroup")).ok().filter(|_| fields.starts_with('Z'))?;
        let cgroup = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        Some(Zombie { pid, cgroup })
    };
    entries.filter_map(zombie).collect()
}

fn process(pid: i32) -> Option<Process> {
    let directory = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let inside =
        field("NSpid").and_then(|list| list.split_whitespace().next_back()?.parse().ok()).unwrap_or(pid);
    let arguments = fs::read(directory.join("cmdline")).unwrap_or_default();
    let words: Vec<String> = arguments
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| printable(&String::from_utf8_lossy(word)))
        .collect();
    let command = match words.is_empty() {
        true => format!("[{}]", printable(field("Name").unwrap_or_default())),
        false => words.join(" "),
    };
    let namespaces = KINDS.into_iter().filter_map(|kind| Some((kind, namespace_inode(&directory, kind)?)));
    Some(Process {
        pid,
        inside,
        parent: field("PPid")?.parse().ok()?,
        command,
        is_zombie: field("State").is_some_and(|state| state.starts_with('Z')),
        namespaces: namespaces.collect(),
    })
}

fn namespace_inode(process: &Path, kind: &str) -> Option<u64> {
    fs::metadata(process.join("ns").join(kind)).ok().map(|metadata| metadata.ino())
}

fn namespaces(containers: &[Member]) -> Vec<Namespace> {
    let own: BTreeMap<&str, u64> = KINDS
        .into_iter()
        .filter_map(|kind| Some((kind, namespace_inode(Path::new("/proc/self"), kind)?)))
        .collect();
    let mut list: Vec<Namespace> = Vec::new();
    for kind in KINDS {
        for member in containers {
            for inode in member.processes.iter().filter_map(|process| process.namespaces.get(kind)) {
                let known = list.iter_mut().find(|have| have.kind == kind && have.inode == *inode);
                match known {
                    Some(namespace) if namespace.members.contains(&member.name) => {}
                    Some(namespace) => namespace.members.push(member.name.clone()),
                    None => list.push(Namespace {
                        kind,
                        inode: *inode,
                        members: vec![member.name.clone()],
                        is_node: own.get(kind) == Some(inode),
                    }),
                }
            }
        }
    }
    list
}

fn group(path: &CgroupPath) -> Group {
    let directory = Path::new(MOUNT_POINT).join(path.to_string().trim_start_matches('/'));
    let text = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    let number = |file: &str| text(file).trim().parse().ok();
    let cpu_max = text("cpu.max");
    let mut parts = cpu_max.split_whitespace().map(str::parse::<f64>);
    let cpu_max = match (parts.next(), parts.next()) {
        (Some(Ok(quota)), Some(Ok(period))) if period > 0.0 => Some(quota / period),
        _ => None,
    };
    let usage = text("cpu.stat").lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    Group {
        path: path.to_string(),
        memory_bytes: number("memory.current"),
        memory_max_bytes: number("memory.max"),
        cpu_weight: number("cpu.weight"),
        cpu_max,
        cpu_usage_us: usage,
        pids: number("pids.current"),
    }
}
