//! Pods with a user namespace of their own (user_namespaces(7)).

use std::fs;

use podproof_witness::Command;
use serde_json::json;

use crate::bundle::{Bundle, NsSource};
use crate::cell::{Cell, Container, Obstacle, Pod, joining};
use crate::evidence::Evidence;

/// Ids 0 to 65535 of the container are these and the following ones of the node. Users and groups differ, so that
/// one map in place of the other shows.
const FIRST_UID: u32 = 100_000;
const FIRST_GID: u32 = 300_000;
const SIZE: u32 = 65_536;

/// The maps by the names of their files, and what they say.
pub(super) fn asked_maps() -> [(&'static str, String); 2] {
    [("uid_map", format!("0 {FIRST_UID} {SIZE}")), ("gid_map", format!("0 {FIRST_GID} {SIZE}"))]
}

/// Skips where the kernel makes no user namespaces.
pub(super) fn need() -> Result<(), Obstacle> {
    let path = "/proc/sys/user/max_user_namespaces";
    let most = fs::read_to_string(path).unwrap_or_default();
    match most.trim() {
        "" | "0" => Err(Obstacle::Skip(format!("needs user namespaces, and {path} says `{}`", most.trim()))),
        _ => Ok(()),
    }
}

/// The bundle with a user namespace and both maps.
pub(super) fn mapped(bundle: Bundle, source: NsSource) -> Bundle {
    let map = |first: u32| json!([{ "containerID": 0, "hostID": first, "size": SIZE }]);
    bundle
        .namespace("user", source)
        .with("/linux/uidMappings", map(FIRST_UID))
        .with("/linux/gidMappings", map(FIRST_GID))
}

/// A pod whose sandbox has a new user namespace, which the others join by its path.
pub(super) fn pod(cell: &mut Cell<'_>, names: &[&str]) -> Result<Pod, Obstacle> {
    let sandbox = cell.sandbox_from(mapped(Bundle::witness("pause"), NsSource::New))?;
    let user = NsSource::Path(format!("/proc/{}/ns/user", sandbox.pid));
    let members = names
        .iter()
        .map(|name| {
            // Parameters of a network are writable with this capability over the user namespace that owns it.
            let bundle = ["bounding", "effective", "permitted"]
                .into_iter()
                .fold(joining(Bundle::witness(name), sandbox.pid, false), |bundle, set| {
                    bundle.with(&format!("/process/capabilities/{set}/-"), "CAP_NET_ADMIN")
                });
            cell.container(&mapped(bundle, user.clone()))
        })
        .collect::<Result<_, _>>()?;
    Ok(Pod { name: String::new(), sandbox, members })
}

/// What both maps of a container say: read by its witness, and from outside.
pub(super) fn maps(
    cell: &Cell<'_>,
    evidence: &mut Evidence,
    container: &mut Container,
) -> Result<(), Obstacle> {
    let (pid, name) = (container.outer_pid(), container.name.clone());
    for (file, _) in asked_maps() {
        let key = format!("{file}.{name}");
        let path = format!("/proc/self/{file}");
        let text: String =
            container.witness()?.ask_as(Command::ReadFile { path: path.clone() }, cell.deadline(5.0))?;
        evidence.inside(&key, words(&text), format!("witness {name}: {path}"));
        outside_map(evidence, &key, pid, file);
    }
    Ok(())
}

/// What a map of a process says, read from outside.
pub(super) fn outside_map(evidence: &mut Evidence, key: &str, pid: i32, file: &str) {
    let path = format!("/proc/{pid}/{file}");
    if let Ok(text) = fs::read_to_string(&path) {
        evidence.kernel(key, words(&text), format!("{path}, read from outside"));
    }
}

/// A map with one space between its words and a comma between its lines.
pub(super) fn words(map: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    map.lines().map(line).collect::<Vec<_>>().join(", ")
}
