//! What each container becomes: specification and image in, a `config.json` of the OCI runtime specification out.
//!
//! The functions are pure. The paths of the node that they need come in as [`Places`]; the values that only a running pod has
//! (the pid of pause) as [`Sandbox`].

pub mod cgroup;
pub mod container;
pub mod files;
pub mod mounts;
pub mod sandbox;
pub mod seccomp;
pub mod security;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::spec::{PodSpec, VolumeSource, VolumeSpec};

/// Name of the sandbox among the containers of a pod; no container of a manifest can have it.
pub const SANDBOX: &str = "_sandbox";

/// The version of the runtime specification that the configurations are written for.
const OCI_VERSION: &str = "1.2.0";

/// Where things of a pod are on the node.
#[derive(Debug, Clone)]
pub struct Places {
    /// The pod's cgroup, absolute in the hierarchy.
    pub cgroup: PathBuf,
    /// The directory of the pod.
    pub pod: PathBuf,
}

impl Places {
    /// A file of `/etc` that the containers share.
    #[must_use]
    pub fn etc(&self, name: &str) -> PathBuf {
        self.pod.join("etc").join(name)
    }

    /// The directory that becomes `/dev/shm` of all containers.
    #[must_use]
    pub fn shm(&self) -> PathBuf {
        self.pod.join("shm")
    }

    /// An emptyDir volume.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        self.pod.join("volumes").join(name)
    }

    /// The files of a volume.
    #[must_use]
    pub fn source(&self, volume: &VolumeSpec) -> PathBuf {
        match &volume.source {
            VolumeSource::EmptyDir { .. } => self.volume(&volume.name),
            VolumeSource::HostPath { path, .. } => path.clone(),
        }
    }

    /// Where the `subPath` of a container's `index`th mount is attached, once it has been found inside of its volume.
    #[must_use]
    pub fn sub_path(&self, container: &str, index: usize) -> PathBuf {
        self.pod.join("subpaths").join(container).join(index.to_string())
    }

    /// The file for a container's termination message.
    #[must_use]
    pub fn message(&self, container: &str) -> PathBuf {
        self.pod.join("messages").join(container)
    }
}

/// A running sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sandbox {
    /// pause, as the node sees it.
    pub pid: i32,
}

/// A namespace to be made, or to be joined through pause.
fn namespace(kind: &str, file: &str, sandbox: Option<Sandbox>) -> Value {
    match sandbox {
        None => json!({"type": kind}),
        Some(Sandbox { pid }) => json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}),
    }
}

/// The namespaces that the whole pod has for itself; `sandbox` is `None` for the sandbox, which makes them.
fn pod_namespaces(spec: &PodSpec, sandbox: Option<Sandbox>) -> Vec<Value> {
    let mut list = Vec::new();
    if !spec.is_host_network {
        // With the node's network goes the node's name.
        list.push(namespace("network", "net", sandbox));
        list.push(namespace("uts", "uts", sandbox));
    }
    if !spec.is_host_ipc {
        list.push(namespace("ipc", "ipc", sandbox));
    }
    list
}

/// What `$(VAR)` and annotations cannot tell: for people who look at a bundle.
fn annotations(spec: &PodSpec, container: &str) -> Value {
    json!({
        "io.kubernetes.pod.name": spec.name,
        "io.kubernetes.pod.namespace": spec.namespace,
        "io.kubernetes.container.name": container,
    })
}
