//! NET-15: nothing of a pod's network is left after its removal.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use podproof_ebpf::event::NsKind;
use podproof_witness::Command;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly, succeeded};
use crate::checks::{Check, Scene, Turn, facts, holders, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// A bridge and a subnet that nobody else uses.
const BRIDGE: &str = "pp-net15";
const NETWORK: &str = "bridge:pp-net15,10.213.15.0/24";

const REQUIREMENT: Requirement = Requirement {
    id: "NET-15",
    name: "nothing_of_a_pods_network_is_left",
    level: Level::Must,
    statement: "After pod removal veth, netns pin, address lease and port rules are gone.",
    source: "CRI api.proto StopPodSandbox; network_namespaces(7)",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod behind a bridge of its own is stopped and removed.",
    inside: "The container has a network interface besides lo; after the removal nothing is left in the state directory.",
    kernel: "The interfaces of the bridge, by their indices, are there while the pod runs and gone with it (/sys/class/net), \
             and no process of the runtime and no mount keeps the network namespace that the program was executed in \
             (/proc/PID/ns, fd and mountinfo; sched_process_exec).",
    defects: &[
        ("net-15-lease-kept", "the address of a pod stays leased after its removal"),
        ("net-15-netns-open", "a process of the runtime keeps a descriptor of the network namespace"),
        ("net-15-netns-pinned", "a file that keeps the network namespace is left mounted"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &["a"]).option("--network", NETWORK))?;
    let [a] = exactly(&mut pod.members)?;
    let command = Command::ReadFile { path: "/proc/net/dev".to_owned() };
    let interfaces: String = a.witness()?.ask_as(command, cell.deadline(5.0))?;
    let n_interfaces = interfaces.lines().filter(|line| line.contains(':')).count();
    let made = indices();
    // The suite's end of the connection would keep the namespace.
    a.link = None;
    let (name, pid, program) = (pod.name.clone(), a.pid, a.program.clone());
    succeeded(&cell.call_pod(&["stop", "--time", "0", &name])?)?;
    let removal = cell.remove_pod(&name)?;

    let mut evidence = Evidence::default();
    evidence.inside("interfaces", n_interfaces, "witness a: /proc/net/dev");
    let left: Vec<String> = cell.state_left().iter().map(|path| path.display().to_string()).collect();
    evidence.inside("files.left", left, "node: entries of the state directory, after rm");
    facts::told(&mut evidence, "rm.succeeded", removal.ok(), "podrt: pod rm exits with 0");
    let source = "/sys/class/net: the bridge and its ports";
    evidence.kernel("links.made", made.len(), format!("{source}, while the pod ran"));
    let still: Vec<&String> = made.iter().filter(|index| all_indices().contains(index)).collect();
    evidence.kernel("links.left", still.len(), format!("{source}, by their indices, after rm"));
    // What is about to end may do so.
    cell.settled(cell.deadline(3.0))?;
    let trace = cell.trace()?;
    let space = trace.exec_of(pid, &program).and_then(|exec| exec.task.ns.get(NsKind::Net));
    if let Some(space) = space {
        let name = format!("net:[{space}]");
        let source =
            format!("/proc/PID/ns, fd and mountinfo, /proc/self/mountinfo: who keeps {name}, after rm");
        evidence.kernel("holders", holders::of(cell, &trace, &BTreeSet::from([name])), source);
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

/// The indices of the bridge and of its ports.
fn indices() -> Vec<String> {
    let ports = fs::read_dir(Path::new("/sys/class/net").join(BRIDGE).join("brif"));
    let ports =
        ports.into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    ports.chain([BRIDGE.to_owned()]).filter_map(|name| index(&name)).collect()
}

fn all_indices() -> Vec<String> {
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    links.filter_map(|entry| index(&entry.file_name().to_string_lossy())).collect()
}

fn index(name: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/sys/class/net").join(name).join("ifindex")).ok()?;
    Some(text.trim().to_owned())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("interfaces")? < 2 {
        return Err(Gap("an interface of the pod besides lo".to_owned()));
    }
    let (left, removed) = (side.texts("files.left")?, side.flag("rm.succeeded")?);
    Ok(Finding::new(
        left.is_empty() && removed,
        "rm succeeds and leaves nothing",
        format!("rm succeeded: {removed}; left: {left:?}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("links.made")? < 2 {
        return Err(Gap("a bridge with a port".to_owned()));
    }
    let (links, holders) = (side.number("links.left")?, side.texts("holders")?);
    Ok(Finding::new(
        links == 0 && holders.is_empty(),
        "no interface is left, and nobody keeps the namespace",
        format!("{links} interfaces are left, and these keep the namespace: [{}]", holders.join(", ")),
    ))
}
