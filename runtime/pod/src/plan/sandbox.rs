//! The sandbox: pause, and the namespaces that it holds.

use serde_json::{Value, json};

use super::{OCI_VERSION, Places, SANDBOX, annotations, namespace, pod_namespaces};
use crate::spec::PodSpec;

/// Its configuration. The bundle's `rootfs` holds nothing but the program.
#[must_use]
pub fn config(spec: &PodSpec, places: &Places) -> Value {
    let mut namespaces = pod_namespaces(spec, None);
    namespaces.extend([namespace("mount", "mnt", None), namespace("cgroup", "cgroup", None)]);
    if !spec.is_host_pid {
        // Of its own in any case; the containers join it when they share their pids.
        namespaces.push(namespace("pid", "pid", None));
    }
    let mut config = json!({
        "ociVersion": OCI_VERSION,
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "user": {"uid": 65535, "gid": 65535},
            "args": ["/pause"],
            "cwd": "/",
            "noNewPrivileges": true,
            // It dies last.
            "oomScoreAdj": -998,
        },
        "annotations": annotations(spec, SANDBOX),
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": places.cgroup.join(SANDBOX),
            "sysctl": spec.sysctls,
            // As little as the kernel gives.
            "resources": {"cpu": {"shares": 2}},
        },
    });
    if !spec.is_host_network {
        config["hostname"] = json!(spec.hostname);
    }
    config
}
