//! The container layer of podrt: an OCI runtime for Linux with cgroup v2.
//!
//! The modules follow the flow of the data, one way: what was asked ([`spec`]), what will be done
//! ([`plan`], with [`seccomp`]), the doing ([`launch`], with [`cgroup`] and [`sys`] below it), what is remembered
//! ([`state`]). [`cli`] parses a command line, calls one of them, and prints.
//!
//! Nothing here starts a thread: a process with several could not be cloned safely
//! (`sys::clone::SingleThreaded` checks it before each clone).

pub mod cgroup;
pub mod cli;
pub mod launch;
pub mod plan;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sys;
