//! FS-19: an emptyDir volume is the pod's, from its start to its removal.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use podproof_witness::Command;
use serde_json::json;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly, succeeded};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// Where the volume is mounted, and the file in it to which each start of a adds a line.
const VOLUME: &str = "/data";
const FILE: &str = "/data/starts";

const REQUIREMENT: Requirement = Requirement {
    id: "FS-19",
    name: "an_empty_dir_lives_as_long_as_its_pod",
    level: Level::Must,
    statement: "An emptyDir volume is shared by the containers of a pod, keeps its content over container restarts and is \
                removed with the pod.",
    source: "Kubernetes concepts/storage/volumes#emptydir",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with an emptyDir volume in its containers a and b. a adds a line to a file in it at each start, exits \
               with 1, and is started again. Then the pod is stopped and removed.",
    inside: "b reads one line before the restart and two after it; nothing of the pod is left in the state directory.",
    kernel: "The file has one inode through the mount namespaces of a, of a started again and of b (/proc/PID/root, from \
             outside), keeps what was in it, and its directory is gone with the pod.",
    defects: &[
        ("fs-19-cleared", "the volume is emptied when a container is restarted"),
        ("fs-19-own-volume", "each container has a volume of its own"),
        ("fs-19-put-back", "at a restart the files of the volume are replaced by copies of themselves"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mount = json!({ "name": "data", "mountPath": VOLUME });
    let manifest = Manifest::new("pod")
        .container("a", &["mark", FILE, "serve", "--name", "a"])
        .witness("b")
        .with("/spec/containers/0/volumeMounts/1", mount.clone())
        .with("/spec/containers/1/volumeMounts/1", mount)
        .with("/spec/volumes/1", json!({ "name": "data", "emptyDir": {} }))
        .restarted("OnFailure");
    let mut pod = cell.start_pod(&manifest)?;
    let name = pod.name.clone();
    let mut a = cell.member(&name, "a")?;
    let [b] = exactly(&mut pod.members)?;
    let mut evidence = Evidence::default();
    evidence.inside("lines.before", lines(cell, b)?, format!("witness b: lines of {FILE}"));
    inode(&mut evidence, "a", &a);
    inode(&mut evidence, "b", b);
    pods::exit(&mut a, 1)?;
    let again = cell.member(&name, "a")?;
    evidence.inside(
        "lines.after",
        lines(cell, b)?,
        format!("witness b: lines of {FILE}, a was started again"),
    );
    inode(&mut evidence, "again", &again);
    let (at, source) = outside(&again, FILE);
    let kept = fs::read_to_string(at).unwrap_or_default().lines().count();
    evidence.kernel("lines", kept, source);
    let (volume, _) = outside(&again, VOLUME);
    let place =
        fs::metadata(volume).ok().and_then(|found| find(&cell.state_root(), found.dev(), found.ino(), 6));
    let (a_life, b_life) = (again.outer_pid(), b.outer_pid());
    drop((a, again, pod));

    succeeded(&cell.call_pod(&["stop", "--time", "0", &name])?)?;
    succeeded(&cell.remove_pod(&name)?)?;
    let left = find_name(&cell.state_root(), &name, 3);
    evidence.inside("left", left.len(), "node: what has the pod's name in the state directory, after rm");
    if let Some(place) = place {
        evidence.kernel(
            "removed",
            !place.exists(),
            "node: the volume's directory, found by its inode before rm",
        );
    }
    let trace = cell.trace()?;
    let ended = [a_life, b_life].iter().all(|pid| trace.end_of(*pid).is_some());
    evidence.kernel("ended", ended, "tp_btf/sched_process_exit of both programs");
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

/// How many lines the witness of a container reads; 0 without the file.
fn lines(cell: &Cell<'_>, container: &mut Container) -> Result<usize, Obstacle> {
    let timeout = cell.deadline(5.0);
    let link = container.witness()?;
    let is_there: bool = link.ask_as(Command::Exists { path: FILE.to_owned() }, timeout)?;
    if !is_there {
        return Ok(0);
    }
    let text: String = link.ask_as(Command::ReadFile { path: FILE.to_owned() }, timeout)?;
    Ok(text.lines().count())
}

/// A path of a container, from outside.
fn outside(container: &Container, path: &str) -> (PathBuf, String) {
    let at = format!("/proc/{}/root{path}", container.outer_pid());
    (PathBuf::from(&at), format!("{at}, read from outside"))
}

/// Adds the inode of the file through a container's mounts; 0 where it is not there.
fn inode(evidence: &mut Evidence, name: &str, container: &Container) {
    let (at, source) = outside(container, FILE);
    let inode = fs::metadata(at).map_or(0, |found| found.ino());
    evidence.kernel(&format!("inode.{name}"), inode, source);
}

/// The directory with this inode, so many levels below another.
fn find(dir: &Path, dev: u64, ino: u64, depth: u32) -> Option<PathBuf> {
    let found = fs::symlink_metadata(dir).ok().filter(fs::Metadata::is_dir)?;
    if (found.dev(), found.ino()) == (dev, ino) {
        return Some(dir.to_owned());
    }
    if depth == 0 {
        return None;
    }
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| find(&entry.path(), dev, ino, depth - 1))
}

/// What has this name, so many levels below a directory.
fn find_name(dir: &Path, name: &str, depth: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(name) {
            found.push(entry.path());
        } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(find_name(&entry.path(), name, depth - 1));
        }
    }
    found
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (before, after, left) =
        (side.number("lines.before")?, side.number("lines.after")?, side.number("left")?);
    Ok(Finding::new(
        before == 1 && after == 2 && left == 0,
        "b reads one line, then two, and nothing is left of the pod",
        format!("b read {before}, then {after}; {left} entries are left"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if !side.flag("ended")? {
        return Err(Gap("the end of both programs".to_owned()));
    }
    let one = facts::all_equal(side, "inode", &["inode.a", "inode.again", "inode.b"])?;
    let (lines, removed) = (side.number("lines")?, side.flag("removed")?);
    Ok(one.and(Finding::new(
        lines == 2 && removed,
        "two lines over the restart, and no directory after the removal",
        format!("{lines} lines; the directory was removed: {removed}"),
    )))
}
