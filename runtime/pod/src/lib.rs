//! The pod layer of podrt: what the kubelet and a CRI runtime do together for one pod on one node, without a daemon.
//!
//! The modules follow the flow of the data, one way: what was asked ([`spec`]), what each container becomes ([`image`] and
//! [`plan`]), the doing ([`command`] with [`net`], [`supervisor`] with the decisions of [`machine`] and the files of [`logs`]),
//! what is remembered ([`state`], [`status`]). [`cli`] parses a command line, calls one of them, and prints; to a pod that runs
//! it talks by [`control`].
//!
//! Nothing here starts a thread: a process with several could not be cloned safely.

pub mod cli;
pub mod command;
pub mod control;
mod descriptor;
pub mod image;
pub mod logs;
pub mod machine;
pub mod net;
pub mod plan;
pub mod removal;
pub mod spec;
pub mod state;
pub mod status;
pub mod supervisor;
