//! podrt's record of its pods, of which a few fields are read: `ROOT/pods/POD/pod.json`, which comes by rename(2), so that it is not
//! seen half-written, and stays as it is. What changes with the life of a pod is not read: the kernel tells it.
//!
//! Where a pod's cgroups are stands in its record, so they are found below any `--cgroup-parent`. A container's id is its name; only
//! the cgroup tells it from those of other pods. The exporter shares no code with the runtime: the fields are parsed here, others
//! are passed over.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{MetadataError, bounded};
use crate::identity::{is_label, is_subdomain};
use crate::model::Names;

/// Name of the sandbox among a pod's containers.
pub(crate) const SANDBOX: &str = "_sandbox";

/// The pods of podrt.
#[derive(Debug, Default)]
pub struct PodrtPods {
    /// By name.
    pub pods: Vec<PodrtPod>,
    /// What could not be read.
    pub faults: Vec<MetadataError>,
    by_cgroup: HashMap<PathBuf, usize>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodrtPod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Its cgroup, absolute in the hierarchy.
    pub cgroup: PathBuf,
    /// Its containers without the sandbox: init containers first.
    pub containers: Vec<PodrtContainer>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodrtContainer {
    /// Names; that of the container is its id too.
    pub names: Names,
    /// Its cgroup, absolute in the hierarchy.
    pub cgroup: PathBuf,
    /// It runs to its end before the next begins. A sidecar, which goes on beside the others, is none.
    pub is_init: bool,
}

/// What of a pod a cgroup belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The pod as a whole.
    Pod,
    /// Its sandbox.
    Sandbox,
    /// A container.
    Container(&'a PodrtContainer),
}

impl PodrtPods {
    /// The pod, and what of it, that a cgroup is or is below. The path may lack its slash at the beginning.
    #[must_use]
    pub fn of_cgroup(&self, path: &Path) -> Option<(&PodrtPod, Part<'_>)> {
        let path = Path::new("/").join(path);
        let (above, idx) = path.ancestors().find_map(|above| Some((above, self.by_cgroup.get(above)?)))?;
        let pod = self.pods.get(*idx)?;
        let below = path.strip_prefix(above).ok()?.components().next();
        let name = below.and_then(|name| name.as_os_str().to_str());
        let container = || pod.containers.iter().find(|known| name == Some(known.names.container.as_str()));
        let part = if name == Some(SANDBOX) { Some(Part::Sandbox) } else { container().map(Part::Container) };
        Some((pod, part.unwrap_or(Part::Pod)))
    }
}

/// Reads the pods below `root`, which is `/var/lib/podrt` unless podrt was given another.
#[must_use]
pub fn read(root: &Path) -> PodrtPods {
    let mut all = PodrtPods::default();
    let directory = root.join("pods");
    for name in bounded::names(&directory, &mut all.faults) {
        // What is no name of a pod is nobody's.
        let Some(name) = name.to_str().filter(|name| is_subdomain(name)) else { continue };
        match pod(&directory.join(name), name) {
            // Without a record it is what is left of an interrupted create or removal.
            Ok(None) => {}
            Ok(Some(pod)) => {
                all.by_cgroup.insert(pod.cgroup.clone(), all.pods.len());
                all.pods.push(pod);
            }
            Err(fault) => all.faults.push(fault),
        }
    }
    all
}

/// `pod.json`.
#[derive(Deserialize)]
struct Record {
    spec: Spec,
    uid: String,
    cgroup_parent: PathBuf,
}

#[derive(Deserialize)]
struct Spec {
    name: String,
    namespace: String,
    containers: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    /// `Init`, `Sidecar` or `Main`.
    #[serde(default)]
    kind: String,
}

fn pod(directory: &Path, name: &str) -> Result<Option<PodrtPod>, MetadataError> {
    let path = directory.join("pod.json");
    let Some(Record { spec, uid, cgroup_parent }) = parse::<Record>(&path)? else { return Ok(None) };
    if let Some(what) = fault(&spec, &uid, &cgroup_parent, name) {
        return Err(MetadataError::Invalid { path, what });
    }
    // Without doubled slashes, so that it is found by comparison.
    let cgroup: PathBuf = cgroup_parent.join(&spec.name).components().collect();
    let containers = spec.containers.into_iter().map(|Named { name: container, kind }| PodrtContainer {
        cgroup: cgroup.join(&container),
        is_init: kind == "Init",
        names: Names { namespace: spec.namespace.clone(), pod: spec.name.clone(), container },
    });
    let containers = containers.collect();
    Ok(Some(PodrtPod { namespace: spec.namespace, name: spec.name, uid, cgroup, containers }))
}

/// Why a record cannot be that of the pod.
fn fault(spec: &Spec, uid: &str, cgroup_parent: &Path, name: &str) -> Option<&'static str> {
    const MAX_UID: usize = 64;
    let is_uid = (1..=MAX_UID).contains(&uid.len())
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_parent =
        cgroup_parent.is_absolute() && !cgroup_parent.components().any(|part| part == Component::ParentDir);
    let rules = [
        (spec.name == name, "spec.name is that of another pod"),
        (is_label(&spec.namespace), "spec.namespace is no DNS label"),
        (spec.containers.iter().all(|it| is_label(&it.name)), "name of a container is no DNS label"),
        (is_uid, "uid is none"),
        (is_parent, "cgroup_parent is not the path of a cgroup"),
    ];
    rules.into_iter().find_map(|(is_good, what)| (!is_good).then_some(what))
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, MetadataError> {
    let Some(bytes) = bounded::contents(path)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|source| MetadataError::Damaged { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "podrt_tests.rs"]
mod tests;
