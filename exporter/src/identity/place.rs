//! What may stand below what.

use super::id;
use super::kube::{self, Level};
use super::unit::{self, Unit};
use super::{Identity, Kind, QosClass};

/// A place in the hierarchy: it decides what the names below it mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The root of the hierarchy.
    Root,
    /// Folders, slices and services of the node.
    Open,
    /// A level of the kubelet's above its pods.
    Kube(Option<QosClass>),
    /// A pod of the kubelet's.
    KubePod(String, Option<QosClass>),
    /// dockerd's folder.
    Docker,
    /// The folder of the build steps of dockerd.
    Buildkit,
    /// A namespace of containerd.
    Containerd,
    /// podman's folder.
    LibpodParent,
    /// A pod of podman's.
    PodmanPod(String),
    /// The default parent of podrt's containers.
    Podrt,
    /// The default parent of podrt's pods.
    PodrtPods,
    /// A pod of podrt's.
    PodrtPod(String),
    /// What is somebody's already: only a level of another engine changes that.
    Inside,
    /// A slice in a container: systemd may run there, and engines below it.
    InnerSlice,
}

/// A level below a place: what it is for those below it, and what it is itself.
pub(super) type Step = (Place, Option<Identity>);

const INSIDE: Step = (Place::Inside, None);

impl Place {
    /// The level of this name. `None` as the name is one that is not UTF-8.
    pub(super) fn step(&self, name: Option<&str>) -> Step {
        let known = name.and_then(|name| self.known(name));
        known.unwrap_or_else(|| match self {
            Self::Root | Self::Open | Self::Docker | Self::LibpodParent => (Self::Open, None),
            Self::Kube(_) => (self.clone(), None),
            _ => INSIDE,
        })
    }

    fn known(&self, name: &str) -> Option<Step> {
        match self {
            Self::Root => engine_root(name).or_else(|| level(name)).or_else(|| any_unit(name, None, None)),
            Self::Open => level(name).or_else(|| any_unit(name, None, None)),
            Self::Kube(class) => kube_level(kube::below_root(name), *class)
                .or_else(|| level(name))
                .or_else(|| any_unit(name, None, *class)),
            Self::KubePod(uid, class) => level_of_colons(name).or_else(|| any_unit(name, Some(uid), *class)),
            Self::Docker if name == "buildkit" => Some((Self::Buildkit, None)),
            Self::Docker if id::is_full(name) => Some(container("docker", name, None, None)),
            Self::LibpodParent if id::is_full(name) => Some(podman_pod(name)),
            Self::Docker | Self::LibpodParent => level(name).or_else(|| any_unit(name, None, None)),
            Self::Buildkit => id::is_oci(name).then(|| container("buildkit", name, None, None)),
            Self::Containerd => id::is_oci(name).then(|| container("containerd", name, None, None)),
            Self::PodmanPod(pod) => any_unit(name, Some(pod), None),
            Self::Podrt => id::is_podrt(name).then(|| container("podrt", name, None, None)),
            // The supervisor's, `_POD`, is no subdomain.
            Self::PodrtPods => id::is_subdomain(name).then(|| podrt_pod(name)),
            Self::PodrtPod(pod) => podrt_part(pod, name),
            Self::Inside => level(name).or_else(|| inner_slice(name)),
            Self::InnerSlice => level(name)
                .or_else(|| inner_slice(name))
                .or_else(|| unit::scope(name).map(|unit| of_unit(&unit, None, None))),
        }
    }
}

fn identity(runtime: &'static str, kind: Kind) -> Identity {
    Identity { runtime, container_id: None, pod_uid: None, kind, qos_class: None, is_delegated: false }
}

fn container(runtime: &'static str, id: &str, pod: Option<&str>, class: Option<QosClass>) -> Step {
    let (container_id, pod_uid) = (Some(id.to_owned()), pod.map(str::to_owned));
    let identity = identity(runtime, Kind::Container);
    (Place::Inside, Some(Identity { container_id, pod_uid, qos_class: class, ..identity }))
}

/// Folders that only count at the root: their names are words that others use too.
fn engine_root(name: &str) -> Option<Step> {
    match name {
        // The namespaces of ctr and nerdctl, and of the CRI plugin.
        "default" | "k8s.io" => Some((Place::Containerd, None)),
        "podrt" => Some((Place::Podrt, None)),
        _ => None,
    }
}

/// Levels that an engine makes, wherever it runs.
fn level(name: &str) -> Option<Step> {
    let place = match name {
        "docker" => Some(Place::Docker),
        "libpod_parent" => Some(Place::LibpodParent),
        "podrt-pods" => Some(Place::PodrtPods),
        _ => None,
    };
    place
        .map(|place| (place, None))
        .or_else(|| kube_level(kube::anywhere(name), None))
        .or_else(|| unit::podman_pod(name).map(podman_pod))
        .or_else(|| level_of_colons(name))
}

fn kube_level(level: Option<Level>, class: Option<QosClass>) -> Option<Step> {
    Some(match level? {
        Level::Root => (Place::Kube(None), None),
        Level::Class(class) => (Place::Kube(Some(class)), None),
        Level::Pod(uid, own) => {
            // A pod below no class is guaranteed; the level above is believed before the pod's own name.
            let class = class.or(own).or(Some(QosClass::Guaranteed));
            let pod_uid = Some(uid.clone());
            let identity = Identity { pod_uid, qos_class: class, ..identity("kubelet", Kind::Pod) };
            (Place::KubePod(uid, class), Some(identity))
        }
    })
}

/// A container whose name has its slice, of a pod, in it.
fn level_of_colons(name: &str) -> Option<Step> {
    match unit::colons(name)? {
        (Some(Level::Pod(uid, class)), unit) => Some(of_unit(&unit, Some(&uid), class)),
        (Some(Level::Class(class)), unit) => Some(of_unit(&unit, None, Some(class))),
        (Some(Level::Root), unit) => Some(of_unit(&unit, None, None)),
        (None, _) => None,
    }
}

/// A container of the node, in whichever form its name is.
fn any_unit(name: &str, pod: Option<&str>, class: Option<QosClass>) -> Option<Step> {
    let unit = unit::scope(name).or_else(|| unit::colons(name).map(|(_, unit)| unit));
    let unit = unit.or_else(|| match unit::folder(name) {
        // In a kubelet's pod a bare id is that of a CRI implementation.
        Some(Unit::Container { runtime: "oci", id }) if class.is_some() => {
            Some(Unit::Container { runtime: "cri", id })
        }
        unit => unit,
    });
    unit.map(|unit| of_unit(&unit, pod, class))
}

fn of_unit(unit: &Unit<'_>, pod: Option<&str>, class: Option<QosClass>) -> Step {
    match unit {
        Unit::Container { runtime, id } => container(runtime, id, pod, class),
        Unit::Monitor => INSIDE,
    }
}

fn podman_pod(id: &str) -> Step {
    let identity = Identity { pod_uid: Some(id.to_owned()), ..identity("podman", Kind::Pod) };
    (Place::PodmanPod(id.to_owned()), Some(identity))
}

fn podrt_pod(name: &str) -> Step {
    let identity = Identity { pod_uid: Some(name.to_owned()), ..identity("podrt", Kind::Pod) };
    (Place::PodrtPod(name.to_owned()), Some(identity))
}

fn podrt_part(pod: &str, name: &str) -> Option<Step> {
    if name == "_sandbox" {
        let (container_id, pod_uid) = (Some(name.to_owned()), Some(pod.to_owned()));
        let identity = identity("podrt", Kind::Sandbox);
        return Some((Place::Inside, Some(Identity { container_id, pod_uid, ..identity })));
    }
    id::is_label(name).then(|| container("podrt", name, Some(pod), None))
}

fn inner_slice(name: &str) -> Option<Step> {
    name.ends_with(".slice").then_some((Place::InnerSlice, None))
}
