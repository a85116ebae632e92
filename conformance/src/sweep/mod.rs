//! The crash sweep: kills each command of a runtime at its N-th system call, for every N, lets the runtime clean up, and looks
//! for what is left on the node.
//!
//! Who is killed is the command itself ([`Victim::Command`]), or a process that it has made ([`Victim::Child`]), up to the exec
//! of the container's program. Cleaning up is what a user would do: `delete --force ID`, and `gc` where the runtime has it.
//!
//! ```text
//! scene    which command, and what has to exist before it
//! place    directories, cgroup and processes of a sweep; the snapshot and the scrubbing
//! points   at which calls
//! drive    count, then cut by cut: set up, kill, clean up, compare
//! report   the table and the JSON
//! ```

mod drive;
mod place;
mod points;
mod report;
mod scene;

pub use drive::{Options, Positions, Victim, sweep};
pub use place::{Place, take_ends};
pub use report::{Leak, Report, Row, Unplayed, document, render};
pub use scene::Scene;

use std::io;
use std::path::PathBuf;

/// Why a sweep cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The injector.
    #[error("the injector of kills cannot be started")]
    Load(#[from] podproof_ebpf::LoadError),
    /// Its maps.
    #[error(transparent)]
    Inject(#[from] podproof_ebpf::inject::InjectError),
    /// The node refused something.
    #[error("{op} {}", path.display())]
    Node {
        /// Operation.
        op: &'static str,
        /// Object.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command failed that nobody killed.
    #[error("`{line}` {ended}; a sweep needs a runtime that works when nobody kills it")]
    Runtime {
        /// As a person would type it.
        line: String,
        /// How it ended, and its last words.
        ended: String,
    },
    /// The user interrupted the sweep.
    #[error("interrupted")]
    Interrupted,
}
