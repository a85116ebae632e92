//! Loads podproof's probes and reads their event stream.
//!
//! ```text
//! btf      where the running kernel keeps the fields that the programs read
//! load     one program at a time: load, attach, or say why not
//! stream   one reader, one order: records -> events -> the log of their scope
//! scope    who is watched, and until when the log is complete (fence)
//! ```
//!
//! Apart from these, [`inject`] kills a command at its N-th system call, for tests.
//!
//! A [`Tracer`] loads the programs once. A [`Scope`] is opened per thing to watch: it is given the thread group
//! of a launcher (or a cgroup), and collects the events of all that descends from it. This crate knows tasks and
//! cgroups; it does not know containers, pods or verdicts.
//!
//! With the feature `log` and an object that was built with that of the programs, their lines are passed on to `tracing` under
//! the target `probes`, for debugging.
//!
//! Needs Linux 6.1 with BTF, and CAP_BPF and CAP_PERFMON (to start) in the initial pid namespace,
//! because all numbers are those of the initial namespace.

mod btf;
pub mod counters;
mod decode;
pub mod event;
mod history;
pub mod inject;
mod load;
mod log;
mod missed;
mod offsets;
mod probe;
mod programs;
mod ring;
mod scope;
mod signals;
mod stream;
mod sys;
mod tracer;

pub use load::LoadError;
pub use probe::{ProbeStatus, programs};
pub use programs::AttachError;
pub use ring::KindCount;
pub use scope::{Scope, TraceError};
pub use signals::{CounterStatus, SIGNALS, Signal, SignalStatus, Source};
pub use tracer::{TraceOptions, Tracer};
