//! What a supervisor wants to know about the node, read once.

use std::fs;

use anyhow::{Context, Result};
use runtime::cgroup::CgroupPath;
use runtime::launch;
use runtime::plan::KernelFeatures;
use runtime::spec::capabilities;

use crate::plan::cgroup::SWAP_MAX;

/// The facts.
#[derive(Debug)]
pub(super) struct Node {
    /// For the plans of the container layer.
    pub(super) kernel: KernelFeatures,
    /// `MemTotal` in bytes.
    pub(super) memory_bytes: u64,
    /// Cgroups have `memory.swap.max`.
    pub(super) has_swap_max: bool,
    /// Names of the kernel's capabilities.
    pub(super) capabilities: Vec<String>,
}

impl Node {
    /// `pod` is the pod's cgroup.
    pub(super) fn read(pod: &CgroupPath) -> Result<Self> {
        let kernel = launch::read_features().context("read the capabilities of the process")?;
        let known = usize::from(kernel.last_capability) + 1;
        let capabilities = capabilities::names().into_iter().take(known).collect();
        let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
        let kib: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
            .context("/proc/meminfo has no MemTotal")?;
        let has_swap_max = pod.directory().join(SWAP_MAX).exists();
        Ok(Self { kernel, memory_bytes: kib * 1024, has_swap_max, capabilities })
    }
}
