//! The pod layer's part of a sweep: one manifest, and the commands on it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::SweepError;
use super::place::{PROGRAM, Place, SHORT_PROGRAM, STAYS, node};
use super::scene::owned;
use crate::{bundle, image};

/// Name of the pod.
const POD: &str = "swept";
/// Name of its main container.
const MAIN: &str = "main";
/// Its manifest, in the directory of the sweep.
const MANIFEST: &str = "data/pod.json";
/// The image of its main container, there too; unpacked for each cut, because the clean-up removes what no pod uses.
const IMAGE: &str = "data/image";
/// Its root directory, there too.
const ROOT: &str = "pods";

/// Writes the manifest, and the image that it names.
pub(super) fn write(place: &Place) -> Result<(), SweepError> {
    let (layout, program) = (place.file(IMAGE), format!("/{PROGRAM}"));
    // Small, because each cut unpacks it: mount points, a link and one program.
    let root = bundle::write_rootfs(&layout, &[(place.pause(), &program)]);
    root.and_then(|root| image::write(&layout, &root, &json!({ "Entrypoint": [program] })))
        .map_err(node("write the image", &layout))?;
    let path = place.file(MANIFEST);
    let text = manifest(&layout, &place.bundle(STAYS).join("rootfs")).to_string();
    fs::write(&path, text).map_err(node("write", &path))
}

/// A pod with a bit of everything that has to be taken back: containers of all kinds, from an OCI layout and from a root file
/// system in a directory, with volumes of all kinds and hooks.
fn manifest(layout: &Path, directory: &Path) -> Value {
    let short = [SHORT_PROGRAM, "exit", "0"];
    let hook = json!({ "exec": { "command": short } });
    // The image does not have that program.
    let program = directory.join(SHORT_PROGRAM.trim_start_matches('/'));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": POD },
        "spec": {
            "shareProcessNamespace": true,
            "terminationGracePeriodSeconds": 1,
            "initContainers": [
                { "name": "sidecar", "image": directory, "command": [format!("/{PROGRAM}")], "restartPolicy": "Always" },
                { "name": "init", "image": directory, "command": short }
            ],
            "containers": [{
                "name": MAIN,
                "image": format!("oci:{}", layout.display()),
                "volumeMounts": [
                    { "name": "memory", "mountPath": "/memory" },
                    { "name": "disk", "mountPath": "/disk" },
                    { "name": "disk", "mountPath": "/part", "subPath": "part" },
                    { "name": "program", "mountPath": SHORT_PROGRAM, "readOnly": true }
                ],
                "lifecycle": { "postStart": hook, "preStop": hook },
                "resources": { "limits": { "cpu": "1", "memory": "64Mi" } }
            }],
            "volumes": [
                { "name": "memory", "emptyDir": { "medium": "Memory" } },
                { "name": "disk", "emptyDir": {} },
                { "name": "program", "hostPath": { "path": program, "type": "File" } }
            ]
        }
    })
}

fn with_manifest(place: &Place, verb: &str) -> Vec<String> {
    let [root, pause, manifest] = [place.file(ROOT), place.pause().to_owned(), place.file(MANIFEST)]
        .map(|path| path.display().to_string());
    owned(&["pod", "--root", &root, verb, "--restart-backoff", "0", "--pause", &pause, &manifest])
}

fn on_pod(place: &Place, words: &[&str]) -> Vec<String> {
    let root = place.file(ROOT).display().to_string();
    owned(&[["pod", "--root", &root].as_slice(), words].concat())
}

pub(super) fn create(place: &Place) -> Vec<String> {
    with_manifest(place, "create")
}

pub(super) fn run(place: &Place) -> Vec<String> {
    with_manifest(place, "run")
}

pub(super) fn stop(place: &Place) -> Vec<String> {
    on_pod(place, &["stop", POD])
}

pub(super) fn rm(place: &Place) -> Vec<String> {
    on_pod(place, &["rm", POD])
}

pub(super) fn rm_force(place: &Place) -> Vec<String> {
    on_pod(place, &["rm", "--force", POD])
}

pub(super) fn clean_up(place: &Place) -> Vec<Vec<String>> {
    vec![rm_force(place), on_pod(place, &["gc"])]
}

/// The rest of the life of a pod that runs: its main container crashes and is restarted, then the pod is stopped and removed.
pub(super) fn live(place: &mut Place) -> Result<(), SweepError> {
    place.call(&on_pod(place, &["kill", "--container", MAIN, POD, "KILL"]))?;
    let inspect = on_pod(place, &["inspect", POD]);
    let deadline = Instant::now() + place.deadline(10.0);
    while is_to_be_restarted(place, &inspect)? {
        if Instant::now() >= deadline {
            let line = format!("{} {}", place.runtime().name, inspect.join(" "));
            return Err(SweepError::Runtime { line, ended: "shows no restart in time".to_owned() });
        }
        place.rest(Duration::from_millis(20))?;
    }
    place.call(&stop(place))?;
    place.call(&rm(place))
}

/// True while the supervisor lives, and the container has not been restarted.
fn is_to_be_restarted(place: &mut Place, inspect: &[String]) -> Result<bool, SweepError> {
    place.call(inspect)?;
    let document: Value = serde_json::from_slice(&place.printed()).unwrap_or_default();
    let is_restarted = |container: &Value| container["restartCount"] == 1 && container["ready"] == true;
    let containers = document["containers"].as_array();
    let is_alive = ["Pending", "Running"].iter().any(|state| document["state"] == *state);
    Ok(is_alive && !containers.is_some_and(|containers| containers.iter().any(is_restarted)))
}
