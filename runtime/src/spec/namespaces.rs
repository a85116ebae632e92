//! `linux.namespaces`, `linux.uidMappings` and `linux.gidMappings`.

use std::fmt;
use std::path::PathBuf;

use oci_spec::runtime as oci;

use super::SpecError;

/// The kinds of namespaces (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NsKind {
    /// Ids and capabilities.
    User,
    /// Mount points.
    Mount,
    /// Host and domain name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Network.
    Network,
    /// Process ids.
    Pid,
    /// Root of the cgroup view.
    Cgroup,
    /// Clock offsets.
    Time,
}

impl NsKind {
    /// All kinds.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Mount, Self::Uts, Self::Ipc, Self::Network, Self::Pid, Self::Cgroup, Self::Time];

    /// The name that `linux.namespaces[].type` has.
    #[must_use]
    pub fn oci_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The name in `/proc/PID/ns`.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Network => "net",
            other => other.oci_name(),
        }
    }

    /// The `CLONE_NEW*` flag.
    #[must_use]
    pub fn clone_flag(self) -> i32 {
        match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Network => libc::CLONE_NEWNET,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => libc::CLONE_NEWTIME,
        }
    }
}

impl fmt::Display for NsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.oci_name())
    }
}

impl From<oci::LinuxNamespaceType> for NsKind {
    fn from(kind: oci::LinuxNamespaceType) -> Self {
        match kind {
            oci::LinuxNamespaceType::User => Self::User,
            oci::LinuxNamespaceType::Mount => Self::Mount,
            oci::LinuxNamespaceType::Uts => Self::Uts,
            oci::LinuxNamespaceType::Ipc => Self::Ipc,
            oci::LinuxNamespaceType::Network => Self::Network,
            oci::LinuxNamespaceType::Pid => Self::Pid,
            oci::LinuxNamespaceType::Cgroup => Self::Cgroup,
            oci::LinuxNamespaceType::Time => Self::Time,
        }
    }
}

/// One entry of `linux.namespaces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceSpec {
    /// Position in the list, for messages.
    pub index: usize,
    /// Kind.
    pub kind: NsKind,
    /// Which namespace to join; `None` makes a new one.
    pub path: Option<PathBuf>,
}

/// One line of an id map (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// Checks the list: each kind once, absolute paths, a mount namespace present.
///
/// # Errors
/// The offending entry, by its path.
pub(super) fn read(list: &[oci::LinuxNamespace]) -> Result<Vec<NamespaceSpec>, SpecError> {
    let mut seen: Vec<NamespaceSpec> = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let kind = NsKind::from(entry.typ());
        if let Some(first) = seen.iter().find(|ns| ns.kind == kind) {
            return Err(SpecError::invalid(
                format!("linux.namespaces[{index}].type"),
                format!("{kind} is already listed at [{}]", first.index),
            ));
        }
        // An empty path means what a missing one means.
        let path = entry.path().clone().filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
            return Err(SpecError::invalid(
                format!("linux.namespaces[{index}].path"),
                format!("{} is not an absolute path", path.display()),
            ));
        }
        seen.push(NamespaceSpec { index, kind, path });
    }
    if !seen.iter().any(|ns| ns.kind == NsKind::Mount) {
        return Err(SpecError::invalid(
            "linux.namespaces",
            "no mount namespace is listed, and the root file system cannot be changed without one",
        ));
    }
    Ok(seen)
}

/// Reads one id map; `path` names it.
///
/// # Errors
/// A mapping of no ids.
pub(super) fn mappings(
    path: &str,
    list: Option<&Vec<oci::LinuxIdMapping>>,
) -> Result<Vec<IdMapping>, SpecError> {
    let maps: Vec<IdMapping> = list
        .into_iter()
        .flatten()
        .map(|map| IdMapping { container_id: map.container_id(), host_id: map.host_id(), size: map.size() })
        .collect();
    match maps.iter().position(|map| map.size == 0) {
        Some(index) => Err(SpecError::invalid(format!("{path}[{index}].size"), "a mapping of no ids")),
        None => Ok(maps),
    }
}

/// Reads one id map and checks it against the user namespace that is asked for.
///
/// # Errors
/// Mappings without a new user namespace, or a new user namespace without mappings.
pub(super) fn read_mappings(
    field: &str,
    list: Option<&Vec<oci::LinuxIdMapping>>,
    namespaces: &[NamespaceSpec],
) -> Result<Vec<IdMapping>, SpecError> {
    let path = format!("linux.{field}");
    let maps = mappings(&path, list)?;
    match namespaces.iter().find(|ns| ns.kind == NsKind::User) {
        Some(ns) if ns.path.is_none() && maps.is_empty() => {
            Err(SpecError::invalid(path, "a new user namespace needs it: without a map its root has no ids"))
        }
        // A joined namespace has its maps already; an engine may repeat them for information.
        Some(_) => Ok(maps),
        None if maps.is_empty() => Ok(maps),
        None => Err(SpecError::invalid(path, "needs a user namespace in linux.namespaces")),
    }
}
