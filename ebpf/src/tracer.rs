//! The tracer: the loaded programs, their maps, and the scopes that are open.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, RingBuf};
use aya::programs::{Program, ProgramFd};
use podproof_abi::MAX_SCOPES;

use crate::load::{LoadError, Loaded, ProbeStatus, load};
use crate::missed::Missed;
use crate::scope::{Scope, TraceError};
use crate::stream::{Reader, Registry, lock};
use crate::sys;

#[cfg(podproof_probes)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes.o"));
#[cfg(not(podproof_probes))]
static OBJECT: &[u8] = &[];

/// A pass over the tags that still found one is repeated this often; tasks that are just being created may add some.
const CLOSE_PASSES: usize = 4;

/// What to trace with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceOptions {
    /// Attach the system call hooks too: setns, unshare, wait, mount, shm, failed clones. They slow every system
    /// call of the machine by some tens of nanoseconds.
    pub syscalls: bool,
    /// Write events into the ring for the scopes that are open.
    pub events: bool,
    /// Keep counters per cgroup and for the node in kernel maps.
    pub counters: bool,
    /// Size of the ring in bytes, a power of two.
    pub ring_bytes: u32,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self { syscalls: true, events: true, counters: false, ring_bytes: 8 << 20 }
    }
}

/// What the tracer and its scopes share.
pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    slots: Mutex<Array<MapData, [u64; 2]>>,
    tags: Mutex<HashMap<MapData, u32, [u64; 2]>>,
    cgroups: Mutex<HashMap<MapData, u64, u32>>,
    fence: ProgramFd,
    pub(crate) missed: Missed,
    last_scope: AtomicU32,
    last_cookie: AtomicU64,
    /// Losses of scopes that are closed.
    lost_before: AtomicU64,
}

impl Shared {
    pub(crate) fn next_cookie(&self) -> u64 {
        self.last_cookie.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn write_mark(&self, scope: u32, cookie: u64) -> io::Result<()> {
        sys::run_raw_tracepoint(self.fence.as_fd(), [u64::from(scope), cookie])
    }

    pub(crate) fn tag_thread_group(&self, tgid: u32, scope: u32, start_ns: u64) -> Result<(), MapError> {
        // The layout of abi::Tag: scope, not ended, start time.
        lock(&self.tags).insert(tgid, [u64::from(scope), start_ns], 0)
    }

    pub(crate) fn tag_cgroup(&self, id: u64, scope: u32) -> Result<(), MapError> {
        lock(&self.cgroups).insert(id, scope, 0)
    }

    pub(crate) fn lost_in_kernel(&self, scope: u32) -> u64 {
        // The layout of abi::Slot: open, lost. An unreadable slot must not look like no loss.
        lock(&self.slots).get(&scope, 0).map_or(u64::MAX, |[_open, lost]| lost)
    }

    fn set_slot(&self, scope: u32, open: bool) -> Result<(), MapError> {
        lock(&self.slots).set(scope, [u64::from(open), 0], 0)
    }

    /// Ends a scope that lost so many records: nothing is recorded for it from here on, and its tags go.
    pub(crate) fn close_scope(&self, scope: u32, lost: u64) {
        self.lost_before.fetch_add(lost, Ordering::Relaxed);
        if let Err(error) = self.set_slot(scope, false) {
            tracing::warn!(scope, %error, "cannot close the scope in the kernel");
        }
        {
            let mut tags = lock(&self.tags);
            for _pass in 0..CLOSE_PASSES {
                let own = |(tgid, [first, _start]): (u32, [u64; 2])| {
                    (first & u64::from(u32::MAX) == u64::from(scope)).then_some(tgid)
                };
                let found: Vec<u32> = tags.iter().flatten().filter_map(own).collect();
                if found.is_empty() {
                    break;
                }
                for tgid in found {
                    // Gone already when the process was freed in between.
                    _ = tags.remove(&tgid);
                }
            }
        }
        let mut cgroups = lock(&self.cgroups);
        let found: Vec<u64> =
            cgroups.iter().flatten().filter(|(_, owner)| *owner == scope).map(|(id, _)| id).collect();
        for id in found {
            // Gone already when the cgroup was removed in between.
            _ = cgroups.remove(&id);
        }
        drop(cgroups);
        self.registry.close(scope);
    }
}

/// Programs that are loaded and attached, and the reader of their events. Dropping it detaches them; scopes that are
/// still open get nothing more.
pub struct Tracer {
    // Dropped in this order: detach, then stop reading.
    _ebpf: Mutex<Ebpf>,
    _reader: Reader,
    probes: Vec<ProbeStatus>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("probes", &self.probes).finish_non_exhaustive()
    }
}

impl Tracer {
    /// Loads and attaches the programs and starts the reader. Takes some 0.5 s, most of it the verifier's.
    ///
    /// # Errors
    /// When this build has no probes, the caller lacks the privileges, or a required probe is refused.
    pub fn start(options: &TraceOptions) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoProbes);
        }
        let Loaded { mut ebpf, probes, missed } = load(OBJECT, options)?;
        let fence = load_fence(&mut ebpf)?;
        let object = |source: MapError| LoadError::Object { source: Box::new(source.into()) };
        let registry = Arc::new(Registry::default());
        let shared = Arc::new(Shared {
            slots: Mutex::new(Array::try_from(take(&mut ebpf, "SLOTS")?).map_err(object)?),
            tags: Mutex::new(HashMap::try_from(take(&mut ebpf, "TAGS")?).map_err(object)?),
            cgroups: Mutex::new(HashMap::try_from(take(&mut ebpf, "CGROUPS")?).map_err(object)?),
            fence,
            missed,
            registry: Arc::clone(&registry),
            last_scope: AtomicU32::new(0),
            last_cookie: AtomicU64::new(0),
            lost_before: AtomicU64::new(0),
        });
        let ring = RingBuf::try_from(take(&mut ebpf, "EVENTS")?).map_err(object)?;
        let reader = Reader::start(ring, registry).map_err(|source| LoadError::Reader { source })?;
        Ok(Self { _ebpf: Mutex::new(ebpf), _reader: reader, probes, shared })
    }

    /// What became of each program.
    #[must_use]
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// Opens a scope that watches nobody yet.
    ///
    /// # Errors
    /// When all scope ids are in use.
    pub fn open_scope(&self) -> Result<Scope, TraceError> {
        let n = MAX_SCOPES - 1;
        // Round robin, so that an id rests before it is used again.
        let first = self.shared.last_scope.load(Ordering::Relaxed);
        let ids = (0..n).map(|i| (first + i) % n + 1);
        let (id, log) = self.shared.registry.open(ids).ok_or(TraceError::TooManyScopes { max: n })?;
        self.shared.last_scope.store(id, Ordering::Relaxed);
        if let Err(source) = self.shared.set_slot(id, true) {
            self.shared.registry.close(id);
            return Err(TraceError::Map { op: "open the slot", scope: id, source });
        }
        Ok(Scope::new(id, log, Arc::clone(&self.shared)))
    }

    /// Records that were lost since the start, over all scopes.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        let open = self.shared.registry.open_ids().into_iter().map(|id| self.shared.lost_in_kernel(id));
        let malformed = self.shared.registry.malformed.load(Ordering::Relaxed);
        open.fold(malformed, u64::saturating_add)
            .saturating_add(self.shared.lost_before.load(Ordering::Relaxed))
            .saturating_add(self.shared.missed.since(Some(0)))
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Incomplete { what: name })
}

/// Loads the program that writes marks; it is never attached, only run.
fn load_fence(ebpf: &mut Ebpf) -> Result<ProgramFd, LoadError> {
    let required = |reason: String| LoadError::Required { name: "fence".into(), reason };
    let Some(Program::RawTracePoint(program)) = ebpf.program_mut("fence") else {
        return Err(LoadError::Incomplete { what: "fence" });
    };
    program.load().map_err(|error| required(error.to_string()))?;
    let fd = program.fd().map_err(|error| required(error.to_string()))?;
    fd.try_clone().map_err(|error| required(error.to_string()))
}
