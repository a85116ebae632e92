//! What was asked: the bundle's `config.json` as validated values.
//!
//! Reference: the OCI runtime specification, `config.md` and `config-linux.md`. The functions here are pure:
//! text in, values out; reading the file is the caller's. A field that the specification defines and podrt does
//! not implement is an error that names the field ([`unsupported`]); a field that the specification does
//! not know is a warning, because its section on extensibility forbids an error. Nothing is
//! checked here that only the running kernel can answer; that is [`crate::plan`]'s part.

pub mod capabilities;
pub mod config;
pub mod devices;
pub mod error;
pub mod exec;
pub mod hooks;
pub mod id;
pub mod mounts;
pub mod namespaces;
pub mod options;
pub mod process;
pub mod resources;
pub mod schedule;
pub mod seccomp;
pub mod sysctl;
pub mod time;
pub mod unsupported;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use capabilities::{CapSet, CapabilitySpec};
pub use devices::{DeviceKind, DeviceSpec};
pub use error::SpecError;
pub use hooks::{HookKind, HookSpec, Hooks};
pub use id::ContainerId;
pub use mounts::{IdMap, MountKind, MountSpec, Propagation, PropagationMode};
pub use namespaces::{IdMapping, NamespaceSpec, NsKind};
pub use process::{ConsoleSize, ProcessSpec, Rlimit};
pub use resources::{CgroupSetting, DeviceRule};
pub use schedule::{IoPriority, Scheduler};
pub use seccomp::{SeccompListener, SeccompSpec};
pub use time::TimeOffset;

/// A container as its bundle describes it, checked and complete.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The text that all this was read from; a later `exec` reads it again.
    pub document: String,
    /// `ociVersion` of the bundle.
    pub oci_version: String,
    /// The root file system on the host, absolute.
    pub rootfs: PathBuf,
    /// The root file system is mounted read-only.
    pub rootfs_readonly: bool,
    /// Propagation of the container's root mount; `None` leaves it private.
    pub rootfs_propagation: Option<Propagation>,
    /// Mounts in the order in which they are made.
    pub mounts: Vec<MountSpec>,
    /// Host name, set in the container's UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name, set in the container's UTS namespace.
    pub domainname: Option<String>,
    /// Namespaces, at most one of each kind. A kind that is not listed is the runtime's own.
    pub namespaces: Vec<NamespaceSpec>,
    /// Offsets of the clocks of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
    /// User ids of a new user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a new user namespace.
    pub gid_mappings: Vec<IdMapping>,
    /// Device nodes beside the default ones.
    pub devices: Vec<DeviceSpec>,
    /// Paths that nobody in the container can read.
    pub masked_paths: Vec<PathBuf>,
    /// Paths that nobody in the container can write.
    pub readonly_paths: Vec<PathBuf>,
    /// Kernel parameters of the container's namespaces.
    pub sysctl: BTreeMap<String, String>,
    /// `linux.cgroupsPath` as written.
    pub cgroups_path: Option<PathBuf>,
    /// Writes to files of the container's cgroup, in order.
    pub cgroup_settings: Vec<CgroupSetting>,
    /// Rules for devices, in order; see [`resources::devices`].
    pub device_rules: Vec<DeviceRule>,
    /// System calls that the program may do; `None` for all.
    pub seccomp: Option<SeccompSpec>,
    /// Programs that are run at moments of the container's life.
    pub hooks: Hooks,
    /// The program.
    pub process: ProcessSpec,
    /// Execution domain (personality(2)), for every program of the container.
    pub personality: Option<libc::c_int>,
    /// Annotations, handed back by `state`.
    pub annotations: BTreeMap<String, String>,
    /// Remarks for the user: properties that the specification does not know.
    pub warnings: Vec<String>,
}

impl ContainerSpec {
    /// The entry for one kind of namespace.
    #[must_use]
    pub fn namespace(&self, kind: NsKind) -> Option<&NamespaceSpec> {
        self.namespaces.iter().find(|ns| ns.kind == kind)
    }

    /// True when the container gets a fresh namespace of this kind.
    #[must_use]
    pub fn has_new(&self, kind: NsKind) -> bool {
        self.namespace(kind).is_some_and(|ns| ns.path.is_none())
    }
}
