//! Calls of the runtime, and the containers and pods that a check makes by them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use podproof_witness::WITNESS_PATH;
use serde::de::DeserializeOwned;

use super::{Cell, Container, Obstacle, PAUSE_PATH, Pod};
use crate::adapter::oci::{Call, Caller, State, call, call_all};
use crate::adapter::podrt::Manifest;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::Adapter;
use crate::observe::witness::Link;
use crate::observe::{self, process};

impl Cell<'_> {
    /// Calls the runtime with these arguments after `--root`.
    ///
    /// # Errors
    /// When the launcher fails. A call that fails is a result.
    pub fn call(&mut self, arguments: &[&str]) -> Result<Call, Obstacle> {
        self.call_as(arguments, &Caller::default())
    }

    /// The same, with something in the caller that must not be passed on.
    ///
    /// # Errors
    /// As [`Cell::call`].
    pub fn call_as(&mut self, arguments: &[&str], caller: &Caller) -> Result<Call, Obstacle> {
        let output = self.next_output(arguments.first().copied().unwrap_or("call"));
        let root = self.state_root().display().to_string();
        let mut all = vec!["--root", root.as_str()];
        all.extend_from_slice(arguments);
        let timeout = self.deadline(20.0);
        let caller = self.at_home(caller);
        let call = call(&mut self.launcher, &self.run.runtime, &all, &output, &caller, timeout)?;
        Ok(call)
    }

    /// Where the output of the next call goes.
    pub(super) fn next_output(&mut self, verb: &str) -> PathBuf {
        self.calls += 1;
        self.output_of(verb)
    }

    /// Where the output of the last call, which was of this verb, is: with the extensions `out` and `err`. What a call
    /// leaves running may write there still.
    #[must_use]
    pub fn output_of(&self, verb: &str) -> PathBuf {
        self.dir.join("log").join(format!("{:03}-{verb}.x", self.calls))
    }

    /// The id that a container of this name gets.
    #[must_use]
    pub fn id_of(&self, name: &str) -> String {
        format!("{}-{name}", self.name.to_lowercase())
    }

    /// Writes a bundle and calls `create`, whatever comes of it. The pid is 0 unless it succeeded.
    ///
    /// # Errors
    /// When the bundle cannot be written, or the launcher fails.
    pub fn try_create(&mut self, bundle: &Bundle, caller: &Caller) -> Result<(Container, Call), Obstacle> {
        let (mut container, arguments) = self.prepare(bundle)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let call = self.call_as(&arguments, caller)?;
        self.created(&mut container, &call);
        Ok((container, call))
    }

    /// Writes a bundle; the container that may become of it, and the call of `create` that makes it.
    fn prepare(&self, bundle: &Bundle) -> Result<(Container, Vec<String>), Obstacle> {
        let id = self.id_of(&bundle.name);
        let dir = self.dir.join("bundles").join(&bundle.name);
        let cgroup = format!("{}/{}", self.cgroup, bundle.name);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|source| Obstacle::Node {
                op: "clear",
                path: dir.clone(),
                source,
            })?;
        }
        let config = bundle.config(&cgroup, &self.shared_dir());
        let programs = [
            (self.run.programs.witness.as_path(), WITNESS_PATH),
            (self.run.programs.pause.as_path(), PAUSE_PATH),
        ];
        bundle.write(&dir, &config, &programs).map_err(|source| Obstacle::Node {
            op: "write the bundle",
            path: dir.clone(),
            source,
        })?;
        let (pid_file, dir) = (dir.join("pid").display().to_string(), dir.display().to_string());
        let arguments =
            ["create", "--bundle", &dir, "--pid-file", &pid_file, &id].map(str::to_owned).to_vec();
        let program = bundle.args.first().cloned().unwrap_or_default();
        let container = Container { id, name: bundle.name.clone(), pid: 0, link: None, cgroup, program };
        Ok((container, arguments))
    }

    /// Takes over what a call of `create` made.
    fn created(&mut self, container: &mut Container, call: &Call) {
        let pid_file = self.dir.join("bundles").join(&container.name).join("pid");
        let pid = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok());
        // The numbers that no container can have mean whole groups to kill(2), or the node's init.
        container.pid = pid.filter(|pid| *pid > 1).unwrap_or(0);
        if call.ok() {
            self.alive.push(container.id.clone());
        }
    }

    /// Creates these containers at the same time, whatever comes of it.
    ///
    /// # Errors
    /// When a bundle cannot be written, or the launcher fails.
    pub fn create_all(&mut self, bundles: &[Bundle]) -> Result<Vec<(Container, Call)>, Obstacle> {
        let prepared = bundles.iter().map(|bundle| self.prepare(bundle)).collect::<Result<Vec<_>, _>>()?;
        let (mut containers, arguments): (Vec<Container>, Vec<Vec<String>>) = prepared.into_iter().unzip();
        let calls = self.call_all(&arguments)?;
        for (container, call) in containers.iter_mut().zip(&calls) {
            self.created(container, call);
        }
        Ok(containers.into_iter().zip(calls).collect())
    }

    /// Runs these containers to their ends at the same time, by the runtime's `run`.
    ///
    /// # Errors
    /// As [`Cell::create_all`].
    pub fn run_all(&mut self, bundles: &[Bundle]) -> Result<Vec<Call>, Obstacle> {
        let mut calls = Vec::new();
        for bundle in bundles {
            let (container, mut arguments) = self.prepare(bundle)?;
            if let Some(verb) = arguments.first_mut() {
                "run".clone_into(verb);
            }
            calls.push(arguments);
            // Should it not end, it is deleted with the others.
            if !self.alive.contains(&container.id) {
                self.alive.push(container.id);
            }
        }
        self.call_all(&calls)
    }

    /// Calls the runtime with each of these arguments at the same time.
    ///
    /// # Errors
    /// When the launcher fails. A call that fails is a result.
    pub fn call_all(&mut self, arguments: &[Vec<String>]) -> Result<Vec<Call>, Obstacle> {
        let root = self.state_root().display().to_string();
        let mut calls = Vec::new();
        for arguments in arguments {
            let output = self.next_output(arguments.first().map_or("call", String::as_str));
            let all = ["--root".to_owned(), root.clone()].into_iter().chain(arguments.iter().cloned());
            calls.push((all.collect(), output));
        }
        let timeout = self.deadline(60.0);
        let caller = self.at_home(&Caller::default());
        Ok(call_all(&mut self.launcher, &self.run.runtime, &calls, &caller, timeout)?)
    }

    /// The caller in the cell's cgroup for callers, unless it has another.
    fn at_home(&self, caller: &Caller) -> Caller {
        Caller { cgroup: caller.cgroup.clone().or_else(|| self.callers.clone()), ..caller.clone() }
    }

    /// Executes a witness in a running container, by the runtime's `exec` with these options; what came of the call, and the
    /// connection of the witness, where it calls.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn exec_witness(
        &mut self,
        container: &Container,
        name: &str,
        options: &[&str],
    ) -> Result<(Call, Option<Link>), Obstacle> {
        let mut arguments = vec!["exec", "--detach"];
        arguments.extend_from_slice(options);
        arguments.extend([container.id.as_str(), WITNESS_PATH, "serve", "--name", name]);
        let call = self.call(&arguments)?;
        let link = if call.ok() { self.listener.hello(name, self.deadline(5.0)).ok() } else { None };
        Ok((call, link))
    }

    /// The witness of this name, if it calls within that time.
    #[must_use]
    pub fn hello(&mut self, name: &str, timeout: Duration) -> Option<Link> {
        self.listener.hello(name, timeout).ok()
    }

    /// Creates a container that has to come up.
    ///
    /// # Errors
    /// When the runtime refuses it.
    pub fn create(&mut self, bundle: &Bundle) -> Result<Container, Obstacle> {
        let (container, call) = self.try_create(bundle, &Caller::default())?;
        succeeded(&call)?;
        if container.pid <= 0 {
            return Err(Obstacle::Runtime(format!("{} wrote no pid file", call.line)));
        }
        Ok(container)
    }

    /// Starts a created container.
    ///
    /// # Errors
    /// When the runtime refuses it.
    pub fn start(&mut self, container: &Container) -> Result<Call, Obstacle> {
        let call = self.call(&["start", &container.id])?;
        succeeded(&call)?;
        Ok(call)
    }

    /// Waits for the witness of a started container.
    ///
    /// # Errors
    /// When it does not call.
    pub fn greet(&mut self, container: &mut Container) -> Result<(), Obstacle> {
        container.link = Some(self.listener.hello(&container.name, self.deadline(10.0))?);
        Ok(())
    }

    /// Creates and starts a container and waits for its witness.
    ///
    /// # Errors
    /// When the runtime refuses it or no witness calls.
    pub fn container(&mut self, bundle: &Bundle) -> Result<Container, Obstacle> {
        let mut container = self.create(bundle)?;
        self.start(&container)?;
        self.greet(&mut container)?;
        Ok(container)
    }

    /// Creates and starts a sandbox: pause, with new net, ipc and uts namespaces, its loopback up, and a pid
    /// namespace that others may join. What a CRI implementation does before the first container.
    ///
    /// # Errors
    /// When the runtime refuses it.
    pub fn sandbox(&mut self, name: &str) -> Result<Container, Obstacle> {
        self.sandbox_from(Bundle::witness(name))
    }

    /// The same from a bundle of its own; whatever its program, pause takes its place.
    ///
    /// # Errors
    /// When the runtime refuses it.
    pub fn sandbox_from(&mut self, bundle: Bundle) -> Result<Container, Obstacle> {
        let has_network = bundle.namespaces.contains(&("network", NsSource::New));
        let sandbox = self.create(&bundle.args(&self.pause_command()))?;
        self.start(&sandbox)?;
        self.await_sleep(&sandbox)?;
        if has_network {
            let net = format!("/proc/{}/ns/net", sandbox.pid);
            self.helper(&["loopback", &net])?;
        }
        Ok(sandbox)
    }

    /// The sandbox program as it is called in its root file system, with its arguments.
    #[must_use]
    pub fn pause_command(&self) -> Vec<&str> {
        std::iter::once(PAUSE_PATH).chain(self.run.programs.pause_args.iter().map(String::as_str)).collect()
    }

    /// Waits until the sandbox program itself is executed and sleeps: it has taken care of its signals by then, while a
    /// runtime's `start` may return before its own init has become that program. No event tells of the first sleep, so
    /// the state is read until it is so.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn await_sleep(&self, sandbox: &Container) -> Result<(), Obstacle> {
        let deadline = Instant::now() + self.deadline(5.0);
        let failed =
            |what: String| Err(Obstacle::Runtime(format!("the sandbox program of {} {what}", sandbox.id)));
        loop {
            let program = process::program(sandbox.pid);
            match (process::state(sandbox.pid), program.as_deref()) {
                (Some('S'), Some(PAUSE_PATH)) => return Ok(()),
                (None | Some('Z'), _) => return failed("ended at once".to_owned()),
                (state, program) if Instant::now() >= deadline => {
                    return failed(format!("does not sleep: state {state:?}, program {program:?}"));
                }
                _ => observe::pause(Duration::from_millis(2)),
            }
        }
    }

    /// A pod: a sandbox and witnesses that join its net, ipc and uts namespaces, and its pid namespace when
    /// process sharing is asked for. Built out of containers, or by the pod layer, as the run's adapter has it.
    ///
    /// # Errors
    /// When the runtime refuses a container.
    pub fn pod(&mut self, share_pid: bool, names: &[&str]) -> Result<Pod, Obstacle> {
        if self.run.adapter == Adapter::Podrt {
            let manifest = Manifest::of_witnesses("pod", names);
            return self.start_pod(&manifest.with("/spec/shareProcessNamespace", share_pid));
        }
        self.pod_of(Bundle::witness("pause"), share_pid, names)
    }

    /// The same built out of containers, with a sandbox from a bundle of its own.
    ///
    /// # Errors
    /// When the runtime refuses a container.
    pub fn pod_of(&mut self, sandbox: Bundle, share_pid: bool, names: &[&str]) -> Result<Pod, Obstacle> {
        let sandbox = self.sandbox_from(sandbox)?;
        let members = names
            .iter()
            .map(|name| self.container(&joining(Bundle::witness(name), sandbox.pid, share_pid)))
            .collect::<Result<_, _>>()?;
        Ok(Pod { name: String::new(), sandbox, members })
    }

    /// A witness that shares nothing with another: a container by itself, or the only one of a pod.
    ///
    /// # Errors
    /// When the runtime refuses it or no witness calls.
    pub fn alone(&mut self, name: &str) -> Result<Container, Obstacle> {
        if self.run.adapter == Adapter::Podrt {
            let pod = self.start_pod(&Manifest::of_witnesses(&format!("{name}-alone"), &[name]))?;
            let member = pod.members.into_iter().next();
            return member.ok_or_else(|| Obstacle::Runtime(format!("the pod of {name} has no container")));
        }
        self.container(&Bundle::witness(name))
    }

    /// `state` of a container, as the runtime tells it.
    ///
    /// # Errors
    /// When the call fails or prints something else.
    pub fn state(&mut self, id: &str) -> Result<State, Obstacle> {
        let call = self.call(&["state", id])?;
        printed(&call)
    }

    /// Sends a signal by the runtime.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn kill(&mut self, id: &str, signal: &str) -> Result<Call, Obstacle> {
        self.call(&["kill", id, signal])
    }

    /// Deletes a container by the runtime, without force.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn delete(&mut self, id: &str) -> Result<Call, Obstacle> {
        let call = self.call(&["delete", id])?;
        if call.ok() {
            self.alive.retain(|alive| alive != id);
        }
        Ok(call)
    }
}

/// A bundle whose container joins a sandbox.
#[must_use]
pub fn joining(bundle: Bundle, sandbox_pid: i32, share_pid: bool) -> Bundle {
    let at = |file: &str| NsSource::Path(format!("/proc/{sandbox_pid}/ns/{file}"));
    let bundle =
        bundle.namespace("network", at("net")).namespace("ipc", at("ipc")).namespace("uts", at("uts"));
    if share_pid { bundle.namespace("pid", at("pid")) } else { bundle }
}

/// A call that the scenario needs to succeed.
///
/// # Errors
/// When it did not.
pub fn succeeded(call: &Call) -> Result<(), Obstacle> {
    if call.ok() { Ok(()) } else { Err(Obstacle::Runtime(call.summary())) }
}

/// What a call that has to succeed printed as JSON.
pub(super) fn printed<T: DeserializeOwned>(call: &Call) -> Result<T, Obstacle> {
    succeeded(call)?;
    serde_json::from_str(&call.stdout)
        .map_err(|error| Obstacle::Runtime(format!("`{}` printed something else: {error}", call.line)))
}
