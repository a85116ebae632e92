//! The tracer: the loaded programs, their maps, and the scopes that are open.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{Program, ProgramFd};
use podproof_abi::{Control, MAX_COUNTED, MAX_SCOPES, MAX_ZOMBIES, N_COUNTERS, Offsets};

use crate::counters::{
    self, Brief, Counter, CounterError, CounterMaps, Counts, FlagSet, MapFill, Refusals, Snapshot, ZombieView,
};
use crate::load::{KERNEL_BTF, LoadError, load, load_with};
use crate::missed::Missed;
use crate::probe::{Probe, ProbeStatus};
use crate::programs::{AttachError, Programs};
use crate::ring::{self, EmittedMap, KindCount};
use crate::scope::{Scope, TraceError};
use crate::signals::{self, CounterStatus, SignalStatus};
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
    /// Attach the system call hooks too, while a scope is open: setns, unshare, wait, mounts, shm, cgroup files, failed
    /// clones and execs. They slow every system call of the machine by some tens of nanoseconds.
    pub syscalls: bool,
    /// Write events into the ring for the scopes that are open.
    pub events: bool,
    /// Keep counters per cgroup and for the node in kernel maps.
    pub counters: bool,
    /// Count with them for how long run queues are throttled. The hooks run where the scheduler holds a run queue's lock.
    pub throttling: bool,
    /// Size of the ring in bytes, a power of two.
    pub ring_bytes: u32,
    /// Cgroups that can be counted at once; the counters of one take some 800 bytes.
    pub max_cgroups: u32,
    /// Zombies that can be known at once, and as many orphans.
    pub max_processes: u32,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            syscalls: true,
            events: true,
            counters: false,
            throttling: false,
            ring_bytes: 8 << 20,
            max_cgroups: MAX_COUNTED,
            max_processes: MAX_ZOMBIES,
        }
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
    counters: CounterMaps,
    emitted: EmittedMap,
    control: Mutex<Array<MapData, [u32; 2]>>,
    /// Gone with the tracer.
    programs: Mutex<Option<Programs>>,
    open_scopes: Mutex<usize>,
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
        // The layout of abi::Tag: scope, padding, start time.
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

    /// One scope more. The first one attaches the programs that are there for scopes only.
    fn scope_opened(&self) -> Result<(), AttachError> {
        let mut open = lock(&self.open_scopes);
        if *open == 0
            && let Some(programs) = lock(&self.programs).as_mut()
        {
            programs.attach_again(is_on_demand)?;
        }
        *open += 1;
        Ok(())
    }

    /// One scope less. What is attached for scopes only stays so for a moment, since the next one often follows.
    fn scope_closed(&self) {
        *lock(&self.open_scopes) -= 1;
    }

    /// No scope was open for a while.
    fn rest(&self) {
        let open = lock(&self.open_scopes);
        if *open == 0
            && let Some(programs) = lock(&self.programs).as_mut()
            && let Err(error) = programs.detach(is_on_demand)
        {
            tracing::warn!(%error, "cannot detach a probe");
        }
    }

    /// Ends a scope that lost so many records: nothing is recorded for it from here on, and its tags go.
    pub(crate) fn close_scope(&self, scope: u32, lost: u64) {
        let sum = |before: u64| Some(before.saturating_add(lost));
        _ = self.lost_before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
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
        self.scope_closed();
    }
}

/// Whether a program is attached only while a scope is open.
fn is_on_demand(probe: &Probe) -> bool {
    probe.tier == 2
}

/// Programs that are loaded and attached, and the reader of their events. Dropping it detaches them; scopes that are
/// still open get nothing more.
pub struct Tracer {
    /// Without events there is nothing to read, and no thread.
    _reader: Option<Reader>,
    #[cfg(feature = "log")]
    _lines: Option<crate::log::Lines>,
    shared: Arc<Shared>,
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Detach first; the reader stops after that.
        drop(lock(&self.shared.programs).take());
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

impl Tracer {
    /// Loads and attaches the programs, and starts the reader if events are wanted. Takes some 0.5 s, most of it the verifier's.
    ///
    /// # Errors
    /// When this build has no probes, the caller lacks the privileges, or a required probe is refused.
    pub fn start(options: &TraceOptions) -> Result<Self, LoadError> {
        Self::start_with_btf(options, Path::new(KERNEL_BTF))
    }

    /// The same where another file has the type information of the running kernel.
    ///
    /// # Errors
    /// Those of [`Tracer::start`].
    pub fn start_with_btf(options: &TraceOptions, btf: &Path) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoProbes);
        }
        Self::from_programs(load(OBJECT, options, btf)?)
    }

    /// The same with a change to the table of offsets: what a wrong one leads to.
    #[doc(hidden)]
    pub fn start_with_offsets(
        options: &TraceOptions,
        change: impl FnOnce(&mut Offsets),
    ) -> Result<Self, LoadError> {
        Self::from_programs(load_with(OBJECT, options, Path::new(KERNEL_BTF), change)?)
    }

    fn from_programs(mut programs: Programs) -> Result<Self, LoadError> {
        let has = |name: &str| programs.has(name);
        let available = Arc::new(counters::available(&programs.counter_sources()));
        let has_release = has("release_task");
        let wants_events = programs.options.events;
        let duplicate = |source| LoadError::Duplicate { source };
        let missed = Missed::of(programs.descriptors().map_err(duplicate)?);
        programs.detach(is_on_demand).map_err(|source| LoadError::Detach { source })?;
        let TraceOptions { max_cgroups, max_processes, .. } = programs.options;
        let ebpf = &mut programs.ebpf;
        let fence = load_fence(ebpf)?;
        #[cfg(feature = "log")]
        let lines = crate::log::Lines::start(ebpf);
        let object = |source: MapError| LoadError::Object { source: Box::new(source.into()) };
        let registry = Arc::new(Registry::default());
        let shared = Arc::new(Shared {
            slots: Mutex::new(Array::try_from(take(ebpf, "SLOTS")?).map_err(object)?),
            tags: Mutex::new(HashMap::try_from(take(ebpf, "TAGS")?).map_err(object)?),
            cgroups: Mutex::new(HashMap::try_from(take(ebpf, "CGROUPS")?).map_err(object)?),
            fence,
            missed,
            counters: CounterMaps {
                cgroups: Mutex::new(HashMap::try_from(take(ebpf, "COUNTERS")?).map_err(object)?),
                paths: Mutex::new(HashMap::try_from(take(ebpf, "PATHS")?).map_err(object)?),
                rest: Mutex::new(PerCpuArray::try_from(take(ebpf, "REST")?).map_err(object)?),
                ended: Mutex::new(Box::new([0; N_COUNTERS])),
                brief: Brief {
                    joining: HashMap::try_from(take(ebpf, "JOINING")?).map_err(object)?,
                    dying: HashMap::try_from(take(ebpf, "DYING")?).map_err(object)?,
                    oom_kills: HashMap::try_from(take(ebpf, "OOM_KILLS")?).map_err(object)?,
                },
                zombies: Mutex::new(HashMap::try_from(take(ebpf, "ZOMBIES")?).map_err(object)?),
                n_orphans: Mutex::new(Array::try_from(take(ebpf, "N_ORPHANS")?).map_err(object)?),
                flag_sets: Mutex::new(HashMap::try_from(take(ebpf, "FLAG_SETS")?).map_err(object)?),
                refused: Mutex::new(PerCpuArray::try_from(take(ebpf, "REFUSED")?).map_err(object)?),
                refused_here: AtomicU64::new(0),
                max_cgroups,
                max_processes,
                available,
            },
            emitted: Mutex::new(PerCpuArray::try_from(take(ebpf, "EMITTED")?).map_err(object)?),
            control: Mutex::new(Array::try_from(take(ebpf, "CONTROL")?).map_err(object)?),
            programs: Mutex::new(None),
            open_scopes: Mutex::new(0),
            registry: Arc::clone(&registry),
            last_scope: AtomicU32::new(0),
            last_cookie: AtomicU64::new(0),
            lost_before: AtomicU64::new(0),
        });
        let control = Control { has_release: has_release.into(), pad: 0 };
        lock(&shared.control).set(0, bytemuck::cast::<_, [u32; 2]>(control), 0).map_err(object)?;
        let ring = take(ebpf, "EVENTS")?;
        *lock(&shared.programs) = Some(programs);
        let reader = if wants_events {
            let weak = Arc::downgrade(&shared);
            let rest = move || {
                if let Some(shared) = weak.upgrade() {
                    shared.rest();
                }
            };
            let ring = RingBuf::try_from(ring).map_err(object)?;
            Some(Reader::start(ring, registry, rest).map_err(|source| LoadError::Reader { source })?)
        } else {
            None
        };
        Ok(Self {
            _reader: reader,
            #[cfg(feature = "log")]
            _lines: lines,
            shared,
        })
    }

    /// What became of each program, and how often it ran.
    #[must_use]
    pub fn probes(&self) -> Vec<ProbeStatus> {
        lock(&self.shared.programs).as_ref().map(Programs::status).unwrap_or_default()
    }

    /// Where each signal comes from on this kernel.
    #[must_use]
    pub fn signals(&self) -> Vec<SignalStatus> {
        let events = lock(&self.shared.programs).as_ref().is_some_and(|programs| programs.options.events);
        signals::resolve(&self.probes(), events)
    }

    /// Which counters this kernel can give, of those that were asked for.
    #[must_use]
    pub fn counter_sources(&self) -> Vec<CounterStatus> {
        let programs = lock(&self.shared.programs);
        let Some(programs) = programs.as_ref() else { return vec![] };
        let all = programs.counter_sources().into_iter().zip(Counter::ALL);
        all.filter(|(_, counter)| signals::is_asked(**counter, &programs.options))
            .map(|(status, _)| status)
            .collect()
    }

    /// Makes the kernel count runs of BPF programs and their time from here on until the tracer is dropped, which costs every
    /// run some tens of nanoseconds.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enable_statistics(&self) -> io::Result<()> {
        lock(&self.shared.programs).as_mut().map_or(Ok(()), Programs::enable_statistics)
    }

    /// Whether the kernel counts runs of BPF programs.
    #[must_use]
    pub fn has_statistics(&self) -> bool {
        lock(&self.shared.programs).as_ref().is_some_and(Programs::has_statistics)
    }

    /// Takes all programs off their hooks; they and their maps stay loaded. Open scopes and counters see nothing
    /// until [`Tracer::attach`], and nobody tells them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn detach(&self) -> Result<(), AttachError> {
        lock(&self.shared.programs).as_mut().map_or(Ok(()), |programs| programs.detach(|_probe| true))
    }

    /// Puts all programs on their hooks again; those that are there for scopes only while one is open.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&self) -> Result<(), AttachError> {
        let open = lock(&self.shared.open_scopes);
        let wanted = |probe: &Probe| *open > 0 || !is_on_demand(probe);
        lock(&self.shared.programs).as_mut().map_or(Ok(()), |programs| programs.attach_again(wanted))
    }

    /// Counts for a cgroup of the v2 hierarchy that was there before the tracer, by its id (the inode of its directory). False when
    /// there is no room for it, which [`Tracer::refusals`] tells too.
    ///
    /// # Errors
    /// When the map refuses for another reason.
    pub fn count_cgroup(&self, id: u64) -> Result<bool, CounterError> {
        self.shared.counters.begin(id)
    }

    /// Ends counting for a cgroup, which may be gone for long; the node's totals keep what it counted. What a task does in it
    /// at that moment may be missed: best when the cgroup has none. Gives what was counted; `None` when nothing was.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn forget_cgroup(&self, id: u64) -> Result<Option<Counts>, CounterError> {
        self.shared.counters.end(id)
    }

    /// All counters.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn counters(&self) -> Result<Snapshot, CounterError> {
        self.shared.counters.snapshot()
    }

    /// What is counted for no cgroup ([`Snapshot::rest`]), without reading the others.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn rest_counters(&self) -> Result<Counts, CounterError> {
        self.shared.counters.rest()
    }

    /// What of these is of cgroups: those that nobody asked to count, that there was no room for, or that were forgotten.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn uncounted(&self) -> Result<Counts, CounterError> {
        self.shared.counters.uncounted()
    }

    /// Ids of the cgroups that are counted, without their counters; one may be there twice.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counted_cgroups(&self) -> Result<Vec<u64>, CounterError> {
        self.shared.counters.ids()
    }

    /// Cgroups of the v2 hierarchy that were made since the last time, and their paths below its root, be they there or gone; those
    /// whose path is longer than 253 bytes are left out. The path of a cgroup is there before [`Tracer::counted_cgroups`] has its id.
    ///
    /// # Errors
    /// When the map cannot be read or changed; paths that were taken out until then are lost.
    pub fn take_cgroup_paths(&self) -> Result<BTreeMap<u64, PathBuf>, CounterError> {
        self.shared.counters.take_paths()
    }

    /// Processes that wait to be reaped, each once; none where `release_task` is not attached.
    ///
    /// # Errors
    /// When the map cannot be read, or its entries come and go faster than it can be.
    pub fn zombies(&self) -> Result<Vec<ZombieView>, CounterError> {
        self.shared.counters.zombies()
    }

    /// Takes out a zombie that was found to be none any more: its release was not seen.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn forget_zombie(&self, zombie: &ZombieView) -> Result<(), CounterError> {
        self.shared.counters.forget_zombie(zombie)
    }

    /// How often namespaces were made or entered, by call and by the types asked for together.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn flag_sets(&self) -> Result<Vec<FlagSet>, CounterError> {
        self.shared.counters.flag_sets()
    }

    /// Entries that maps have refused: each may be a process or cgroup that is not counted.
    ///
    /// # Errors
    /// When the counts cannot be read.
    pub fn refusals(&self) -> Result<Vec<Refusals>, CounterError> {
        self.shared.counters.refusals()
    }

    /// How full the maps are that can refuse an entry. Of cgroups, zombies and sets of namespaces the caller has read all.
    #[must_use]
    pub fn fill(&self, snapshot: &Snapshot, zombies: &[ZombieView], flag_sets: &[FlagSet]) -> [MapFill; 8] {
        self.shared.counters.fill(snapshot.cgroups.len(), zombies.len(), flag_sets.len())
    }

    /// What the ring was given, by kind of record.
    #[must_use]
    pub fn ring(&self) -> Vec<(&'static str, KindCount)> {
        ring::counts(&self.shared.emitted, &self.shared.registry.received)
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
        if let Err(source) = self.shared.scope_opened() {
            if let Err(error) = self.shared.set_slot(id, false) {
                tracing::warn!(scope = id, %error, "cannot close the scope in the kernel");
            }
            self.shared.registry.close(id);
            return Err(TraceError::Attach { scope: id, source });
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
    let required = |reason: String| LoadError::Required { name: "fence".into(), reason, probes: vec![] };
    let Some(Program::RawTracePoint(program)) = ebpf.program_mut("fence") else {
        return Err(LoadError::Incomplete { what: "fence" });
    };
    program.load().map_err(|error| required(error.to_string()))?;
    let fd = program.fd().map_err(|error| required(error.to_string()))?;
    fd.try_clone().map_err(|error| required(error.to_string()))
}
