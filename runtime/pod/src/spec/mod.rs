//! What was asked: a Kubernetes `v1/Pod` manifest as validated values.
//!
//! Reference: the Kubernetes API, `core/v1` (Pod, PodSpec, Container). The functions here are pure: text in, values out. A field
//! that is unknown, or known and not supported, is an error with its path ([`error`]). What only the node can answer (does an
//! image exist, which address is free) is the part of [`crate::image`], [`crate::net`] and [`crate::plan`].

#[cfg(test)]
mod characters;
mod container;
mod dns;
mod duplicates;
mod env;
pub mod error;
pub mod expand;
pub mod fields;
mod image;
mod json;
pub mod lifecycle;
mod locate;
mod meta;
mod mounts;
pub mod names;
mod parse;
mod pod;
mod ports;
pub mod quantity;
mod resources;
mod restart;
#[cfg(test)]
pub(crate) mod samples;
mod security;
mod sysctl;
mod volumes;
mod yaml;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use error::{Offence, SpecError};
pub use parse::{MAX_BYTES, parse};
pub(crate) use resources::at_one_time;

/// A pod as its manifest describes it, checked and complete: every default of the API is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    /// `metadata.name`: a DNS subdomain name (RFC 1123), so safe as a name of files, cgroups and containers.
    pub name: String,
    /// `metadata.namespace`, `default` without one.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Host name of the pod: `spec.hostname`, else the pod's name, cut to the 63 bytes of a DNS label.
    pub hostname: String,
    /// `spec.hostAliases`: further lines of `/etc/hosts`.
    pub host_aliases: Vec<HostAlias>,
    /// What is in `/etc/resolv.conf`.
    pub dns: DnsSpec,
    /// The pod uses the node's network namespace.
    pub is_host_network: bool,
    /// The containers use the node's pid namespace.
    pub is_host_pid: bool,
    /// The pod uses the node's ipc namespace.
    pub is_host_ipc: bool,
    /// The containers share one pid namespace, whose PID 1 is pause.
    pub shares_pids: bool,
    /// `spec.restartPolicy`, for containers that have none of their own.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`; 30 s by default.
    pub grace_period: Duration,
    /// `spec.activeDeadlineSeconds`: how long the pod may be active before it fails.
    pub active_deadline: Option<Duration>,
    /// `spec.securityContext.sysctls`, set in the sandbox's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// `spec.securityContext.fsGroup`: group of the files of emptyDir volumes.
    pub fs_group: Option<u32>,
    /// `spec.resources`: of the pod as a whole.
    pub resources: Resources,
    /// `spec.volumes`, in order.
    pub volumes: Vec<VolumeSpec>,
    /// Init containers and sidecars in order, then the main containers in order.
    pub containers: Vec<ContainerSpec>,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// Address.
    pub ip: IpAddr,
    /// Names that it has.
    pub names: Vec<String>,
}

/// Name resolution: `spec.dnsPolicy` with `spec.dnsConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsSpec {
    /// Begin with the node's file (policies `Default` and `ClusterFirst`, as there is no cluster); `None` begins with nothing.
    pub is_from_node: bool,
    /// `nameservers`, added.
    pub nameservers: Vec<IpAddr>,
    /// `searches`, added.
    pub searches: Vec<String>,
    /// `options`, added, as `name` or `name:value`.
    pub options: Vec<String>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// When its exit code is not 0.
    OnFailure,
    /// Not at all.
    Never,
}

/// The part that a container plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerKind {
    /// Runs to its end before the next begins.
    Init,
    /// An init container with `restartPolicy: Always`: the next begins once it has started, and it is stopped after the main ones.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// A DNS label (RFC 1123), unique in the pod.
    pub name: String,
    /// Part that it plays.
    pub kind: ContainerKind,
    /// When it is started again; `Always` for a sidecar. An init container of a pod with `Always` has `OnFailure`.
    pub restart_policy: RestartPolicy,
    /// `restartPolicyRules`: the first that matches an exit code decides before the policy.
    pub restart_rules: Vec<RestartRule>,
    /// Its root file system.
    pub image: ImageRef,
    /// `command`: in place of the image's entrypoint; `$(VAR)` is expanded.
    pub command: Option<Vec<String>>,
    /// `args`: in place of the image's command; `$(VAR)` is expanded.
    pub args: Option<Vec<String>>,
    /// `workingDir`: in place of the image's; absolute.
    pub working_dir: Option<PathBuf>,
    /// `env` in order, expanded.
    pub env: Vec<(String, String)>,
    /// `resources`.
    pub resources: Resources,
    /// `securityContext`, with what the pod's sets for all.
    pub security: SecuritySpec,
    /// `volumeMounts`, in order.
    pub mounts: Vec<VolumeMountSpec>,
    /// `lifecycle.postStart`.
    pub post_start: Option<HookSpec>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<HookSpec>,
    /// `lifecycle.stopSignal` as a number; the image's or SIGTERM without it.
    pub stop_signal: Option<i32>,
    /// `terminationMessagePath`: a file whose last 4096 bytes tell why the container ended.
    pub termination_message_path: PathBuf,
    /// `terminationMessagePolicy: FallbackToLogsOnError`.
    pub is_message_from_logs: bool,
}

/// An entry of `restartPolicyRules`: the action is always to restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// True for `In`, false for `NotIn`.
    pub is_in: bool,
    /// Exit codes.
    pub codes: Vec<i32>,
}

/// Where a root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageRef {
    /// A directory that is one, absolute.
    Directory(PathBuf),
    /// `oci:PATH[:TAG]`: an OCI image layout, as a directory or a tar archive.
    Oci {
        /// Directory or archive, absolute.
        path: PathBuf,
        /// Value of the annotation `org.opencontainers.image.ref.name`; without it the layout must have one image.
        tag: Option<String>,
    },
}

/// Requests and limits; `None` where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `requests.cpu` in thousandths of a CPU; that of the limit where only that is given.
    pub cpu_request_milli: Option<u64>,
    /// `limits.cpu` in thousandths of a CPU.
    pub cpu_limit_milli: Option<u64>,
    /// `requests.memory` in bytes; that of the limit where only that is given.
    pub memory_request_bytes: Option<u64>,
    /// `limits.memory` in bytes.
    pub memory_limit_bytes: Option<u64>,
}

/// Who the program is, and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecuritySpec {
    /// `runAsUser`; the image's without it.
    pub user: Option<u32>,
    /// `runAsGroup`.
    pub group: Option<u32>,
    /// `runAsNonRoot`.
    pub must_not_be_root: bool,
    /// `supplementalGroups`, with `fsGroup`.
    pub supplemental_groups: Vec<u32>,
    /// `readOnlyRootFilesystem`.
    pub is_root_readonly: bool,
    /// `privileged`.
    pub is_privileged: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// `capabilities.add`, as `CAP_NAME`, or `ALL`.
    pub add_capabilities: Vec<String>,
    /// `capabilities.drop`, as `CAP_NAME`, or `ALL`.
    pub drop_capabilities: Vec<String>,
    /// `seccompProfile`.
    pub seccomp: SeccompProfile,
    /// `appArmorProfile.type: Localhost`: name of the profile.
    pub apparmor_profile: Option<String>,
    /// `procMount: Unmasked`.
    pub is_proc_unmasked: bool,
}

/// `seccompProfile`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// No filter; the API's default.
    #[default]
    Unconfined,
    /// The filter that container runtimes come with.
    RuntimeDefault,
    /// `localhostProfile`: a file in the format of `linux.seccomp`, absolute.
    Localhost(PathBuf),
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// A DNS label, unique in the pod.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// Where a volume's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// A directory that lives as long as the pod.
    EmptyDir {
        /// `medium: Memory`.
        is_memory: bool,
        /// `sizeLimit` in bytes.
        size_limit_bytes: Option<u64>,
    },
    /// A path of the node.
    HostPath {
        /// Absolute.
        path: PathBuf,
        /// What must be there, or is made.
        kind: HostPathKind,
    },
}

/// `hostPath.type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathKind {
    /// No check; where it is missing, a directory is made, as containerd does.
    #[default]
    Any,
    /// A directory; made where it is missing, mode 0755.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file; made where it is missing, mode 0644.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMountSpec {
    /// Name of the volume.
    pub volume: String,
    /// `mountPath`, absolute.
    pub path: PathBuf,
    /// `subPath` or the expanded `subPathExpr`: relative, without `..`.
    pub sub_path: Option<PathBuf>,
    /// `readOnly`.
    pub is_readonly: bool,
    /// `recursiveReadOnly` is `Enabled` or `IfPossible`.
    pub is_recursively_readonly: bool,
    /// `mountPropagation: HostToContainer`.
    pub is_host_to_container: bool,
}

/// `lifecycle`'s handlers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookSpec {
    /// A program in the container, by its arguments.
    Exec(Vec<String>),
    /// Nothing but time.
    Sleep(Duration),
}
