//! Who a cgroup belongs to.

use super::Names;

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A container of its own, or of a pod.
    App,
    /// A container of a pod that runs to its end before the others begin.
    Init,
    /// The sandbox of a pod.
    Sandbox,
    /// The cgroup of a pod, around those of its containers.
    Pod,
    /// Containers that no room was left for, together.
    Overflow,
    /// None of these: host services, user sessions.
    Host,
}

impl Role {
    /// Whether it is one container, with an id of its own.
    #[must_use]
    pub fn is_container(self) -> bool {
        matches!(self, Self::App | Self::Init | Self::Sandbox)
    }

    /// As the label `container_type` has it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Init => "init",
            Self::Sandbox => "sandbox",
            Self::Pod | Self::Overflow | Self::Host => "other",
        }
    }
}

/// The container, pod or host that a cgroup belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Names of its series.
    pub names: Names,
    /// What it is.
    pub role: Role,
    /// Full id of the container; empty when there is none.
    pub container_id: String,
    /// Uid of the pod; empty when there is none.
    pub pod_uid: String,
    /// Who made it.
    pub runtime: String,
    /// `guaranteed`, `burstable`, `best_effort`; empty when it is not known.
    pub qos_class: String,
}

impl Owner {
    /// Host services and user sessions: one series of them all.
    #[must_use]
    pub fn host() -> Self {
        Self {
            names: Names::default(),
            role: Role::Host,
            container_id: String::new(),
            pod_uid: String::new(),
            runtime: String::new(),
            qos_class: String::new(),
        }
    }

    /// Containers beyond the limit of series: one series of them all.
    #[must_use]
    pub fn overflow() -> Self {
        Self { names: Names::new("", "", Names::OVERFLOW), role: Role::Overflow, ..Self::host() }
    }
}
