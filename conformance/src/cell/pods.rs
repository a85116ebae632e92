//! Pods by the pod layer of podrt: its calls, what it says of a pod, and the containers in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use podproof_witness::WITNESS_PATH;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::containers::printed;
use super::{Cell, Container, Obstacle, PAUSE_PATH, Pod, succeeded};
use crate::adapter::oci::{Call, Caller, call};
use crate::adapter::podrt::{Branch, Manifest, PodDocument, SANDBOX, TreeDocument};
use crate::bundle::write_rootfs;
use crate::image;
use crate::observe;
use crate::observe::witness::Listener;

impl Cell<'_> {
    /// The name that a pod of this short name gets.
    #[must_use]
    pub fn pod_name(&self, name: &str) -> String {
        self.id_of(name)
    }

    /// Calls the pod layer with these words after `pod --root`. A call that fails is a result.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn call_pod(&mut self, words: &[&str]) -> Result<Call, Obstacle> {
        let patience = self.deadline(30.0);
        Ok(self.call_pod_during(words, patience, |_witnesses| Ok(()))?.0)
    }

    /// The same with a deadline of its own, while something else is done: most calls return when their work is done only.
    ///
    /// # Errors
    /// When the launcher fails, or what is done meanwhile.
    pub fn call_pod_during<T>(
        &mut self,
        words: &[&str],
        timeout: Duration,
        meanwhile: impl FnOnce(&mut Listener) -> Result<T, Obstacle>,
    ) -> Result<(Call, T), Obstacle> {
        let output = self.next_output(words.first().copied().unwrap_or("pod"));
        let root = self.state_root().display().to_string();
        let arguments: Vec<&str> = [["pod", "--root", root.as_str()].as_slice(), words].concat();
        let (launcher, runtime, listener) = (&mut self.launcher, &self.run.runtime, &mut self.listener);
        let (call, done) = thread::scope(|scope| {
            let caller = Caller::default();
            let called = scope.spawn(move || call(launcher, runtime, &arguments, &output, &caller, timeout));
            let done = meanwhile(listener);
            (called.join(), done)
        });
        let call =
            call.map_err(|_panic| Obstacle::Runtime("the call's own thread panicked".to_owned()))??;
        Ok((call, done?))
    }

    /// Writes a manifest and calls `run` or `create` with it, whatever comes of it.
    ///
    /// # Errors
    /// When the manifest cannot be written, or the launcher fails.
    pub fn try_pod(&mut self, verb: &str, manifest: &Manifest) -> Result<Call, Obstacle> {
        let name = self.pod_name(&manifest.name);
        let image = self.rootfs()?;
        let path = self.dir.join("bundles").join(format!("{}.json", manifest.name));
        let text = manifest.render(&name, &image, &self.shared_dir()).to_string();
        fs::write(&path, text).map_err(not_written(&path))?;
        let (path, pause) = (path.display().to_string(), self.run.programs.pause.display().to_string());
        let cgroup = self.cgroup.clone();
        let mut words = vec![verb, "--format", "json", "--cgroup-parent", &cgroup, "--pause", &pause];
        if !manifest.options.iter().any(|option| option == "--network") {
            words.extend(["--network", "none"]);
        }
        words.extend(manifest.options.iter().map(String::as_str));
        words.push(&path);
        // Whether it succeeds or not: there may be something to remove.
        self.pods.push(name.clone());
        self.call_pod(&words)
    }

    /// Writes an OCI image of the witness's root file system with this `config` (image-spec config.md); what manifests call it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn image(&self, name: &str, config: &Value) -> Result<String, Obstacle> {
        let layout = self.dir.join("bundles").join(format!("{name}.oci"));
        image::write(&layout, &self.rootfs()?, config).map_err(not_written(&layout))?;
        Ok(format!("oci:{}", layout.display()))
    }

    /// The root file system that every container of a pod gets a copy of.
    fn rootfs(&self) -> Result<PathBuf, Obstacle> {
        let dir = self.dir.join("bundles");
        let root = dir.join("rootfs");
        if !root.exists() {
            let programs = [(self.run.programs.witness.as_path(), WITNESS_PATH)];
            write_rootfs(&dir, &programs).map_err(not_written(&root))?;
        }
        Ok(root)
    }

    /// Runs a pod and waits for its main containers, all of which are witnesses.
    ///
    /// # Errors
    /// When the pod layer refuses it, or no witness calls.
    pub fn start_pod(&mut self, manifest: &Manifest) -> Result<Pod, Obstacle> {
        succeeded(&self.try_pod("run", manifest)?)?;
        let name = self.pod_name(&manifest.name);
        let members = manifest
            .witnesses()
            .iter()
            .map(|witness| self.member(&name, witness))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Pod { sandbox: self.sandbox_of(&name)?, name, members })
    }

    /// The sandbox of a pod.
    ///
    /// # Errors
    /// When the pod layer does not name its process, or names another one in its tree.
    pub fn sandbox_of(&mut self, pod: &str) -> Result<Container, Obstacle> {
        let pid = self.document(pod)?.sandbox_pid.unwrap_or(0);
        let branch = self.branch(pod, SANDBOX)?;
        self.placed(pod, &branch, "pause", pid, PAUSE_PATH)
    }

    /// Waits for the witness of a container of a pod, the next one where it was greeted before. Its process is the one that
    /// the kernel names (`SO_PEERCRED`), and the pod layer has to show it in that container.
    ///
    /// # Errors
    /// When no witness calls, or the pod layer does not know its process.
    pub fn member(&mut self, pod: &str, name: &str) -> Result<Container, Obstacle> {
        let link = self.listener.hello(name, self.deadline(20.0))?;
        let branch = self.branch(pod, name)?;
        let mut member = self.placed(pod, &branch, name, link.outer_pid, WITNESS_PATH)?;
        // What stands in front of the program is the main process, and the pod layer lists it first.
        member.pid = branch.processes.first().map_or(link.outer_pid, |process| process.pid);
        member.link = Some(link);
        Ok(member)
    }

    fn placed(
        &self,
        pod: &str,
        branch: &Branch,
        name: &str,
        pid: i32,
        program: &str,
    ) -> Result<Container, Obstacle> {
        let listed: Vec<i32> = branch.processes.iter().map(|process| process.pid).collect();
        if !listed.contains(&pid) {
            let what = format!("the tree of pod {pod} shows {listed:?} for {}, not {pid}", branch.name);
            return Err(Obstacle::Runtime(what));
        }
        let cgroup = branch.cgroup.as_ref().map(|group| group.path.clone()).unwrap_or_default();
        let (id, name, program) = (branch.name.clone(), name.to_owned(), program.to_owned());
        Ok(Container { id, name, pid, link: None, cgroup, program })
    }

    fn branch(&mut self, pod: &str, name: &str) -> Result<Branch, Obstacle> {
        let tree: TreeDocument = self.told(&["tree", "--format", "json", pod])?;
        let found = tree.containers.into_iter().find(|branch| branch.name == name);
        found.ok_or_else(|| Obstacle::Runtime(format!("the tree of pod {pod} has no container {name}")))
    }

    /// `inspect` of a pod.
    ///
    /// # Errors
    /// When the call fails or prints something else.
    pub fn document(&mut self, pod: &str) -> Result<PodDocument, Obstacle> {
        self.told(&["inspect", pod])
    }

    /// Asks for `inspect` again until it says this, at most so long; what it said last. The pod layer learns of an end a moment
    /// after the kernel, and tells nobody.
    ///
    /// # Errors
    /// As [`Cell::document`].
    pub fn await_document(
        &mut self,
        pod: &str,
        timeout: Duration,
        wanted: impl Fn(&PodDocument) -> bool,
    ) -> Result<PodDocument, Obstacle> {
        let deadline = Instant::now() + timeout;
        loop {
            let document = self.document(pod)?;
            if wanted(&document) || Instant::now() >= deadline {
                return Ok(document);
            }
            observe::pause(Duration::from_millis(10));
        }
    }

    fn told<T: DeserializeOwned>(&mut self, words: &[&str]) -> Result<T, Obstacle> {
        let call = self.call_pod(words)?;
        printed(&call)
    }

    /// Removes a pod that has ended.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn remove_pod(&mut self, pod: &str) -> Result<Call, Obstacle> {
        let call = self.call_pod(&["rm", pod])?;
        if call.ok() {
            self.pods.retain(|name| name != pod);
        }
        Ok(call)
    }

    /// Removes what the check left, by the pod layer.
    pub(super) fn remove_pods(&mut self) {
        for name in std::mem::take(&mut self.pods) {
            match self.call_pod(&["rm", "--force", &name]) {
                Ok(call) if call.ok() => {}
                Ok(call) => tracing::debug!(cell = self.name, "{}", call.summary()),
                Err(error) => tracing::debug!(cell = self.name, %error, "pod rm"),
            }
        }
    }
}

fn not_written(path: &Path) -> impl FnOnce(io::Error) -> Obstacle + use<> {
    let path = path.to_owned();
    move |source| Obstacle::Node { op: "write", path, source }
}
