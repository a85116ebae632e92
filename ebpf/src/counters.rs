//! The counters that the programs keep in kernel maps: per cgroup, and for the node.
//!
//! They do not depend on the ring or on scopes. An entry begins with its cgroup's birth, or when user space asks for it;
//! only user space ends it, so that a late reap still counts. What no attached program feeds is unavailable, not zero.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use podproof_abi::{
    MAX_FLAG_SETS, MAX_PENDING, N_COUNTERS, N_NS, NS_FLAGS, NsInodes, PATH_LEN, Zombie, ns_call, rest, table,
};
use thiserror::Error;

pub use podproof_abi::Counter;

use crate::signals::CounterStatus;
use crate::stream::lock;

type Values = [u64; N_COUNTERS];

/// A counter map could not be read or changed.
#[derive(Debug, Error)]
#[error("cannot {op}")]
pub struct CounterError {
    /// What was tried.
    op: String,
    /// The cause.
    source: MapError,
}

/// Counters of one cgroup or of the node.
#[derive(Debug, Clone)]
pub struct Counts {
    values: Box<Values>,
    available: Arc<Available>,
}

/// By counter: whether a program feeds it.
pub(crate) type Available = [bool; N_COUNTERS];

impl Counts {
    /// The value; `None` when this kernel cannot give it.
    #[must_use]
    pub fn get(&self, counter: Counter) -> Option<u64> {
        let index = counter as usize;
        self.available[index].then(|| self.values[index])
    }

    /// All that are available, in the order of [`Counter::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.iter().filter_map(|counter| Some((*counter, self.get(*counter)?)))
    }
}

/// Values from elsewhere; what is not among them is unavailable.
impl FromIterator<(Counter, u64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (Counter, u64)>>(values: T) -> Self {
        let (mut all, mut available) = ([0; N_COUNTERS], [false; N_COUNTERS]);
        for (counter, value) in values {
            all[counter as usize] = value;
            available[counter as usize] = true;
        }
        Self { values: Box::new(all), available: Arc::new(available) }
    }
}

/// All counters at one moment. Each value is exact; two of them are not read at the same instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Of the node since the tracer was started, whatever became of the cgroups: the sum of all.
    pub node: Counts,
    /// By cgroup id.
    pub cgroups: BTreeMap<u64, Counts>,
    /// What is counted for no cgroup here: kernel threads, and cgroups that nobody asked to count.
    pub rest: Counts,
}

/// A process that has ended and was not released yet, as known to the kernel side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZombieView {
    /// Its number in the initial pid namespace.
    pub tgid: u32,
    /// `CLOCK_BOOTTIME` when its parent was told, nanoseconds.
    pub since_ns: u64,
    /// Its cgroup.
    pub cgroup_id: u64,
    /// Who was told.
    pub parent_tgid: u32,
    /// What that is.
    pub parent: ZombieParent,
}

/// Who should reap a zombie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZombieParent {
    /// PID 1 of a pid namespace below the initial one, in the zombie's own cgroup.
    Init,
    /// Such a one in another cgroup.
    OtherInit,
    /// Any other process.
    Other,
}

/// How often one call made or entered these namespaces together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagSet {
    /// `clone`, `unshare`, or `setns`, which is known by what has changed.
    pub operation: &'static str,
    /// Types of namespaces, sorted, with `+` between them: `mnt+pid`.
    pub types: String,
    /// Calls.
    pub count: u64,
}

/// Entries that a map of the kernel side refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusals {
    /// The map.
    pub map: &'static str,
    /// `E2BIG`, `ENOMEM`, `EBUSY` or `other`.
    pub errno: &'static str,
    /// How many.
    pub count: u64,
}

/// Entries of a map of the kernel side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapFill {
    /// The map.
    pub map: &'static str,
    /// Entries that it has.
    pub entries: u64,
    /// Entries that it can have.
    pub capacity: u64,
}

/// Types of namespaces in the order of [`NS_FLAGS`].
const TYPES: [&str; N_NS] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Names of the maps, by [`table`].
const MAPS: [&str; table::N as usize] =
    ["counters", "zombies", "orphans", "joining", "dying", "oom_kills", "moving", "flag_sets", "paths"];

const ERRNOS: [&str; 4] = ["E2BIG", "ENOMEM", "EBUSY", "other"];

/// Maps with an entry for each thread, or namespace, that something happens to at this moment. `MOVING` is not among them: it forgets
/// what is old, and is full for no harm.
pub(crate) struct Brief {
    pub(crate) joining: HashMap<MapData, u64, [u32; size_of::<NsInodes>() / 4]>,
    pub(crate) dying: HashMap<MapData, u32, u8>,
    pub(crate) oom_kills: HashMap<MapData, u64, [u64; 2]>,
}

/// The maps.
pub(crate) struct CounterMaps {
    pub(crate) cgroups: Mutex<HashMap<MapData, u64, Values>>,
    pub(crate) paths: Mutex<HashMap<MapData, u64, [u8; PATH_LEN]>>,
    pub(crate) rest: Mutex<PerCpuArray<MapData, Values>>,
    /// Sums of what was ended.
    pub(crate) ended: Mutex<Box<Values>>,
    pub(crate) brief: Brief,
    pub(crate) zombies: Mutex<HashMap<MapData, u32, [u64; 4]>>,
    pub(crate) n_orphans: Mutex<Array<MapData, u64>>,
    pub(crate) flag_sets: Mutex<HashMap<MapData, u64, u64>>,
    pub(crate) refused: Mutex<PerCpuArray<MapData, [u64; 4]>>,
    /// Cgroups that user space found no room for.
    pub(crate) refused_here: AtomicU64,
    pub(crate) max_cgroups: u32,
    pub(crate) max_processes: u32,
    pub(crate) available: Arc<Available>,
}

impl CounterMaps {
    /// False when there is no room.
    pub(crate) fn begin(&self, id: u64) -> Result<bool, CounterError> {
        const BPF_NOEXIST: u64 = 1;
        let mut map = lock(&self.cgroups);
        match map.insert(id, [0; N_COUNTERS], BPF_NOEXIST) {
            Ok(()) => Ok(true),
            // It is counted already, from its birth on.
            Err(_) if map.get(&id, 0).is_ok() => Ok(true),
            Err(error) if errno(&error) == Some(libc::E2BIG) => {
                self.refused_here.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
            Err(source) => Err(CounterError { op: format!("count for cgroup {id}"), source }),
        }
    }

    pub(crate) fn end(&self, id: u64) -> Result<Option<Counts>, CounterError> {
        let failed = |source| CounterError { op: format!("end the counters of cgroup {id}"), source };
        let mut map = lock(&self.cgroups);
        let last = match map.get(&id, 0) {
            Ok(last) => last,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        map.remove(&id).map_err(failed)?;
        // Taken out already, unless nobody asks for paths.
        _ = lock(&self.paths).remove(&id);
        add(&mut lock(&self.ended), &last);
        Ok(Some(self.counts(last)))
    }

    fn counts(&self, values: Values) -> Counts {
        Counts { values: Box::new(values), available: Arc::clone(&self.available) }
    }

    /// What is counted for no cgroup here.
    pub(crate) fn rest(&self) -> Result<Counts, CounterError> {
        self.rest_of(&[rest::NONE, rest::UNCOUNTED])
    }

    /// What of it is of cgroups.
    pub(crate) fn uncounted(&self) -> Result<Counts, CounterError> {
        self.rest_of(&[rest::UNCOUNTED])
    }

    fn rest_of(&self, entries: &[u32]) -> Result<Counts, CounterError> {
        let failed = |source| CounterError { op: "read the counters of no cgroup".to_owned(), source };
        let map = lock(&self.rest);
        let mut sum = [0; N_COUNTERS];
        for entry in entries {
            for cpu in map.get(entry, 0).map_err(failed)?.iter() {
                add(&mut sum, cpu);
            }
        }
        Ok(self.counts(sum))
    }

    /// Ids of the cgroups that are counted; the kernel may give one twice when a cgroup is made meanwhile.
    pub(crate) fn ids(&self) -> Result<Vec<u64>, CounterError> {
        let failed = |source| CounterError { op: "list the cgroups that are counted".to_owned(), source };
        lock(&self.cgroups).keys().collect::<Result<_, _>>().map_err(failed)
    }

    pub(crate) fn take_paths(&self) -> Result<BTreeMap<u64, PathBuf>, CounterError> {
        let failed = |source| CounterError { op: "take out the paths of new cgroups".to_owned(), source };
        let mut map = lock(&self.paths);
        let ids = keys(&map, self.max_cgroups).map_err(failed)?;
        let mut paths = BTreeMap::new();
        for id in ids {
            match map.get(&id, 0).and_then(|text| map.remove(&id).map(|()| text)) {
                Ok(text) => {
                    let path = text.split(|byte| *byte == 0).next().unwrap_or_default();
                    let below_root = path.strip_prefix(b"/").unwrap_or(path);
                    paths.insert(id, OsStr::from_bytes(below_root).into());
                }
                // There was no room to count for it.
                Err(error) if is_absent(&error) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(paths)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, CounterError> {
        let failed = |op: &str| {
            let op = op.to_owned();
            move |source| CounterError { op, source }
        };
        let map = lock(&self.cgroups);
        let rest = self.rest()?;
        let mut node = **lock(&self.ended);
        add(&mut node, &rest.values);
        let mut cgroups = BTreeMap::new();
        for id in map.keys() {
            let id = id.map_err(failed("list the cgroups that are counted"))?;
            match map.get(&id, 0) {
                // The kernel may begin the list again when a cgroup is made meanwhile.
                Ok(_) if cgroups.contains_key(&id) => {}
                Ok(values) => {
                    add(&mut node, &values);
                    cgroups.insert(id, self.counts(values));
                }
                Err(error) if is_absent(&error) => {}
                Err(source) => return Err(failed("read the counters of a cgroup")(source)),
            }
        }
        Ok(Snapshot { node: self.counts(node), cgroups, rest })
    }

    pub(crate) fn zombies(&self) -> Result<Vec<ZombieView>, CounterError> {
        let failed = |source| CounterError { op: "list the zombies".to_owned(), source };
        let map = lock(&self.zombies);
        let mut zombies = vec![];
        for tgid in keys(&map, self.max_processes).map_err(failed)? {
            match map.get(&tgid, 0) {
                Ok(words) => zombies.push(view(tgid, bytemuck::cast(words))),
                // It was reaped meanwhile.
                Err(error) if is_absent(&error) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(zombies)
    }

    /// Removes a zombie, if it is this one still.
    pub(crate) fn forget_zombie(&self, zombie: &ZombieView) -> Result<(), CounterError> {
        let mut map = lock(&self.zombies);
        let is_same = map.get(&zombie.tgid, 0).is_ok_and(|words| {
            let known: Zombie = bytemuck::cast(words);
            known.since_ns == zombie.since_ns
        });
        if !is_same {
            return Ok(());
        }
        match map.remove(&zombie.tgid) {
            Err(source) if !is_absent(&source) => {
                Err(CounterError { op: format!("forget the zombie {}", zombie.tgid), source })
            }
            // It may have been reaped a moment ago.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn flag_sets(&self) -> Result<Vec<FlagSet>, CounterError> {
        let failed = |source| CounterError { op: "read the sets of namespaces".to_owned(), source };
        let map = lock(&self.flag_sets);
        let mut sets = vec![];
        for entry in map.iter() {
            let (key, count) = entry.map_err(failed)?;
            let operation = match key >> 32 {
                ns_call::CLONE => "clone",
                ns_call::UNSHARE => "unshare",
                _ => "setns",
            };
            let types = TYPES.iter().zip(NS_FLAGS).filter(|(_, flag)| key & flag != 0);
            let types: Vec<&str> = types.map(|(name, _)| *name).collect();
            sets.push(FlagSet { operation, types: types.join("+"), count });
        }
        Ok(sets)
    }

    pub(crate) fn refusals(&self) -> Result<Vec<Refusals>, CounterError> {
        let failed = |source| CounterError { op: "read what maps have refused".to_owned(), source };
        let rows = lock(&self.refused);
        let mut all = vec![];
        for (index, map) in (0..table::N).zip(MAPS) {
            let per_cpu = rows.get(&index, 0).map_err(failed)?;
            for (i, errno) in ERRNOS.into_iter().enumerate() {
                let here = (index, errno) == (table::COUNTERS, "E2BIG");
                let here = if here { self.refused_here.load(Ordering::Relaxed) } else { 0 };
                all.push(Refusals {
                    map,
                    errno,
                    count: here + per_cpu.iter().map(|row| row[i]).sum::<u64>(),
                });
            }
        }
        Ok(all)
    }

    /// `n_cgroups`, `n_zombies` and `n_flag_sets` were counted by the caller, who has read them all.
    pub(crate) fn fill(&self, n_cgroups: usize, n_zombies: usize, n_flag_sets: usize) -> [MapFill; 8] {
        let Brief { joining, dying, oom_kills } = &self.brief;
        let fill = |table: u32, entries, capacity: u32| MapFill {
            map: MAPS[table as usize],
            entries,
            capacity: capacity.into(),
        };
        // The number is kept beside the map; an unreadable one must not look like none.
        let n_orphans = lock(&self.n_orphans).get(&0, 0).unwrap_or(u64::MAX);
        [
            fill(table::COUNTERS, count(n_cgroups), self.max_cgroups),
            fill(table::ZOMBIES, count(n_zombies), self.max_processes),
            fill(table::ORPHANS, n_orphans, self.max_processes),
            fill(table::JOINING, n_keys(joining, MAX_PENDING), MAX_PENDING),
            fill(table::DYING, n_keys(dying, MAX_PENDING), MAX_PENDING),
            fill(table::OOM_KILLS, n_keys(oom_kills, MAX_PENDING), MAX_PENDING),
            fill(table::FLAG_SETS, count(n_flag_sets), MAX_FLAG_SETS),
            fill(table::PATHS, n_keys(&lock(&self.paths), self.max_cgroups), self.max_cgroups),
        ]
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Entries of a map of few; an unreadable one must not look empty.
fn n_keys<K: Pod + Ord, V: Pod>(map: &HashMap<MapData, K, V>, capacity: u32) -> u64 {
    keys(map, capacity).map_or(u64::MAX, |keys| count(keys.len()))
}

/// So often a full map may be read from its beginning.
const MAX_READS: u64 = 16;

/// The keys of a map that has room for so many, each once.
fn keys<K: Pod + Ord, V: Pod>(map: &HashMap<MapData, K, V>, capacity: u32) -> Result<BTreeSet<K>, MapError> {
    distinct(map.keys(), u64::from(capacity).saturating_mul(MAX_READS))
}

/// What is given, each once. The kernel begins its list again when it is asked for the successor of an entry that was taken out
/// meanwhile, so one whose entries come and go fast enough would have no end: it is an error that it gives more than `most`.
fn distinct<K: Ord>(
    given: impl Iterator<Item = Result<K, MapError>>,
    most: u64,
) -> Result<BTreeSet<K>, MapError> {
    let mut all = BTreeSet::new();
    let mut n_given = 0;
    for key in given {
        n_given += 1;
        if n_given > most {
            let text = "entries come and go faster than they can be listed; try again";
            return Err(MapError::IoError(io::Error::other(text)));
        }
        all.insert(key?);
    }
    Ok(all)
}

fn view(tgid: u32, zombie: Zombie) -> ZombieView {
    ZombieView {
        tgid,
        since_ns: zombie.since_ns,
        cgroup_id: zombie.cgroup_id,
        parent_tgid: zombie.parent_tgid,
        parent: match zombie.parent_init {
            0 => ZombieParent::Other,
            1 => ZombieParent::Init,
            _ => ZombieParent::OtherInit,
        },
    }
}

fn add(sum: &mut Values, values: &Values) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        error => errno(error) == Some(libc::ENOENT),
    }
}

fn errno(error: &MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

/// Which counters can be given.
pub(crate) fn available(sources: &[CounterStatus]) -> Available {
    let mut available = [false; N_COUNTERS];
    for (flag, counter) in available.iter_mut().zip(sources) {
        *flag = counter.unavailable.is_none();
    }
    available
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_begins_again_gives_each_entry_once() {
        let given = [4, 2, 7, 4, 2, 7, 1].map(Ok::<u32, MapError>);
        assert_eq!(distinct(given.into_iter(), 7).unwrap(), BTreeSet::from([1, 2, 4, 7]));
        assert!(distinct(std::iter::empty::<Result<u32, MapError>>(), 0).unwrap().is_empty());
    }

    #[test]
    fn an_unreadable_map_does_not_look_empty() {
        let given = [Ok(1), Err(MapError::KeyNotFound)];
        assert!(matches!(distinct(given.into_iter(), 7), Err(MapError::KeyNotFound)));
    }

    #[test]
    fn a_list_without_an_end_is_an_error() {
        let error = distinct(std::iter::repeat_with(|| Ok(1_u32)), 100).unwrap_err();
        assert!(error.to_string().contains("faster than they can be listed"), "{error}");
        let fresh = (0_u32..).map(Ok);
        assert!(distinct(fresh, 100).is_err());
    }
}
