//! State directories, whole and damaged.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

fn record(name: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> =
        containers.iter().map(|name| json!({"name": name, "kind": "Main", "command": null})).collect();
    json!({
        "spec": {"name": name, "namespace": "default", "labels": {}, "containers": containers},
        "uid": UID,
        "created": {"secs_since_epoch": 1, "nanos_since_epoch": 2},
        "boot_id": "x",
        "cgroup_parent": "/podrt-pods",
    })
}

fn write(root: &TempDir, pod: &str, file: &str, text: impl ToString) {
    let directory = root.path().join("pods").join(pod);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(file), text.to_string()).unwrap();
}

#[test]
fn a_node_without_podrt_knows_nothing() {
    let pods = read(Path::new("/nonexistent/podrt"));
    assert!(pods.pods.is_empty() && pods.faults.is_empty());
    assert_eq!(pods.of_cgroup(Path::new("/podrt-pods/classic")), None);
}

#[test]
fn a_cgroup_leads_to_names() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "classic", "pod.json", record("classic", &["web", "backend"]));
    let mut other = record("other", &["web"]);
    other["cgroup_parent"] = json!("/elsewhere//pods/");
    write(&root, "other", "pod.json", other);

    let pods = read(root.path());
    assert!(pods.faults.is_empty(), "{:?}", pods.faults);
    let name = |path: &str| {
        let (pod, part) = pods.of_cgroup(Path::new(path))?;
        assert_eq!((pod.uid.as_str(), pod.namespace.as_str()), (UID, "default"));
        Some(match part {
            Part::Pod => pod.name.clone(),
            Part::Sandbox => format!("{}'s sandbox", pod.name),
            Part::Container(it) => format!("{} of {}", it.names.container, it.names.pod),
        })
    };
    assert_eq!(name("/podrt-pods/classic").as_deref(), Some("classic"));
    assert_eq!(name("podrt-pods/classic/_sandbox").as_deref(), Some("classic's sandbox"));
    assert_eq!(name("/podrt-pods/classic/web").as_deref(), Some("web of classic"));
    assert_eq!(name("/podrt-pods/classic/web/kubepods/x").as_deref(), Some("web of classic"));
    assert_eq!(name("/podrt-pods/classic/backend").as_deref(), Some("backend of classic"));
    assert_eq!(name("/podrt-pods/classic/unknown").as_deref(), Some("classic"));
    assert_eq!(name("/elsewhere/pods/other/web/init").as_deref(), Some("web of other"));
    for path in ["/podrt-pods", "/podrt-pods/_classic", "/podrt-pods/classicweb", "/", ""] {
        assert_eq!(name(path), None, "{path}");
    }
    assert_eq!(pods.pods[0].containers[0].cgroup, Path::new("/podrt-pods/classic/web"));
}

#[test]
fn init_containers_are_told_from_those_that_stay() {
    let root = tempfile::tempdir().unwrap();
    let mut record = record("staged", &["migrate", "proxy", "web", "older", "newer"]);
    let containers = record["spec"]["containers"].as_array_mut().unwrap();
    for (container, kind) in containers.iter_mut().zip([json!("Init"), json!("Sidecar"), json!("Main")]) {
        container["kind"] = kind;
    }
    containers[3].as_object_mut().unwrap().remove("kind");
    containers[4]["kind"] = json!("Ephemeral");
    write(&root, "staged", "pod.json", record);
    let pods = read(root.path());
    assert!(pods.faults.is_empty(), "{:?}", pods.faults);
    let init = pods.pods[0].containers.iter().map(|container| container.is_init);
    assert_eq!(init.collect::<Vec<_>>(), [true, false, false, false, false]);
}

#[test]
fn a_damaged_file_does_not_hide_others() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "a", "pod.json", "{");
    write(&root, "b", "pod.json", record("b", &["web"]));
    // Not the exporter's to read, nor to complain about.
    write(&root, "b", "status.json", "[]");
    write(&root, "c", "pod.json", record("other", &["web"]));
    write(&root, "d", "leftover", "");
    write(&root, "e", "pod.json", " ".repeat(2 << 20));
    write(&root, "_F", "pod.json", "{");
    fs::write(root.path().join("pods/g"), "").unwrap();

    let pods = read(root.path());
    assert_eq!(pods.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["b"]);
    let faults: Vec<String> = pods.faults.iter().map(ToString::to_string).collect();
    let expected = [
        "a/pod.json is damaged",
        "c/pod.json is damaged: its spec.name is that of another pod",
        "e/pod.json has more than 1048576 bytes",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.ends_with(expected), "{fault}");
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    for (pointer, value) in [
        ("/spec/namespace", json!("a\"b")),
        ("/spec/containers/0/name", json!("a/../b")),
        ("/spec/containers/0/name", json!("_sandbox")),
        ("/uid", json!("")),
        ("/uid", json!("a b")),
        ("/cgroup_parent", json!("relative")),
        ("/cgroup_parent", json!("/a/../b")),
    ] {
        let root = tempfile::tempdir().unwrap();
        let mut record = record("a", &["web"]);
        *record.pointer_mut(pointer).unwrap() = value;
        write(&root, "a", "pod.json", record);
        let pods = read(root.path());
        assert!(pods.pods.is_empty(), "{pointer}");
        assert!(matches!(pods.faults[..], [MetadataError::Invalid { .. }]), "{pointer}: {:?}", pods.faults);
    }
}
