//! Bounds on what an image may ask of the node, and the account of what it asked so far.

/// Length of a name in an entry, without the terminating NUL (`PATH_MAX`).
pub(super) const NAME_BYTES: usize = 4095;
/// Length of one component of a name (`NAME_MAX`).
pub(super) const COMPONENT_BYTES: usize = 255;
/// Links that lead to the directory of one entry; the kernel follows as many (`MAXSYMLINKS`).
pub(super) const LINKS: u64 = 40;
/// Layers of an image: as many as overlayfs stacks (`OVL_MAX_STACK`).
pub(super) const LAYERS: usize = 500;
/// Indexes within indexes.
pub(super) const NESTED_INDEXES: usize = 4;
/// Bytes of an extended header or of a long name; the limit of Go's reader, so of Docker and containerd.
pub(super) const HEADER_BYTES: u64 = 1 << 20;
/// Segments of a sparse file.
pub(super) const SEGMENTS: usize = 1 << 16;

/// What an image may ask for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all layers that are unpacked, holes of sparse files included.
    pub unpacked_bytes: u64,
    /// Entries of all layers that are unpacked, with the directories made for them.
    pub entries: u64,
    /// Bytes of names that are remembered until a layer is complete: of directories and of whiteouts.
    pub remembered_bytes: u64,
    /// Directories within directories.
    pub depth: usize,
    /// Bytes of an index, a manifest or a configuration.
    pub document_bytes: u64,
}

impl Default for Limits {
    /// More than images have that are in use, and less than what fills a node by a few bytes of archive: 32 GiB, two million
    /// entries, 256 MiB of names, 128 levels, and documents of 4 MiB, which is what registries take.
    fn default() -> Self {
        Self {
            unpacked_bytes: 32 << 30,
            entries: 2_000_000,
            remembered_bytes: 256 << 20,
            depth: 128,
            document_bytes: 4 << 20,
        }
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} {what}, which is the limit")]
pub struct LimitExceeded {
    /// What there is too much of.
    pub what: &'static str,
    /// The limit.
    pub limit: u64,
}

/// What is left of the limits of one image.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    bytes: u64,
    entries: u64,
    remembered: u64,
}

impl Budget {
    /// Nothing is spent yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes: limits.unpacked_bytes,
            entries: limits.entries,
            remembered: limits.remembered_bytes,
        }
    }

    pub(super) fn bytes(&mut self, n: u64) -> Result<(), LimitExceeded> {
        spend(&mut self.bytes, n, "bytes when unpacked", self.limits.unpacked_bytes)
    }

    pub(super) fn entry(&mut self) -> Result<(), LimitExceeded> {
        spend(&mut self.entries, 1, "entries", self.limits.entries)
    }

    /// A name is kept in memory, in a map.
    pub(super) fn remember(&mut self, name: usize) -> Result<(), LimitExceeded> {
        let n = u64::try_from(name).unwrap_or(u64::MAX).saturating_add(64);
        spend(
            &mut self.remembered,
            n,
            "bytes of names of directories and whiteouts",
            self.limits.remembered_bytes,
        )
    }

    pub(super) fn depth(&self, n: usize) -> Result<(), LimitExceeded> {
        at_most(n, self.limits.depth, "directories within directories")
    }
}

/// Refuses a count above a limit.
pub(super) fn at_most(n: usize, limit: usize, what: &'static str) -> Result<(), LimitExceeded> {
    if n <= limit {
        return Ok(());
    }
    Err(LimitExceeded { what, limit: u64::try_from(limit).unwrap_or(u64::MAX) })
}

fn spend(left: &mut u64, n: u64, what: &'static str, limit: u64) -> Result<(), LimitExceeded> {
    *left = left.checked_sub(n).ok_or(LimitExceeded { what, limit })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_with_its_value() {
        let mut budget = Budget::new(Limits { unpacked_bytes: 10, entries: 1, ..Limits::default() });
        budget.bytes(10).unwrap();
        let error = budget.bytes(1).unwrap_err();
        assert_eq!(error.to_string(), "more than 10 bytes when unpacked, which is the limit");
        budget.entry().unwrap();
        assert_eq!(budget.entry().unwrap_err().to_string(), "more than 1 entries, which is the limit");
        assert_eq!(budget.depth(129).unwrap_err().limit, 128);
        assert_eq!(budget.depth(128), Ok(()));
    }
}
