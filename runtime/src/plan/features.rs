//! What the kernel and the caller can do: the part of a plan's input that is not in the bundle.

use crate::spec::CapSet;

/// Facts about the running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFeatures {
    /// `/sys/fs/cgroup` is a cgroup v2 file system.
    pub has_cgroup2: bool,
    /// Controllers that the root of the hierarchy offers.
    pub controllers: Vec<String>,
    /// Number of the last capability that the kernel knows.
    pub last_capability: u8,
    /// AppArmor is switched on.
    pub has_apparmor: bool,
    /// What the runtime itself could pass on: permitted and in its bounding set.
    pub grantable_capabilities: CapSet,
}
