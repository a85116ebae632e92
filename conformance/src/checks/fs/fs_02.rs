//! FS-02: the classic way out of a chroot leads no further than the container's root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde::Deserialize;
use serde_json::json;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::Trace;

const REQUIREMENT: Requirement = Requirement {
    id: "FS-02",
    name: "breaking_out_of_a_chroot_ends_at_the_root",
    level: Level::Must,
    statement: "The classic chroot break-out (chroot to a subdirectory, fchdir to a kept descriptor, chdir .. repeatedly) \
                stays inside, even with CAP_SYS_CHROOT.",
    source: "chroot(2); pivot_root(2); runtime-spec config.md#root",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with CAP_SYS_CHROOT, in which a process does just that and stays where it comes to. A marker \
               file lies on the node, outside the bundle.",
    inside: "The directory that is reached (device and inode) is the container's root, and the marker is not found from \
             there by the path that it has on the node.",
    kernel: "The working directory of that process (stat of /proc/PID/cwd on the node) is the rootfs directory of the \
             bundle, after a chroot that succeeded (chroot).",
    defects: &[("fs-02-chroot-only", "the root is changed by chroot(2) below a root that stays")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

const CAPABILITIES: [&str; 6] =
    ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_IPC_OWNER", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"];

/// What `break_out` answers.
#[derive(Debug, Deserialize)]
struct Reached {
    pid: u32,
    errno: i32,
    dev: u64,
    ino: u64,
    found: bool,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let failed = |op| move |path: &Path, source| Obstacle::Node { op, path: path.to_owned(), source };
    let marker = cell.dir().join("marker-of-the-node");
    fs::write(&marker, "").map_err(|source| failed("write")(&marker, source))?;
    let bundle = Bundle::witness("a").with(
        "/process/capabilities",
        json!({ "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES }),
    );
    let mut container = cell.container(&bundle)?;
    let relative = marker.display().to_string().trim_start_matches('/').to_owned();
    let command = Command::BreakOut { jail: "/tmp/jail".to_owned(), marker: relative };
    let reached: Reached = container.witness()?.ask_as(command, cell.deadline(10.0))?;
    let identity = |path: &Path| {
        let file = fs::metadata(path).map_err(|source| failed("stat")(path, source))?;
        Ok::<_, Obstacle>(named(file.dev(), file.ino()))
    };
    let rootfs = identity(&cell.dir().join("bundles/a/rootfs"))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let source = "witness a: a forked child, chroot(2), fchdir(2), chdir(2)";
    evidence.inside("errno", reached.errno, source);
    evidence.inside("reached", named(reached.dev, reached.ino), "witness a: stat(2) of . in that child");
    evidence.inside("marker.found", reached.found, "witness a: stat(2) of the marker's path from there");
    facts::told(&mut evidence, "root", rootfs, "suite: stat of the bundle's rootfs");
    if let Some(pid) = outer(&trace, container.outer_pid(), reached.pid) {
        let cwd = PathBuf::from(format!("/proc/{pid}/cwd"));
        evidence.kernel("reached", identity(&cwd)?, format!("stat of {} on the node", cwd.display()));
        let jailed = trace
            .events
            .iter()
            .any(|event| event.current.tgid == pid && matches!(event.kind, EventKind::Chroot { ret: 0, .. }));
        evidence.kernel("chroot.succeeded", jailed, "chroot(2) of that process, up to the fence");
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::PivotRoot { .. } | EventKind::Chroot { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

fn named(dev: u64, ino: u64) -> String {
    format!("device {dev} inode {ino}")
}

/// The number on the node of the witness's child with this inner number.
fn outer(trace: &Trace, parent: i32, inner: u32) -> Option<u32> {
    let parent = u32::try_from(parent).ok()?;
    let born = trace.births().filter(|birth| birth.event.current.tgid == parent);
    let pids = born.filter(|birth| birth.child.ns_pid() == Some(inner)).map(|birth| birth.child.task.tgid);
    pids.into_iter().find(|pid| process::state(pid.cast_signed()).is_some())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let errno = side.number("errno")?;
    if errno != 0 {
        return Err(Gap(format!("a break-out that came to its end (errno {errno})")));
    }
    let (root, reached, found) = (side.text("root")?, side.text("reached")?, side.flag("marker.found")?);
    let observed = format!("it reaches {reached}, the node's marker is found there: {found}");
    Ok(Finding::new(reached == root && !found, format!("it reaches the root, {root}, and no more"), observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if !side.flag("chroot.succeeded")? {
        return Err(Gap("a chroot that succeeded".to_owned()));
    }
    let (root, reached) = (side.text("root")?, side.text("reached")?);
    let expected = format!("its working directory is the bundle's rootfs, {root}");
    Ok(Finding::new(reached == root, expected, format!("its working directory is {reached}")))
}
