//! A cell: the place of one check, with its own launcher, trace scope, cgroup, runtime state and directory.
//!
//! Everything that a check starts, it starts here, so that all of it can be found again at the end.

mod processes;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use podproof_ebpf::Scope;
use podproof_witness::WITNESS_PATH;

use crate::adapter::oci::{Call, Caller, State, call};
use crate::bundle::{Bundle, NsSource};
use crate::launcher::{Invocation, Launcher, LauncherError};
use crate::observe::cgroup::{Cgroup, Layout};
use crate::observe::process;
use crate::observe::trace::Trace;
use crate::observe::witness::{Link, Listener, WitnessError};
use crate::run::Run;

/// Path of the sandbox program in its root file system.
pub const PAUSE_PATH: &str = "/pause";

/// Why a scenario could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// It does not apply here.
    #[error("{0}")]
    Skip(String),
    /// The runtime refused something that it has to do for the scenario.
    #[error("{0}")]
    Runtime(String),
    /// A witness failed.
    #[error("{}", chain(.0))]
    Witness(#[from] WitnessError),
    /// The launcher failed.
    #[error("{}", chain(.0))]
    Launcher(#[from] LauncherError),
    /// The node refused something that the suite needs.
    #[error("{op} {}: {source}", path.display())]
    Node {
        /// Operation.
        op: &'static str,
        /// Object.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The trace failed.
    #[error("the trace: {0}")]
    Trace(String),
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A container of a cell.
#[derive(Debug)]
pub struct Container {
    /// Its id for the runtime.
    pub id: String,
    /// Its short name.
    pub name: String,
    /// Process id of its main process on the node, as the runtime wrote it to its pid file.
    pub pid: i32,
    /// The connection to its witness, once it runs one.
    pub link: Option<Link>,
    /// Path of the cgroup that the bundle asked for, from the root of the hierarchy.
    pub cgroup: String,
    /// Path of its program inside.
    pub program: String,
}

impl Container {
    /// The connection to its witness.
    ///
    /// # Errors
    /// When it runs none.
    pub fn witness(&mut self) -> Result<&mut Link, Obstacle> {
        let name = self.name.clone();
        self.link.as_mut().ok_or_else(|| Obstacle::Runtime(format!("{name} runs no witness")))
    }

    /// Process id of its program on the node: of a witness as the kernel tells it, else that of the pid file.
    #[must_use]
    pub fn outer_pid(&self) -> i32 {
        self.link.as_ref().map_or(self.pid, |link| link.outer_pid)
    }

    /// The cgroup that its bundle asked for.
    #[must_use]
    pub fn v2(&self) -> Cgroup {
        Cgroup::at(&self.cgroup)
    }
}

/// A sandbox with the containers that joined it.
#[derive(Debug)]
pub struct Pod {
    /// The container that runs the sandbox program.
    pub sandbox: Container,
    /// The others, in the order of their names.
    pub members: Vec<Container>,
}

/// A helper that did its work.
#[derive(Debug, Clone)]
pub struct Helped {
    /// Its process id.
    pub pid: i32,
    /// What it printed.
    pub stdout: String,
}

/// The place of one check.
#[derive(Debug)]
pub struct Cell<'r> {
    /// The run that it belongs to.
    pub run: &'r Run,
    name: String,
    dir: PathBuf,
    launcher: Launcher,
    listener: Listener,
    scope: Result<Scope, String>,
    cgroup: String,
    /// Containers that were created and not deleted.
    alive: Vec<String>,
    calls: u32,
    /// Every call of the runtime, for the report.
    pub history: Vec<Call>,
}

impl<'r> Cell<'r> {
    /// Opens a cell: everything from here on is in its scope.
    ///
    /// # Errors
    /// When the node refuses a directory, a socket, a cgroup or a process.
    pub fn open(run: &'r Run, name: &str) -> Result<Self, Obstacle> {
        let dir = run.dir.join(name);
        for part in ["bundles", "state", "log", "socket"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|source| Obstacle::Node { op: "make", path, source })?;
        }
        let listener = Listener::new(&dir.join("socket"))?;
        let launcher = Launcher::start()?;
        let cgroup = format!("{}/{name}", run.cgroup);
        let scope = run.tracer.as_ref().map_err(Clone::clone).and_then(|tracer| {
            let scope = tracer.open_scope().map_err(|error| chain(&error))?;
            scope.add_thread_group(launcher.tgid()).map_err(|error| chain(&error))?;
            Ok(scope)
        });
        if run.layout == Layout::Unified {
            let group = Cgroup::at(&cgroup);
            let failed =
                |source| Obstacle::Node { op: "make the cgroup", path: group.dir().to_owned(), source };
            group.create().map_err(failed)?;
            if let (Ok(scope), Ok(id)) = (&scope, group.id()) {
                scope.add_cgroup(id).map_err(|error| Obstacle::Trace(chain(&error)))?;
            }
        }
        Ok(Self {
            run,
            name: name.to_owned(),
            dir,
            launcher,
            listener,
            scope,
            cgroup,
            alive: Vec::new(),
            calls: 0,
            history: Vec::new(),
        })
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that every container of the cell sees as `/podproof`.
    #[must_use]
    pub fn shared_dir(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// The runtime's state directory.
    #[must_use]
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A deadline, scaled for this machine.
    #[must_use]
    pub fn deadline(&self, seconds: f64) -> Duration {
        self.run.deadline(seconds)
    }

    /// The pod's cgroup path; containers lie below it.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Ends the scenario here with a skip unless this machine has cgroup v2 with the controllers.
    ///
    /// # Errors
    /// The skip.
    pub fn need_cgroup_v2(&self) -> Result<(), Obstacle> {
        match &self.run.layout {
            Layout::Unified => Ok(()),
            Layout::Other { reason, .. } => {
                Err(Obstacle::Skip(format!("needs cgroup v2 with controllers: {reason}; judge it in a VM")))
            }
        }
    }

    // ---- calls of the runtime ----

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
        self.calls += 1;
        let verb = arguments.first().copied().unwrap_or("call");
        let output = self.dir.join("log").join(format!("{:03}-{verb}.x", self.calls));
        let root = self.state_root().display().to_string();
        let mut all = vec!["--root", root.as_str()];
        all.extend_from_slice(arguments);
        let timeout = self.deadline(20.0);
        let call = call(&mut self.launcher, &self.run.runtime, &all, &output, caller, timeout)?;
        self.history.push(call.clone());
        Ok(call)
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
        let pid_file = dir.join("pid");
        let (dir, pid_path) = (dir.display().to_string(), pid_file.display().to_string());
        let call = self.call_as(&["create", "--bundle", &dir, "--pid-file", &pid_path, &id], caller)?;
        let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if call.ok() {
            self.alive.push(id.clone());
        }
        let program = bundle.args.first().cloned().unwrap_or_default();
        Ok((Container { id, name: bundle.name.clone(), pid, link: None, cgroup, program }, call))
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
        let sandbox = self.create(&Bundle::witness(name).args(&[PAUSE_PATH]))?;
        self.start(&sandbox)?;
        let net = format!("/proc/{}/ns/net", sandbox.pid);
        self.helper(&["loopback", &net])?;
        Ok(sandbox)
    }

    /// A pod: a sandbox and witnesses that join its net, ipc and uts namespaces, and its pid namespace when
    /// process sharing is asked for.
    ///
    /// # Errors
    /// When the runtime refuses a container.
    pub fn pod(&mut self, share_pid: bool, names: &[&str]) -> Result<Pod, Obstacle> {
        let sandbox = self.sandbox("pause")?;
        let members = names
            .iter()
            .map(|name| self.container(&joining(Bundle::witness(name), sandbox.pid, share_pid)))
            .collect::<Result<_, _>>()?;
        Ok(Pod { sandbox, members })
    }

    /// `state` of a container, as the runtime tells it.
    ///
    /// # Errors
    /// When the call fails or prints something else.
    pub fn state(&mut self, id: &str) -> Result<State, Obstacle> {
        let call = self.call(&["state", id])?;
        succeeded(&call)?;
        serde_json::from_str(&call.stdout)
            .map_err(|error| Obstacle::Runtime(format!("`{}` printed something else: {error}", call.line)))
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

    // ---- processes of the suite's own ----

    /// Runs one of the suite's own helpers (a hidden subcommand of podproof) to its end, which must be a good one;
    /// who it was and what it printed.
    ///
    /// # Errors
    /// When the launcher fails, or the helper, whose last words are in the error.
    pub fn helper(&mut self, arguments: &[&str]) -> Result<Helped, Obstacle> {
        let invocation = self.helper_invocation(arguments);
        let (stdout, stderr) = (invocation.stdout.clone(), invocation.stderr.clone());
        let timeout = self.deadline(10.0);
        let ran = self.launcher.run(invocation, timeout)?;
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        match ran.status {
            Some(status) if status.success() => Ok(Helped { pid: ran.pid, stdout: read(&stdout) }),
            status => {
                let ended =
                    status.map_or_else(|| "did not end in time".to_owned(), |status| status.to_string());
                Err(Obstacle::Node {
                    op: "run the suite's helper",
                    path: arguments.join(" ").into(),
                    source: io::Error::other(format!("{ended}: {}", read(&stderr).trim())),
                })
            }
        }
    }

    /// Starts one of the suite's own helpers, which goes on.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn background_helper(&mut self, arguments: &[&str]) -> Result<i32, Obstacle> {
        let invocation = self.helper_invocation(arguments);
        Ok(self.launcher.spawn(invocation)?)
    }

    fn helper_invocation(&mut self, arguments: &[&str]) -> Invocation {
        self.calls += 1;
        let name = arguments.first().copied().unwrap_or("helper");
        let output = self.dir.join("log").join(format!("{:03}-{name}", self.calls));
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
        Invocation {
            argv: std::iter::once(program.display().to_string())
                .chain(["helper".to_owned()])
                .chain(arguments.iter().map(|argument| (*argument).to_owned()))
                .collect(),
            env: std::collections::BTreeMap::new(),
            stdout: output.with_extension("out"),
            stderr: output.with_extension("err"),
            leaked_fds: 0,
            ambient_caps: Vec::new(),
        }
    }

    /// Waits for the end of a container's main process: the suite is its reaper. `None` at the deadline.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn wait(&mut self, pid: i32, timeout: Duration) -> Result<Option<ExitStatus>, Obstacle> {
        Ok(self.launcher.wait(pid, timeout)?)
    }

    /// Leaves the cell's dead orphans, a container's main process among them, as zombies; or reaps them again.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn keep_zombies(&mut self, keep: bool) -> Result<(), Obstacle> {
        Ok(self.launcher.keep_zombies(keep)?)
    }

    // ---- the kernel's side ----

    /// Everything that the kernel showed of this cell until now.
    ///
    /// # Errors
    /// When the probes are not there or the fence does not come through.
    pub fn trace(&self) -> Result<Trace, Obstacle> {
        let scope = self.scope.as_ref().map_err(|reason| Obstacle::Trace(reason.clone()))?;
        scope.fence(self.deadline(5.0)).map_err(|error| Obstacle::Trace(chain(&error)))?;
        Ok(Trace { events: scope.events(), lost: scope.lost() })
    }

    /// Waits for an event, past ones included.
    ///
    /// # Errors
    /// When the probes are not there.
    pub fn await_event(
        &self,
        timeout: Duration,
        wanted: impl FnMut(&podproof_ebpf::event::Event) -> bool,
    ) -> Result<bool, Obstacle> {
        let scope = self.scope.as_ref().map_err(|reason| Obstacle::Trace(reason.clone()))?;
        Ok(scope.wait_for(timeout, wanted).is_some())
    }

    // ---- the end ----

    /// Deletes what the check left running, looks for what the runtime leaves behind, and removes that too.
    /// Returns what it found, and what even the suite could not remove.
    #[must_use]
    pub fn close(mut self) -> (Vec<String>, Vec<String>) {
        for id in std::mem::take(&mut self.alive).into_iter().rev() {
            match self.call(&["delete", "--force", &id]) {
                Ok(call) if call.ok() => {}
                Ok(call) => tracing::debug!(cell = self.name, "{}", call.summary()),
                Err(error) => tracing::debug!(cell = self.name, %error, "delete"),
            }
        }
        let found = self.leftovers();
        let mut stuck = Vec::new();
        match self.launcher.kill_all(self.deadline(5.0)) {
            Ok(left) => stuck.extend(left.into_iter().map(|pid| format!("process {pid}"))),
            Err(error) => stuck.push(chain(&error)),
        }
        let timeout = self.deadline(5.0);
        for (path, error) in self.run.layout.remove(&self.cgroup, timeout) {
            stuck.push(format!("cgroup {}: {error}", path.display()));
        }
        for target in self.mounts() {
            let flags = nix::mount::MntFlags::MNT_DETACH;
            if let Err(errno) = nix::mount::umount2(target.as_str(), flags) {
                stuck.push(format!("mount {target}: {errno}"));
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            stuck.push(format!("directory {}: {error}", self.dir.display()));
        }
        (found, stuck)
    }

    fn mounts(&self) -> BTreeSet<String> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        process::mounts(&mountinfo)
            .into_iter()
            .filter(|mount| Path::new(&mount.target).starts_with(&self.dir))
            .map(|mount| mount.target)
            .collect()
    }

    /// Objects of this cell that are still there although every container was deleted.
    fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        if let Ok(trace) = self.trace() {
            for birth in trace.living() {
                let tgid = birth.child.task.tgid;
                if tgid != self.launcher.tgid() {
                    found.push(format!("process {tgid} ({})", birth.event.comm));
                }
            }
        }
        let containers = self.run.layout.existing(&self.cgroup);
        found.extend(
            containers
                .iter()
                .filter(|path| !path.ends_with(self.cgroup.trim_start_matches('/')))
                .map(|path| format!("cgroup {}", path.display())),
        );
        found.extend(self.mounts().into_iter().map(|target| format!("mount {target}")));
        let state = self.state_root();
        for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
            found.push(format!("state {}", entry.path().display()));
        }
        found
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
