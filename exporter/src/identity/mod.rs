//! Whose a cgroup is, read from its path alone.
//!
//! The path is the one below the mount point of the hierarchy, cgroup v2 or one of v1, as the node sees it. The names are those
//! that the kubelet, the container engines and the runtimes give: `place` has what may stand below what, `kube` the
//! levels of the kubelet, `unit` the names that carry a container's id, `id` what counts as an id.
//!
//! Anybody who may make a directory chooses its name, so a path is a claim. Four rules keep it narrow:
//!
//! - An id is taken where its engine puts it, in the form that its engine makes: 64 lower-case hexadecimal digits, in any place
//!   of the node; other ids only below the folder of an engine (`/default`, `/k8s.io`, `/podrt`, `/docker/buildkit`), or with
//!   the name of a runtime (`runc-ID.scope`). A cgroup `/web` may be a container of runc or anything else: it is nobody's.
//! - What a container makes below its own cgroup is the container's, whatever it is called, until a level opens that an engine of
//!   its own makes: `kubepods`, `docker`, `libpod_parent`, `podrt-pods`, the slices of podman's pods and, for scopes only,
//!   any slice. So it is with kind, and the innermost counts.
//! - [`Identity::is_delegated`] tells that the owner of something above chose the name: such an identity must never be
//!   given the names of a pod that the node's kubelet runs, nor those of a container of the node's root. [`outermost`] is the container that the node itself made.
//! - No text of an identity has a byte that was not checked. Bytes that are not UTF-8 make an unknown name.
//!
//! It does no I/O. A suffix ` (deleted)` of `/proc/PID/cgroup` (cgroups(7)) is the caller's to remove. Not known by their paths
//! are podrt's pods below another `--cgroup-parent` (`metadata::podrt` knows them), LXC, systemd-nspawn and machines.

mod id;
mod kube;
mod place;
mod unit;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use id::{
    FULL_ID_LEN, MAX_LABEL, MAX_NAME, is_full as is_full_id, is_label, is_subdomain, pod_uid,
};
pub use walk::{handed_over, identify, nearest, outermost};

/// What a cgroup's path tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Who made it: `podrt`, `containerd` (also nerdctl), `cri-o`, `docker`, `buildkit`, `podman`, `runc`, `crun`, `youki`; `kubelet`
    /// for a pod as a whole; `cri` for a container of a pod whose path does not tell containerd from cri-dockerd (cgroupfs); `oci`
    /// where only the id shows that it is a container.
    pub runtime: &'static str,
    /// The container's id in full; `None` for a pod. podrt's is the container's name, unique in its pod.
    pub container_id: Option<String>,
    /// The pod's uid as the API server has it, with dashes; the hash of a static pod, and podman's id of a pod, have none. podrt's is
    /// the pod's name.
    pub pod_uid: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// The class that the kubelet put the pod in.
    pub qos_class: Option<QosClass>,
    /// Something above belongs to somebody else than the node's root: a container, a user's service manager, a system container.
    /// A service that systemd has handed to another user (`Delegate=` with `User=`) does not show it in its path.
    pub is_delegated: bool,
}

/// What a cgroup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A container. The sandbox of a pod is one too where its path does not tell: with all but podrt.
    Container,
    /// The sandbox of a podrt pod.
    Sandbox,
    /// A pod: its containers are below.
    Pod,
}

/// `status.qosClass`, as the levels of the kubelet's hierarchy tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QosClass {
    /// Pods without a level of their class.
    Guaranteed,
    /// `burstable`.
    Burstable,
    /// `besteffort`.
    BestEffort,
}
