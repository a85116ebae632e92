//! The contents of a pod's files.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::SystemTime;

use runtime::cgroup::CgroupPath;
use serde::{Deserialize, Serialize};

use crate::image::ImageConfig;
use crate::machine::Settings;
use crate::net::Lease;
use crate::spec::PodSpec;
use crate::status::PodStatus;

/// `pod.json`: everything that a supervisor needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodRecord {
    /// What was asked.
    pub spec: PodSpec,
    /// `metadata.uid`: of this pod, and no other of its name.
    pub uid: String,
    /// When it was created.
    pub created: SystemTime,
    /// `/proc/sys/kernel/random/boot_id` at that time: after another boot nothing of the pod runs.
    pub boot_id: String,
    /// The images of the containers, in their order.
    pub images: Vec<StoredImage>,
    /// The sandbox's program on the node.
    pub pause: PathBuf,
    /// How the pod is connected.
    pub network: NetworkMode,
    /// Address and link, where it has one.
    pub lease: Option<Lease>,
    /// What can be set for all pods.
    pub settings: Settings,
    /// The cgroup that pods are in, absolute.
    pub cgroup_parent: PathBuf,
    /// The cgroups above the pod's that were missing when it was created.
    pub missing_cgroups: Vec<PathBuf>,
    /// Size in bytes at which a log is rotated.
    pub log_max_bytes: u64,
    /// How many logs of one run are kept.
    pub log_max_files: u32,
}

/// An image as containers are made of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredImage {
    /// Directories for overlayfs, lowest first.
    pub layers: Vec<PathBuf>,
    /// The defaults of its program.
    pub config: ImageConfig,
}

/// How a pod is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// It has loopback only.
    None,
    /// It is in the node's network namespace.
    Host,
    /// It has a link to a bridge.
    Bridge,
}

/// `status.json`: what the supervisor knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodReport {
    /// Phase and containers.
    pub status: PodStatus,
    /// pause, as the node sees it; `None` before and after the sandbox.
    pub sandbox_pid: Option<i32>,
    /// Its containers were told to start.
    pub is_begun: bool,
    /// Nothing of the pod runs any more, nor will.
    pub is_finished: bool,
}

impl PodRecord {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().map(|lease| lease.address)
    }

    /// The pod's cgroup, with the pod's limits and one group per container below.
    ///
    /// # Errors
    /// When the parent is no absolute path of a cgroup.
    pub fn cgroup(&self) -> Result<CgroupPath, &'static str> {
        CgroupPath::try_from(self.cgroup_parent.join(&self.spec.name))
    }

    /// The supervisor's cgroup, beside the pod's: it is not subject to the pod's limits. No pod can have such a name.
    ///
    /// # Errors
    /// As [`PodRecord::cgroup`].
    pub fn supervisor_cgroup(&self) -> Result<CgroupPath, &'static str> {
        CgroupPath::try_from(self.cgroup_parent.join(format!("_{}", self.spec.name)))
    }
}
