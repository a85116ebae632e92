//! What a process holds in the kernel: BPF objects by kind and id, descriptors, memory.
//!
//! Ids tell our objects from those of strangers, who come and go at any time. The kernel gives each id once in a long while
//! only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use crate::sys::next_id;
use crate::{PATIENCE, Res};

/// A kind of BPF object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Program,
    Map,
    TypeInformation,
    Link,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Program, Self::Map, Self::TypeInformation, Self::Link];

    /// Its line in `/proc/PID/fdinfo/FD`.
    fn field(self) -> &'static str {
        match self {
            Self::Program => "prog_id:",
            Self::Map => "map_id:",
            Self::TypeInformation => "btf_id:",
            Self::Link => "link_id:",
        }
    }

    /// `BPF_{PROG,MAP,BTF,LINK}_GET_NEXT_ID` (bpf(2)).
    fn next_id_command(self) -> i32 {
        match self {
            Self::Program => 11,
            Self::Map => 12,
            Self::TypeInformation => 23,
            Self::Link => 31,
        }
    }
}

/// BPF objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held(BTreeSet<(Kind, u32)>);

impl Held {
    /// What the descriptors of a process stand for.
    pub(crate) fn by(pid: u32) -> Res<Self> {
        let mut held = Self::default();
        let dir = format!("/proc/{pid}/fdinfo");
        for entry in fs::read_dir(&dir).map_err(|error| format!("cannot read {dir}: {error}"))? {
            // The descriptor by which the folder is read is gone again.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            for kind in Kind::ALL {
                if let Some(id) = text.lines().find_map(|line| line.strip_prefix(kind.field())) {
                    held.0.insert((kind, id.trim().parse()?));
                }
            }
        }
        Ok(held)
    }

    pub(crate) fn by_us() -> Res<Self> {
        Self::by(std::process::id())
    }

    /// How many of one kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|(of, _)| *of == kind).count()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Those of one kind.
    pub(crate) fn only(&self, kind: Kind) -> Self {
        Self(self.0.iter().filter(|(of, _)| *of == kind).copied().collect())
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Those that are in the kernel's lists.
    pub(crate) fn alive(&self) -> Res<Self> {
        let mut alive = BTreeSet::new();
        for kind in Kind::ALL {
            let mut id = 0;
            while let Some(next) = next_id(kind.next_id_command(), id)? {
                id = next;
                alive.insert((kind, id));
            }
        }
        Ok(Self(self.0.intersection(&alive).copied().collect()))
    }

    /// Waits until the kernel has freed them all.
    pub(crate) fn wait_until_gone(&self, what: &str) -> Res<()> {
        let start = Instant::now();
        loop {
            let left = self.alive()?;
            if left.0.is_empty() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let ids: BTreeMap<Kind, Vec<u32>> =
                    left.0.iter().fold(BTreeMap::new(), |mut by_kind, (kind, id)| {
                        by_kind.entry(*kind).or_default().push(*id);
                        by_kind
                    });
                return Err(format!("{what}: after {PATIENCE:?} the kernel still has {ids:?}").into());
            }
            // Nothing tells when it has: it frees after a grace period, in a worker of its own.
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> Res<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Memory of this process that is in core, in bytes.
pub(crate) fn resident() -> Res<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("/proc/self/statm has one field")?.parse()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.ok_or("no page size")?;
    Ok(pages * u64::try_from(page)?)
}
