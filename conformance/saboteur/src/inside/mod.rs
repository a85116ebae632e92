//! What the saboteur runs inside containers.

mod adopt;
mod debug;
pub(crate) mod disguise;
mod hold;
mod inherit;
mod init;
mod ipc;
mod join;
mod leak;
pub(crate) mod pause;
mod pods;
mod root;
mod send;
mod subreaper;
mod unreaped;
mod unshare;
mod user;
pub(crate) mod wrapper;

/// File name of the broken sandbox program: the same as that of the good one.
pub(crate) const PAUSE: &str = "pause";
/// File name of the wrapper.
pub(crate) const WRAPPER: &str = "saboteur-wrapper";
/// File name of the disguised init: that of the container's program.
pub(crate) const DISGUISE: &str = "witness";
/// The directory that all containers of the suite share.
const SHARED: &str = "/podproof";
