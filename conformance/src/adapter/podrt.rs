//! The pod layer of podrt by its command line: Kubernetes v1/Pod manifests in, JSON out.

use std::path::Path;

use podproof_witness::{SOCKET_DIR, WITNESS_PATH};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bundle::{CAPABILITIES, set};

/// How podrt's own output calls the sandbox.
pub const SANDBOX: &str = "_sandbox";
/// Name of the volume that the witnesses' socket lies in.
const SOCKET_VOLUME: &str = "podproof";

/// A pod, as `create` and `run` take it. Nothing in it is restarted, and it has a loopback interface only, unless a check
/// states something else.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Short name of the pod within its cell.
    pub name: String,
    /// Options of `create` and `run`.
    pub options: Vec<String>,
    /// `containers`, `initContainers` and `ephemeralContainers`, in their order.
    containers: Vec<(&'static str, Value)>,
    /// Changes to the finished manifest.
    changes: Vec<(String, Value)>,
}

impl Manifest {
    /// A pod without containers.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), options: Vec::new(), containers: Vec::new(), changes: Vec::new() }
    }

    /// A pod with these witnesses.
    #[must_use]
    pub fn of_witnesses(name: &str, witnesses: &[&str]) -> Self {
        witnesses.iter().fold(Self::new(name), |manifest, witness| manifest.witness(witness))
    }

    /// Adds a container that runs the witness.
    #[must_use]
    pub fn witness(self, name: &str) -> Self {
        self.container(name, &["serve", "--name", name])
    }

    /// Adds a container that runs the witness's program with these words.
    #[must_use]
    pub fn container(mut self, name: &str, words: &[&str]) -> Self {
        self.containers.push(("containers", container(name, words)));
        self
    }

    /// Adds an init container that runs the witness's program with these words.
    #[must_use]
    pub fn init(mut self, name: &str, words: &[&str]) -> Self {
        self.containers.push(("initContainers", container(name, words)));
        self
    }

    /// Adds a sidecar that runs the witness: an init container that is restarted always.
    #[must_use]
    pub fn sidecar(mut self, name: &str) -> Self {
        let mut sidecar = container(name, &["serve", "--name", name]);
        sidecar["restartPolicy"] = json!("Always");
        self.containers.push(("initContainers", sidecar));
        self
    }

    /// Adds a debug container that runs the witness and targets another container.
    #[must_use]
    pub fn debugger(mut self, name: &str, target: &str) -> Self {
        let mut debugger = container(name, &["serve", "--name", name]);
        debugger["targetContainerName"] = json!(target);
        self.containers.push(("ephemeralContainers", debugger));
        self
    }

    /// Sets a value of the manifest, by JSON pointer (`/spec/restartPolicy`). Missing objects are made.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.changes.push((pointer.to_owned(), value.into()));
        self
    }

    /// Gives `create` and `run` an option.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Containers are restarted by this policy, without a wait.
    #[must_use]
    pub fn restarted(self, policy: &str) -> Self {
        self.with("/spec/restartPolicy", policy).option("--restart-backoff", "0")
    }

    /// The main containers that run a witness.
    #[must_use]
    pub fn witnesses(&self) -> Vec<String> {
        let is_witness = |value: &Value| value["command"][1] == "serve";
        let main = self.containers.iter().filter(|(list, value)| *list == "containers" && is_witness(value));
        main.filter_map(|(_, value)| value["name"].as_str().map(str::to_owned)).collect()
    }

    /// The manifest of a pod of this name, whose containers have a copy of the root file system `image` each.
    #[must_use]
    pub fn render(&self, name: &str, image: &Path, socket_dir: &Path) -> Value {
        let mut manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name },
            "spec": {
                "restartPolicy": "Never",
                "containers": [],
                "volumes": [{ "name": SOCKET_VOLUME, "hostPath": { "path": socket_dir, "type": "Directory" } }]
            }
        });
        for (list, container) in &self.containers {
            let mut container = container.clone();
            container["image"] = json!(image);
            let place = manifest["spec"][list].as_array().map_or(0, Vec::len);
            if place == 0 {
                manifest["spec"][list] = json!([]);
            }
            set(&mut manifest, &format!("/spec/{list}/{place}"), container);
        }
        for (pointer, value) in &self.changes {
            set(&mut manifest, pointer, value.clone());
        }
        manifest
    }
}

fn container(name: &str, words: &[&str]) -> Value {
    let command: Vec<&str> = [&[WITNESS_PATH], words].concat();
    let capabilities: Vec<&str> = CAPABILITIES.iter().map(|name| name.trim_start_matches("CAP_")).collect();
    json!({
        "name": name,
        "command": command,
        "securityContext": { "capabilities": { "drop": ["ALL"], "add": capabilities } },
        "volumeMounts": [{ "name": SOCKET_VOLUME, "mountPath": SOCKET_DIR }]
    })
}

/// `inspect` of a pod: what podrt says of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodDocument {
    /// `Created`, `Pending`, `Running`, `Succeeded`, `Failed`, ...
    pub state: String,
    /// Of the Kubernetes API.
    #[serde(default)]
    pub phase: Option<String>,
    /// Path of the pod's cgroup.
    #[serde(default)]
    pub cgroup: String,
    /// Process id of the sandbox program on the node.
    #[serde(default)]
    pub sandbox_pid: Option<i32>,
    /// In the order of the manifest, init containers first.
    #[serde(default)]
    pub containers: Vec<ContainerDocument>,
}

impl PodDocument {
    /// What it says of one container.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerDocument> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// Path of a container's cgroup: the pod's own, and its name.
    #[must_use]
    pub fn cgroup_of(&self, container: &str) -> String {
        format!("{}/{container}", self.cgroup)
    }

    /// How a container ended the last time that it did.
    #[must_use]
    pub fn termination(&self, name: &str) -> Option<&Terminated> {
        let container = self.container(name)?;
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        container.state.terminated.as_ref().or(last)
    }
}

/// A container's status.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDocument {
    /// Its name.
    pub name: String,
    /// How often it was started again.
    pub restart_count: u64,
    /// What it does.
    pub state: StateDocument,
    /// How it ended the time before.
    #[serde(default)]
    pub last_state: Option<StateDocument>,
}

/// One of three.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StateDocument {
    /// It has not been started, or not again.
    #[serde(default)]
    pub waiting: Option<Value>,
    /// It runs.
    #[serde(default)]
    pub running: Option<Value>,
    /// It has ended.
    #[serde(default)]
    pub terminated: Option<Terminated>,
}

/// How a container ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// Exit code; `None` when nobody could learn it.
    pub exit_code: Option<i64>,
    /// `Completed`, `Error`, `OOMKilled`, ...
    pub reason: String,
}

/// `tree` of a pod: its processes by container.
#[derive(Debug, Clone, Deserialize)]
pub struct TreeDocument {
    /// The sandbox ([`SANDBOX`]), then the containers.
    pub containers: Vec<Branch>,
}

/// A container of the tree.
#[derive(Debug, Clone, Deserialize)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Its cgroup.
    #[serde(default)]
    pub cgroup: Option<Group>,
    /// Its processes, parents first.
    #[serde(default)]
    pub processes: Vec<Process>,
}

/// A cgroup of the tree.
#[derive(Debug, Clone, Deserialize)]
pub struct Group {
    /// Path from the root of the hierarchy.
    pub path: String,
}

/// A process of the tree.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Process {
    /// Its number on the node.
    pub pid: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_its_containers_in_order_and_its_changes() {
        let manifest = Manifest::of_witnesses("pod", &["a", "b"])
            .init("first", &["exit", "0"])
            .sidecar("side")
            .with("/spec/containers/1/resources/limits/memory", "64Mi")
            .restarted("OnFailure");
        let rendered = manifest.render("ns-01-pod", Path::new("/image"), Path::new("/socket"));
        let names = |list: &str| -> Vec<String> {
            let list = rendered["spec"][list].as_array().unwrap();
            list.iter().map(|container| container["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (names("containers"), names("initContainers")),
            (vec!["a".into(), "b".into()], vec!["first".into(), "side".into()])
        );
        assert_eq!(rendered["spec"]["containers"][1]["resources"]["limits"]["memory"], "64Mi");
        assert_eq!(rendered["spec"]["restartPolicy"], "OnFailure");
        assert_eq!(rendered["spec"]["containers"][0]["image"], "/image");
        assert_eq!(manifest.options, ["--restart-backoff", "0"]);
    }
}
