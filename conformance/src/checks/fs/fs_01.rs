//! FS-01: the container's root is the configured one, and nothing of the node's is mounted or reachable.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use podproof_ebpf::event::EventKind;
use podproof_witness::{Command, SOCKET_DIR};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::{self, Mount};

const REQUIREMENT: Requirement = Requirement {
    id: "FS-01",
    name: "the_root_is_the_configured_one",
    level: Level::Must,
    statement: "The container's root is the configured root file system and no host mount is listed or reachable.",
    source: "runtime-spec config.md#root; pivot_root(2)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with the usual mounts. A marker file lies on the node, outside the bundle.",
    inside: "mountinfo lists the root, the configured mounts, and kernel file systems below /proc, /sys and /dev only; \
             the marker is not found below any of them.",
    kernel: "/proc/PID/root is the directory of the bundle (device and inode), and /proc/PID/mountinfo, read on the \
             node, has no mount of a file system that the node has mounted, but for what lies in the cell.",
    defects: &[
        ("fs-01-bound-below-dev", "a directory of the node stays mounted among the devices"),
        ("fs-01-old-root-left", "the node's root stays mounted under a hidden name"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// Where the bundle mounts something (`Bundle::config`).
const CONFIGURED: [&str; 5] = ["/", "/proc", "/dev", "/dev/mqueue", SOCKET_DIR];
/// Where runtimes mount more of their own (runtime-spec config-linux.md#default-filesystems, masked paths).
const KERNELS_PLACES: [&str; 3] = ["/proc/", "/sys/", "/dev/"];
/// Views of the kernel, not storage: the same device number shows in every namespace.
const KERNEL_VIEWS: [&str; 3] = ["sysfs", "cgroup", "cgroup2"];
/// What may be there: fresh instances, and views.
const KERNEL_TYPES: [&str; 8] =
    ["proc", "sysfs", "cgroup", "cgroup2", "tmpfs", "devtmpfs", "devpts", "mqueue"];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let marker = cell.dir().join("marker-of-the-node");
    let failed = |op| move |path: &Path, source| Obstacle::Node { op, path: path.to_owned(), source };
    fs::write(&marker, "").map_err(|source| failed("write")(&marker, source))?;
    let mut container = cell.container(&Bundle::witness("a"))?;

    let mut evidence = Evidence::default();
    inside_facts(cell, &mut container, &marker, &mut evidence)?;

    let pid = container.pid;
    let read =
        |path: &str| fs::read_to_string(path).map_err(|source| failed("read")(Path::new(path), source));
    let node = process::mounts(&read("/proc/self/mountinfo")?);
    let listed = process::mounts(&read(&format!("/proc/{pid}/mountinfo"))?);
    let source = format!("/proc/{pid}/mountinfo read on the node, against /proc/self/mountinfo");
    evidence.kernel("mounts.of_node", foreign(&node, &listed, cell.dir()), source);
    let identity = |path: &Path| {
        let file = fs::metadata(path).map_err(|source| failed("stat")(path, source))?;
        Ok::<_, Obstacle>(format!("device {} inode {}", file.dev(), file.ino()))
    };
    let (root, bundle) = (PathBuf::from(format!("/proc/{pid}/root")), cell.dir().join("bundles/a/rootfs"));
    evidence.kernel("root.configured", identity(&bundle)?, "stat of the bundle's rootfs");
    evidence.kernel("root.of_process", identity(&root)?, format!("stat of {}", root.display()));
    let trace = cell.trace()?;
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(
            kind,
            EventKind::Mount { .. }
                | EventKind::Umount { .. }
                | EventKind::PivotRoot { .. }
                | EventKind::Exec { .. }
        )
    });
    Ok(evidence)
}

fn inside_facts(
    cell: &Cell<'_>,
    container: &mut Container,
    marker: &Path,
    evidence: &mut Evidence,
) -> Result<(), Obstacle> {
    let timeout = cell.deadline(5.0);
    let witness = container.witness()?;
    let Some(mountinfo) = witness.hello.birth.mountinfo.clone() else { return Ok(()) };
    let mounts = process::mounts(&mountinfo);
    let listed: Vec<String> =
        mounts.iter().map(|mount| format!("{} {}", mount.target, mount.fstype)).collect();
    evidence.inside("mounts", listed, "witness a: /proc/self/mountinfo at birth (target, type)");
    let places: BTreeSet<&str> = mounts.iter().map(|mount| mount.target.trim_end_matches('/')).collect();
    let mut reached = Vec::new();
    for place in places {
        let path = format!("{place}{}", marker.display());
        if witness.ask_as::<bool>(Command::Exists { path: path.clone() }, timeout)? {
            reached.push(path);
        }
    }
    evidence.inside("marker.reached", reached, "witness a: lstat(2) of the marker's path below every mount");
    Ok(())
}

/// Mounts of the container whose file system the node has mounted too, but for those of the cell's directory.
fn foreign(node: &[Mount], listed: &[Mount], cell: &Path) -> Vec<String> {
    let of_node: BTreeSet<&str> = node
        .iter()
        .filter(|mount| !KERNEL_VIEWS.contains(&mount.fstype.as_str()))
        .map(|mount| mount.device.as_str())
        .collect();
    let cell = place(node, cell);
    listed
        .iter()
        .filter(|mount| of_node.contains(mount.device.as_str()))
        .filter(|mount| {
            !cell.as_ref().is_some_and(|(device, root)| {
                *device == mount.device && Path::new(&mount.root).starts_with(root)
            })
        })
        .map(|mount| format!("{} is {} of device {}", mount.target, mount.root, mount.device))
        .collect()
}

/// The file system that a path lies on, and the path within it.
fn place<'n>(node: &'n [Mount], path: &Path) -> Option<(&'n str, PathBuf)> {
    let covers = |mount: &&Mount| path.starts_with(&mount.target);
    // Of several mounts at one place the last one listed is on top.
    let mount = node.iter().filter(covers).max_by_key(|mount| mount.target.len())?;
    let rest = path.strip_prefix(&mount.target).ok()?;
    Some((&mount.device, Path::new(&mount.root).join(rest)))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (mounts, reached) = (side.texts("mounts")?, side.texts("marker.reached")?);
    let unexpected: Vec<&str> = mounts.iter().copied().filter(|mount| !is_expected(mount)).collect();
    let observed = match (unexpected.as_slice(), reached.as_slice()) {
        ([], []) => format!("{} mounts, all of the container, and no marker", mounts.len()),
        ([], reached) => format!("the node's marker is reached at {}", reached.join(", ")),
        (unexpected, _) => format!("also mounted: {}", unexpected.join(", ")),
    };
    let expected = "only the root and the container's mounts, and no way to the node's marker";
    Ok(Finding::new(unexpected.is_empty() && reached.is_empty(), expected, observed))
}

fn is_expected(mount: &str) -> bool {
    let (target, fstype) = mount.rsplit_once(' ').unwrap_or((mount, ""));
    let kernels = KERNELS_PLACES.iter().any(|place| target.starts_with(place));
    CONFIGURED.contains(&target) || (kernels && KERNEL_TYPES.contains(&fstype))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (configured, root) = (side.text("root.configured")?, side.text("root.of_process")?);
    let foreign = side.texts("mounts.of_node")?;
    let observed = match foreign.as_slice() {
        [] => format!("the root is {root}, and no mount is the node's"),
        foreign => format!("mounts of the node's file systems: {}", foreign.join(", ")),
    };
    let holds = configured == root && foreign.is_empty();
    Ok(Finding::new(holds, format!("the root is {configured}, and no mount is the node's"), observed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw\n31 27 0:28 / /run rw - tmpfs tmpfs rw\n";

    #[test]
    fn only_the_cell_itself_may_come_from_the_node() {
        let listed = "60 59 0:28 /p/cells/X/bundles/a/rootfs / rw - tmpfs tmpfs rw\n\
                      61 60 0:99 / /dev rw - tmpfs tmpfs rw\n";
        let (node, listed) = (process::mounts(NODE), process::mounts(listed));
        assert_eq!(foreign(&node, &listed, Path::new("/run/p/cells/X")), Vec::<String>::new());
        assert_eq!(foreign(&node, &listed, Path::new("/run/p/cells/Y")).len(), 1);
    }

    #[test]
    fn a_root_of_the_node_is_found_under_any_name() {
        let listed = process::mounts("62 60 254:0 / /dev/.hidden rw - ext4 /dev/vda rw\n");
        assert_eq!(foreign(&process::mounts(NODE), &listed, Path::new("/run/p/cells/X")).len(), 1);
        assert!(!is_expected("/dev/.hidden ext4"));
        assert!(is_expected("/dev/pts devpts"));
    }
}
