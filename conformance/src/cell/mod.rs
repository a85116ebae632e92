//! A cell: the place of one check, with its own launcher, trace scope, cgroup, runtime state and directory.
//!
//! Everything that a check starts, it starts here, so that all of it can be found again at the end.

mod close;
mod containers;
mod mounts;
mod pods;
mod processes;

pub use containers::{joining, succeeded};
pub use mounts::NodeMount;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podproof_ebpf::Scope;

use crate::catalog::Requirement;
use crate::chain::chain;
use crate::launcher::{Launcher, LauncherError};
use crate::observe::cgroup::{Cgroup, Layout};
use crate::observe::process;
use crate::observe::trace::Trace;
use crate::observe::witness::{Link, Listener, WitnessError};
use crate::report::timeline::Timeline;
use crate::run::Run;
use crate::trace::timeline;

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
    /// Its name for the pod layer; empty where the suite built it out of containers.
    pub name: String,
    /// The container that runs the sandbox program.
    pub sandbox: Container,
    /// The others, in the order of their names.
    pub members: Vec<Container>,
}

/// The members of a pod, when they are as many as the scenario has.
///
/// # Errors
/// When they are not.
pub fn exactly<const N: usize>(members: &mut [Container]) -> Result<&mut [Container; N], Obstacle> {
    let found = members.len();
    let other = || Obstacle::Runtime(format!("the pod has {found} containers instead of {N}"));
    members.as_mut_array().ok_or_else(other)
}

/// A helper that did its work.
#[derive(Debug, Clone)]
pub struct Helped {
    /// Its process id.
    pub pid: i32,
    /// What it printed.
    pub stdout: String,
}

/// A command of podproof's own that ended, well or not.
#[derive(Debug, Clone)]
pub struct Own {
    /// Its process id.
    pub pid: i32,
    /// Its last words.
    pub said: String,
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
    /// Directory of the cgroup in which the cell's commands run, beside that of its containers: what they make can be held
    /// down, and killed as a whole.
    callers: Option<PathBuf>,
    /// Containers that were created and not deleted.
    alive: Vec<String>,
    /// Pods of the pod layer that were created and not removed.
    pods: Vec<String>,
    calls: u32,
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
        let mut callers = None;
        if run.layout == Layout::Unified {
            let group = Cgroup::at(&cgroup);
            let failed =
                |source| Obstacle::Node { op: "make the cgroup", path: group.dir().to_owned(), source };
            group.create().map_err(failed)?;
            if let (Ok(scope), Ok(id)) = (&scope, group.id()) {
                scope.add_cgroup(id).map_err(|error| Obstacle::Trace(chain(&error)))?;
            }
            callers = Some(make_callers(&format!("{}/{CALLERS}{name}", run.cgroup))?);
        }
        Ok(Self {
            run,
            name: name.to_owned(),
            dir,
            launcher,
            listener,
            scope,
            cgroup,
            callers,
            alive: Vec::new(),
            pods: Vec::new(),
            calls: 0,
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

    /// The process that starts everything of the cell, and reaps its orphans.
    #[must_use]
    pub fn launcher_tgid(&self) -> u32 {
        self.launcher.tgid()
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

    /// Ends the scenario here with a skip unless what drives this run can drive the check.
    ///
    /// # Errors
    /// The skip.
    pub fn need_adapter(&self, requirement: &Requirement) -> Result<(), Obstacle> {
        if requirement.has(self.run.adapter) {
            return Ok(());
        }
        let adapters: Vec<String> = requirement.adapters.iter().map(ToString::to_string).collect();
        let (own, adapters) = (self.run.adapter, adapters.join(" or "));
        Err(Obstacle::Skip(format!("is shown by adapter {adapters} only, and this run is driven by {own}")))
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

    /// Everything that the kernel showed of this cell until now.
    ///
    /// # Errors
    /// When the probes are not there or the fence does not come through.
    pub fn trace(&self) -> Result<Trace, Obstacle> {
        let scope = self.scope.as_ref().map_err(|reason| Obstacle::Trace(reason.clone()))?;
        scope.fence(self.deadline(5.0)).map_err(|error| Obstacle::Trace(chain(&error)))?;
        Ok(Trace { events: scope.events(), lost: scope.lost() })
    }

    /// The life of the pod until now, as the kernel showed it; `None` without probes.
    #[must_use]
    pub fn timeline(&self) -> Option<Timeline> {
        let scope = self.scope.as_ref().ok()?;
        let suites = process::namespaces(std::process::id().cast_signed());
        let node = suites.values().filter_map(|id| u32::try_from(id.ino).ok()).collect();
        Some(timeline(&scope.events(), &node))
    }

    /// Records of this cell that were lost until now, `u64::MAX` when their number is not known; 0 without probes.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.scope.as_ref().map_or(0, Scope::lost)
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
}

/// Begins the names of the cgroups of callers.
const CALLERS: &str = "callers-of-";
/// How many processes and threads the commands of a cell may be: many for a runtime, few for a machine.
const CALLERS_TASKS: u64 = 1500;

/// Makes a cgroup that holds processes, with limits that no runtime comes near to.
fn make_callers(path: &str) -> Result<PathBuf, Obstacle> {
    let dir = Cgroup::at(path).dir().to_owned();
    let failed = |op, path: &Path| {
        let path = path.to_owned();
        move |source| Obstacle::Node { op, path, source }
    };
    match fs::create_dir(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("make the cgroup", &dir)(error));
        }
        _ => {}
    }
    let limits = [("pids.max", CALLERS_TASKS.to_string()), ("memory.max", three_quarters().to_string())];
    for (file, limit) in limits {
        let file = dir.join(file);
        fs::write(&file, limit).map_err(failed("write", &file))?;
    }
    Ok(dir)
}

/// Of the node's memory, bytes.
fn three_quarters() -> u64 {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok())
    });
    total.map_or(1 << 30, |kib| kib * 1024 / 4 * 3)
}
