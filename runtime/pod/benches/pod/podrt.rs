//! Pods by `podrt pod`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Subject;
use crate::crash;
use crate::measure::{Res, timed};
use crate::node::{CRASHER, DIR, PROGRAM};

/// The pod of the rounds.
pub(crate) const POD: &str = "bench";
/// The pod whose container crashes.
pub(crate) const CRASHING: &str = "crashing";
/// The cgroup of all pods.
pub(crate) const CGROUP: &str = "/podrt-pods";

/// podrt, and where it keeps its pods.
#[derive(Debug)]
pub(crate) struct Podrt {
    program: PathBuf,
    pause: PathBuf,
    image: PathBuf,
    root: PathBuf,
}

impl Podrt {
    pub(crate) fn new(program: &Path, pause: &Path, image: &Path) -> Res<Self> {
        let root = Path::new(DIR).join("podrt");
        fs::create_dir_all(&root)?;
        Ok(Self { program: program.to_owned(), pause: pause.to_owned(), image: image.to_owned(), root })
    }

    /// The directory of the pod of the rounds.
    pub(crate) fn pod_dir(&self) -> PathBuf {
        self.root.join("pods").join(POD)
    }

    fn container(&self, name: &str, command: &[&str]) -> Value {
        json!({ "name": name, "image": self.image, "command": command })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["pod", "--root"]).arg(&self.root).args(args);
        command
    }

    fn run(&self, pod: &str, spec: &Value, more: &[&str]) -> Res<u64> {
        let path = self.root.with_extension("json");
        let manifest =
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod }, "spec": spec });
        fs::write(&path, manifest.to_string())?;
        let mut command = self.command(&["run", "--network", "none", "--cgroup-parent", CGROUP]);
        command.args(more).arg("--pause").arg(&self.pause).arg(path);
        timed(&mut command)
    }

    /// Starts a pod of two containers; how long the command took.
    pub(crate) fn start_pod(&self, pod: &str) -> Res<u64> {
        let containers = ["first", "second"].map(|name| self.container(name, &[PROGRAM]));
        self.run(pod, &json!({ "containers": containers }), &[])
    }

    /// Starts a pod of a container that crashes again and again, and one that does not.
    pub(crate) fn start_crashing(&self) -> Res<u64> {
        let containers =
            [self.container("first", &[CRASHER, crash::OPTION]), self.container("second", &[PROGRAM])];
        let spec = json!({ "containers": containers });
        self.run(CRASHING, &spec, &["--restart-backoff", "0"])
    }

    /// Ends and removes a pod.
    pub(crate) fn remove_pod(&self, pod: &str) -> Res<u64> {
        timed(&mut self.command(&["rm", "--force", pod]))
    }
}

impl Subject for Podrt {
    fn name(&self) -> &'static str {
        "podrt"
    }

    fn start(&self) -> Res<u64> {
        self.start_pod(POD)
    }

    fn stop(&self) -> Res<u64> {
        let stop = timed(&mut self.command(&["stop", POD]))?;
        Ok(stop + timed(&mut self.command(&["rm", POD]))?)
    }
}
