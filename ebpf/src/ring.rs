//! What the ring was given, and what became of it: attempted = emitted + lost, emitted = received + malformed once it
//! is drained.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{MapData, PerCpuArray};
use podproof_abi::kind;
use serde::Serialize;

use crate::stream::lock;

/// Records of one kind since the tracer was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// Written into the ring; counted in the kernel.
    pub emitted: u64,
    /// Found no room; counted in the kernel.
    pub lost: u64,
    /// Read and understood.
    pub received: u64,
    /// Read and not understood.
    pub malformed: u64,
}

/// Counts by kind, kept by the reader.
#[derive(Debug)]
pub(crate) struct Received {
    received: Vec<AtomicU64>,
    malformed: Vec<AtomicU64>,
}

impl Default for Received {
    fn default() -> Self {
        let zeroes = || (0..kind::N).map(|_| AtomicU64::new(0)).collect();
        Self { received: zeroes(), malformed: zeroes() }
    }
}

impl Received {
    pub(crate) fn count(&self, kind: u16, understood: bool) {
        let counts = if understood { &self.received } else { &self.malformed };
        if let Some(count) = counts.get(usize::from(kind)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The kernel's side.
pub(crate) type EmittedMap = Mutex<PerCpuArray<MapData, [u64; 2]>>;

/// Every kind that occurred, by name.
pub(crate) fn counts(emitted: &EmittedMap, received: &Received) -> Vec<(&'static str, KindCount)> {
    let map = lock(emitted);
    let mut all = vec![];
    for kind in 1..kind::N {
        let mut count = KindCount::default();
        if let Ok(per_cpu) = map.get(&kind, 0) {
            for [emitted, lost] in per_cpu.iter() {
                count.emitted += emitted;
                count.lost += lost;
            }
        }
        let index = kind as usize;
        count.received = received.received[index].load(Ordering::Relaxed);
        count.malformed = received.malformed[index].load(Ordering::Relaxed);
        if count != KindCount::default() {
            all.push((name(kind as u16), count));
        }
    }
    all
}

fn name(kind: u16) -> &'static str {
    match kind {
        kind::NEW_TASK => "new_task",
        kind::EXEC => "exec",
        kind::EXIT => "exit",
        kind::FREE => "free",
        kind::SIGNAL_GENERATE => "signal_generate",
        kind::SIGNAL_DELIVER => "signal_deliver",
        kind::CGROUP_MKDIR => "cgroup_mkdir",
        kind::CGROUP_RMDIR => "cgroup_rmdir",
        kind::CGROUP_ATTACH => "cgroup_attach",
        kind::OOM => "oom_victim",
        kind::WAIT => "wait",
        kind::RELEASE => "release",
        kind::CLONE_FAILED => "clone_failed",
        kind::SETNS => "setns",
        kind::UNSHARE => "unshare",
        kind::MOUNT => "mount",
        kind::UMOUNT => "umount",
        kind::PIVOT_ROOT => "pivot_root",
        kind::SHMGET => "shmget",
        kind::SHMAT => "shmat",
        kind::FENCE => "fence",
        kind::EXEC_FAILED => "exec_failed",
        kind::CGROUP_FREEZE => "cgroup_freeze",
        kind::CGROUP_FROZEN => "cgroup_frozen",
        kind::CGROUP_POPULATED => "cgroup_populated",
        kind::CGROUP_WRITE => "cgroup_write",
        kind::CHROOT => "chroot",
        kind::FSOPEN => "fsopen",
        kind::OPEN_TREE => "open_tree",
        kind::MOUNT_SETATTR => "mount_setattr",
        kind::MOVE_MOUNT => "move_mount",
        kind::HOSTNAME => "hostname",
        kind::DOMAINNAME => "domainname",
        _ => "unknown",
    }
}
