//! The cgroup v2 hierarchy as its file system shows it (cgroups(7), kernel Documentation/admin-guide/cgroup-v2.rst).

mod controllers;
mod files;
mod mount;
mod namespace;
mod payload;
mod tree;

pub(crate) use controllers::{is_hybrid, lack};
pub(crate) use files::{FileCounters, FileGauges, Files, processes, read_files};
pub(crate) use mount::mode;
pub use mount::{MountError, hierarchy, named};
pub(crate) use namespace::below_mount;
pub use namespace::namespace_root;
pub(crate) use payload::{above_payload, container_processes};
pub(crate) use tree::ROOT_ID;
pub use tree::{Cgroup, Tree, TreeError, walk};
