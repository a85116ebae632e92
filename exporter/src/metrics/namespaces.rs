//! Types of Linux namespaces, as the label `namespace_type` has them.

use clap::ValueEnum;

/// A type of namespaces, by its name below `/proc/PID/ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names are those of namespaces(7)")]
pub enum NamespaceType {
    Cgroup,
    Ipc,
    Mnt,
    Net,
    Pid,
    Time,
    User,
    Uts,
}

impl NamespaceType {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Cgroup, Self::Ipc, Self::Mnt, Self::Net, Self::Pid, Self::Time, Self::User, Self::Uts];

    /// What is shown of types that have no series of their own.
    pub(super) const OTHER: &str = "other";

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Mnt => "mnt",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_names_types_as_the_label_does() {
        assert_eq!(NamespaceType::ALL, NamespaceType::value_variants());
        for kind in NamespaceType::ALL {
            assert_eq!(NamespaceType::from_str(kind.label(), false), Ok(kind));
        }
    }
}
