//! The pod layer's part of a sweep: one manifest, and the commands on it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::SweepError;
use super::place::{PROGRAM, Place, SHORT_PROGRAM, STAYS, node};
use super::scene::owned;

/// Name of the pod.
const POD: &str = "swept";
/// Its manifest, in the directory of the sweep.
const MANIFEST: &str = "data/pod.json";
/// Its root directory, there too.
const ROOT: &str = "pods";

/// Writes the manifest: a bit of everything that has to be taken back.
pub(super) fn write(place: &Place) -> Result<(), SweepError> {
    let image = place.bundle(STAYS).join("rootfs");
    let mounts =
        json!([{ "name": "memory", "mountPath": "/memory" }, { "name": "disk", "mountPath": "/disk" }]);
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": POD },
        "spec": {
            "shareProcessNamespace": true,
            "terminationGracePeriodSeconds": 1,
            "initContainers": [{ "name": "init", "image": image, "command": [SHORT_PROGRAM, "exit", "0"] }],
            "containers": [{
                "name": "main",
                "image": image,
                "command": [format!("/{PROGRAM}")],
                "volumeMounts": mounts,
                "resources": { "limits": { "cpu": "1", "memory": "64Mi" } }
            }],
            "volumes": [{ "name": "memory", "emptyDir": { "medium": "Memory" } }, { "name": "disk", "emptyDir": {} }]
        }
    });
    let path = place.file(MANIFEST);
    fs::write(&path, manifest.to_string()).map_err(node("write", &path))
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

pub(super) fn clean_up(place: &Place) -> Vec<Vec<String>> {
    vec![on_pod(place, &["rm", "--force", POD]), on_pod(place, &["gc"])]
}

/// The rest of the life of a pod that runs: its container crashes and is restarted, then the pod is stopped and removed.
pub(super) fn live(place: &mut Place) -> Result<(), SweepError> {
    place.call(&on_pod(place, &["kill", POD, "KILL"]))?;
    let inspect = on_pod(place, &["inspect", POD]);
    let deadline = Instant::now() + place.deadline(10.0);
    while is_to_be_restarted(place, &inspect)? && Instant::now() < deadline {
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
