//! What a supervisor wants to know about the node, read once.

use std::fs;

use anyhow::{Context, Result};
use runtime::launch;
use runtime::plan::KernelFeatures;
use runtime::spec::capabilities;

/// The facts.
#[derive(Debug)]
pub(super) struct Node {
    /// For the plans of the container layer.
    pub(super) kernel: KernelFeatures,
    /// `MemTotal` in bytes.
    pub(super) memory_bytes: u64,
    /// Names of the kernel's capabilities.
    pub(super) capabilities: Vec<String>,
}

impl Node {
    pub(super) fn read() -> Result<Self> {
        let kernel = launch::read_features().context("read the capabilities of the process")?;
        let known = usize::from(kernel.last_capability) + 1;
        let capabilities = capabilities::names().into_iter().take(known).collect();
        let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
        let kib: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
            .context("/proc/meminfo has no MemTotal")?;
        Ok(Self { kernel, memory_bytes: kib * 1024, capabilities })
    }
}
