//! The doing: executes a [`Plan`](crate::plan::Plan), and takes everything back when a step fails.
//!
//! Two processes talk over a socket pair (`protocol`); with some namespaces a third, the joiner, stands between them.
//!
//! | | runtime (`podrt create`) | init (the container's process) |
//! |---|---|---|
//! | 1 | its steps up to the clone; clone3 | born in its cgroup; closes what it does not need; waits |
//! | 2 | id maps, OOM score; sends `Go` | |
//! | 3 | waits | its steps, in the order of the plan, up to the next of the runtime's |
//! | 4 | | sends `Ready`, or `Failed` with step, errno and detail, and exits |
//! | | hooks of the runtime, if any, then again from `Go` on | |
//! | 5 | limits, pid file, state file; sends `Committed` | waits; exits if the socket closes instead |
//! | 6 | exits | waits at the barrier ([`barrier`]) for `podrt start` |
//!
//! The joiner enters the namespaces that are given by path, clones init as its own sibling, sends `Cloned` with
//! the number, and exits: so init's parent is the runtime, outside of a joined pid namespace.
//!
//! An `exec` ([`mod@exec`]) has the same two processes and messages; its new process executes at once after `Committed`. Where the
//! command stays with the program, a keeper ([`exec_kept`]) has the runtime's part.
//!
//! Crash safety: the state file with the cgroup's path is written before the cgroup is made, and no process of the
//! container ever lives outside of it; nor do the hooks that undo what other hooks did stand anywhere else. So
//! `podrt delete --force` and `podrt gc` find everything, whenever the runtime was killed. The cgroup has a mark that says
//! whose it is, so that they find no more than that.

pub mod barrier;
pub mod console;
pub mod create;
pub mod exec;
pub mod features;
pub mod foreground;
pub mod gc;
mod hooks;
mod idmap;
pub mod init;
mod joiner;
mod keeper;
pub mod lifecycle;
pub mod protocol;
pub mod rollback;
mod seccomp;
pub mod terminal;
pub mod update;

pub use create::{CreateRequest, FailAt, create};
pub use exec::{ExecRequest, Target, exec};
pub use features::read_features;
pub use gc::gc;
pub use keeper::exec_kept;
pub use lifecycle::{delete, kill, pause, resume, run, start};
pub use update::update;

use std::time::Duration;

use nix::errno::Errno;

use crate::state::{StateError, Status};

/// A failed operation inside a step.
#[derive(Debug, thiserror::Error)]
#[error("{detail}{}{errno}", if detail.is_empty() { "" } else { ": " })]
pub struct StepError {
    /// What exactly failed, where that says more than the step itself; may be empty.
    pub detail: String,
    /// Why.
    pub errno: Errno,
}

impl StepError {
    /// A failure of `op` on something.
    pub(crate) fn new(detail: impl Into<String>, errno: Errno) -> Self {
        Self { detail: detail.into(), errno }
    }
}

impl From<Errno> for StepError {
    fn from(errno: Errno) -> Self {
        Self { detail: String::new(), errno }
    }
}

/// Adds what was being done to an errno.
pub(crate) trait Context<T> {
    /// `detail` is only made on failure.
    fn during<S: Into<String>>(self, detail: impl FnOnce() -> S) -> Result<T, StepError>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn during<S: Into<String>>(self, detail: impl FnOnce() -> S) -> Result<T, StepError> {
        self.map_err(|errno| StepError::new(detail(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn during<S: Into<String>>(self, detail: impl FnOnce() -> S) -> Result<T, StepError> {
        self.map_err(|error| {
            StepError::new(detail(), Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
        })
    }
}

/// Why a command on a container failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A step of the plan failed; everything before it has been taken back.
    #[error("{step}{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Step {
        /// The step, as its plan names it.
        step: String,
        /// What exactly.
        detail: String,
        /// Why.
        source: Errno,
    },
    /// The create failed, and so did taking it back.
    #[error("something is left: {left}; podrt delete --force may remove it")]
    RollBack {
        /// What is left, and why.
        left: String,
        /// Why the create failed.
        source: Box<LaunchError>,
    },
    /// The create failed, and so did hooks that were to undo it.
    #[error("the poststop hooks failed too ({warnings})")]
    Poststop {
        /// Which, and why.
        warnings: String,
        /// Why the create failed.
        source: Box<LaunchError>,
    },
    /// A create was killed before it wrote a state.
    #[error(
        "container {id} does not exist: its create was interrupted; podrt delete --force {id} or podrt gc removes what is left"
    )]
    Interrupted {
        /// Container id.
        id: String,
    },
    /// Init ended before it was ready.
    #[error(
        "the container's process ended before it was ready ({how}); a linux.resources.memory.limit of a few MiB is too \
         small for the set-up"
    )]
    InitEnded {
        /// Wait status.
        how: String,
    },
    /// The process lives and does not answer.
    #[error(
        "the container's process did not answer within {} s; is it stopped (SIGSTOP), or its cgroup frozen?",
        limit.as_secs()
    )]
    NoAnswer {
        /// How long it had.
        limit: Duration,
    },
    /// What failed in the keeper of an executed program, and why.
    #[error("{0}")]
    Kept(String),
    /// The runtime has several threads.
    #[error("the runtime must have one thread to clone a container")]
    Threads(#[source] Errno),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::CgroupError),
    /// A value of an update.
    #[error(transparent)]
    Spec(#[from] crate::spec::SpecError),
    /// An update needs what this host does not have.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// A limit that is in use already, where that was to be checked.
    #[error("{field}: {bytes} bytes are less than the {usage} in use; memory.checkBeforeUpdate forbids that")]
    InUse {
        /// Field.
        field: String,
        /// Limit in bytes.
        bytes: u64,
        /// `memory.current` in bytes.
        usage: u64,
    },
    /// The kernel refused a value of an update; nothing has changed.
    #[error("{field}: {value:?} was refused, and nothing changed{left}")]
    Update {
        /// Field.
        field: String,
        /// Text that was written.
        value: String,
        /// Files that could not be put back; empty when all is as before.
        left: String,
        /// Why.
        source: crate::cgroup::CgroupError,
    },
    /// The container's status does not allow the operation.
    #[error("cannot {verb} container {id}: it is {status}{way_out}")]
    Status {
        /// Operation.
        verb: &'static str,
        /// Container id.
        id: String,
        /// Its status.
        status: Status,
        /// What to do instead.
        way_out: &'static str,
    },
    /// The program could not be executed; the container is stopped.
    #[error("execute {program}")]
    Exec {
        /// `process.args[0]` as found.
        program: String,
        /// Why.
        source: Errno,
    },
    /// The state file is not about a process of this container.
    #[error(
        "the state of container {id} names a process that lives, and cgroup {cgroup}, which is not this container's: the state was \
         copied or written by somebody else; podrt delete --force removes the state, and touches nothing else"
    )]
    Stranger {
        /// Container id.
        id: String,
        /// The cgroup of the state.
        cgroup: String,
    },
    /// The container is frozen.
    #[error("cannot exec in a paused container {id}; resume it first, or wait for that with --ignore-paused")]
    Paused {
        /// Container id.
        id: String,
    },
    /// A system call on a container.
    #[error("{op} container {id}")]
    Call {
        /// Operation.
        op: &'static str,
        /// Container id.
        id: String,
        /// Why.
        source: Errno,
    },
}

impl LaunchError {
    /// A step that failed.
    pub(crate) fn step(step: impl Into<String>, error: impl Into<StepError>) -> Self {
        let StepError { detail, errno } = error.into();
        Self::Step { step: step.into(), detail, source: errno }
    }
}
