//! Why events are of no container.

/// What was not known of the cgroup that they were counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lost {
    /// It was gone before anybody saw it, or was an earlier pod's.
    NoCgroup,
    /// It was gone before its names were there.
    NoMetadata,
}

impl Lost {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::NoCgroup, Self::NoMetadata];

    /// As the label `reason` has it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NoCgroup => "no_cgroup",
            Self::NoMetadata => "no_metadata",
        }
    }
}
