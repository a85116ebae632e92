//! Making a pod up to its sandbox.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use runtime::cgroup::group;
use runtime::spec::resources::{self, Present};

use super::remove;
use crate::image::ImageStore;
use crate::machine::Settings;
use crate::net::{self, Bridge};
use crate::plan::cgroup::{SWAP_MAX, of_pod};
use crate::spec::PodSpec;
use crate::state::{NetworkMode, PodDir, PodRecord, PodRoot, StoredImage};
use crate::supervisor::spawn;

/// Controllers that count what containers use.
const COUNTING: [&str; 3] = ["cpu", "memory", "pids"];

/// What the command line says beside the manifest.
#[derive(Debug)]
pub struct Request {
    /// The pod.
    pub spec: PodSpec,
    /// The bridge for a pod with a network of its own; `None` for loopback only.
    pub bridge: Option<Bridge>,
    /// The sandbox's program.
    pub pause: PathBuf,
    /// The cgroup that pods are in.
    pub cgroup_parent: PathBuf,
    /// Restarts.
    pub settings: Settings,
    /// Size in bytes at which a log is rotated.
    pub log_max_bytes: u64,
    /// How many logs of one run are kept.
    pub log_max_files: u32,
}

/// Makes the pod's directory, cgroups, supervisor, sandbox and network. Its containers wait for a start.
///
/// # Errors
/// Why there is no pod; nothing is left of it.
pub fn create(root: &PodRoot, path: &Path, request: Request) -> Result<PodDir> {
    if !group::has_cgroup2() {
        bail!(runtime::plan::PlanError::NoCgroup2);
    }
    let name = request.spec.name.clone();
    let (pod, lock) = root.create(&name)?;
    match make(root, path, &pod, request) {
        Ok(()) => Ok(pod),
        Err(error) => {
            let left = remove::destroy(root, &pod);
            drop(lock);
            match left {
                Ok(()) => Err(error),
                Err(left) => Err(error.context(format!(
                    "something is left ({left:#}); podrt pod rm --force {name} may remove it"
                ))),
            }
        }
    }
}

fn make(root: &PodRoot, path: &Path, pod: &PodDir, request: Request) -> Result<()> {
    let Request { mut spec, bridge, pause, cgroup_parent, settings, log_max_bytes, log_max_files } = request;
    if spec.is_host_network {
        // With the node's network goes the node's name, whatever the manifest says.
        spec.hostname = read_line("/proc/sys/kernel/hostname")?;
    }
    if !pause.is_file() {
        bail!("the sandbox's program {} is not there; name it with --pause", pause.display());
    }
    let store = ImageStore::new(root.images());
    let (mut images, mut leases) = (Vec::new(), Vec::new());
    for container in &spec.containers {
        let image = store.resolve(&container.image);
        let image = image.with_context(|| format!("the image of container {}", container.name))?;
        leases.push(image.lease);
        images.push(StoredImage { layers: image.layers, config: image.config });
    }
    let network = match (spec.is_host_network, &bridge) {
        (true, _) => NetworkMode::Host,
        (false, Some(_)) => NetworkMode::Bridge,
        (false, None) => NetworkMode::None,
    };
    let lease = match &bridge {
        Some(bridge) if network == NetworkMode::Bridge => {
            Some(net::lease(&root.network(), &spec.name, bridge)?)
        }
        _ => None,
    };
    let mut record = PodRecord {
        spec,
        uid: random_uid()?,
        created: SystemTime::now(),
        boot_id: boot_id()?,
        images,
        pause,
        network,
        lease,
        settings,
        cgroup_parent,
        missing_cgroups: Vec::new(),
        log_max_bytes,
        log_max_files,
    };
    let cgroup = record.cgroup().map_err(|why| anyhow::anyhow!("--cgroup-parent: {why}"))?;
    let own = record.supervisor_cgroup().map_err(anyhow::Error::msg)?;
    record.missing_cgroups = group::missing_parents(&cgroup);
    group::expect_none(&cgroup)?;
    // Before anything that it tells of is made.
    pod.save_record(&record)?;
    // From here on the record keeps the layers.
    drop(leases);

    let owner = pod.owner();
    group::make(&cgroup, &owner)?;
    group::make(&own, &owner)?;
    // What the containers use is counted with and without limits: a limit of the pod ends one of them.
    group::enable_controllers_below(&cgroup, &COUNTING)?;
    let has_swap_max = cgroup.directory().join(SWAP_MAX).exists();
    let limits = resources::read_update(&of_pod(&record.spec, has_swap_max), &Present::default())?;
    let controllers: Vec<String> =
        limits.settings.iter().filter_map(|setting| setting.controller.clone()).collect();
    group::enable_controllers(&cgroup, &controllers)?;
    for setting in &limits.settings {
        group::apply(&cgroup, setting)?;
    }

    let mut spawned = spawn::spawn(path, pod, &own)?;
    let sandbox = spawned.sandbox()?;
    if record.network != NetworkMode::Host {
        let namespace = format!("/proc/{sandbox}/ns/net");
        let namespace = fs::File::open(&namespace).with_context(|| format!("open {namespace}"))?;
        match &record.lease {
            Some(lease) => net::connect(namespace.as_fd(), lease)?,
            None => net::loopback(namespace.as_fd())?,
        }
    }
    spawned.go()
}

/// A random UUID (RFC 9562, version 4), as the kernel makes one.
fn random_uid() -> Result<String> {
    read_line("/proc/sys/kernel/random/uuid")
}

/// This boot.
///
/// # Errors
/// The failed read.
pub fn boot_id() -> Result<String> {
    read_line("/proc/sys/kernel/random/boot_id")
}

fn read_line(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    Ok(text.trim().to_owned())
}
