//! The pod layer of podrt: what the kubelet and a CRI runtime do together for one pod on one node, without a daemon.
//!
//! The modules follow the flow of the data, one way: what was asked ([`spec`]), what each container becomes ([`image`] and
//! `plan`), the doing (`sandbox`, [`net`], `supervisor` with the decisions of [`machine`] and the files of [`logs`]), what is
//! remembered (`state`, [`status`]).

pub mod image;
pub mod logs;
pub mod machine;
pub mod net;
pub mod spec;
pub mod status;
