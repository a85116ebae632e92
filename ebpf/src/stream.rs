//! The reader: one thread takes every record from the ring, in its order, and writes it to the log of its scope.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use podproof_abi::{Header, kind};

use crate::decode;
use crate::event::Event;
use crate::history::History;
use crate::ring::Received;

/// How long the reader leaves the ring alone. Waking it per event would cost the traced program four times as much.
const POLL: Duration = Duration::from_millis(2);
/// The same while no scope is open.
const IDLE: Duration = Duration::from_millis(200);

/// Locks, also after a panic elsewhere: every critical section leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one scope has seen.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) state: Mutex<LogState>,
    /// Signalled after every batch that added something.
    pub(crate) changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct LogState {
    pub(crate) events: Vec<Event>,
    /// Fences that somebody waits for; the reader takes them out.
    pub(crate) awaited: HashSet<u64>,
    /// Records that could not be decoded.
    pub(crate) malformed: u64,
    /// No more will come.
    pub(crate) ended: bool,
    /// Losses that stand in `events` as gaps, as the kernel counts them.
    lost_seen: u32,
    history: History,
}

#[derive(Debug, Default)]
struct Control {
    stop: bool,
    nudge: bool,
}

/// Logs by scope id, and the reader's controls.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    logs: Mutex<HashMap<u32, Arc<Log>>>,
    control: Mutex<Control>,
    controlled: Condvar,
    /// Records without a readable header.
    pub(crate) malformed: AtomicU64,
    /// Records by kind.
    pub(crate) received: Received,
}

impl Registry {
    /// Registers a log under the first free id that `ids` yields.
    pub(crate) fn open(&self, ids: impl Iterator<Item = u32>) -> Option<(u32, Arc<Log>)> {
        let mut logs = lock(&self.logs);
        let mut ids = ids;
        let id = ids.find(|id| !logs.contains_key(id))?;
        let log = Arc::new(Log::default());
        logs.insert(id, Arc::clone(&log));
        drop(logs);
        self.nudge();
        Some((id, log))
    }

    /// Forgets a log.
    pub(crate) fn close(&self, id: u32) {
        lock(&self.logs).remove(&id);
    }

    /// The ids of all open scopes.
    pub(crate) fn open_ids(&self) -> Vec<u32> {
        lock(&self.logs).keys().copied().collect()
    }

    /// Makes the reader look at once.
    pub(crate) fn nudge(&self) {
        lock(&self.control).nudge = true;
        self.controlled.notify_all();
    }

    fn stop(&self) {
        lock(&self.control).stop = true;
        self.controlled.notify_all();
    }

    /// Whether no scope is open.
    fn is_idle(&self) -> bool {
        lock(&self.logs).is_empty()
    }

    /// Waits for the next look at the ring; `None` to stop, else whether no scope was open the whole time of a long pause.
    fn wait(&self) -> Option<bool> {
        let is_idle = self.is_idle();
        let pause = if is_idle { IDLE } else { POLL };
        let guard = lock(&self.control);
        let (mut guard, timed_out) = self
            .controlled
            .wait_timeout_while(guard, pause, |control| !control.stop && !control.nudge)
            .unwrap_or_else(PoisonError::into_inner);
        guard.nudge = false;
        // A scope that opens nudges.
        (!guard.stop).then_some(is_idle && timed_out.timed_out())
    }
}

/// The reader thread; stopped on drop.
#[derive(Debug)]
pub(crate) struct Reader {
    registry: Arc<Registry>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread. It calls `rest` when no scope was open for a while.
    pub(crate) fn start(
        ring: RingBuf<MapData>,
        registry: Arc<Registry>,
        rest: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::clone(&registry);
        let thread = std::thread::Builder::new().name("podproof-events".into()).spawn(move || {
            let mut ring = ring;
            let mut next_seq = 1;
            while let Some(is_long_idle) = shared.wait() {
                drain(&mut ring, &shared, &mut next_seq);
                if is_long_idle {
                    rest();
                }
            }
            for log in lock(&shared.logs).values() {
                lock(&log.state).ended = true;
                log.changed.notify_all();
            }
        })?;
        Ok(Self { registry, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.registry.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the reader of the event ring had panicked");
        }
    }
}

fn drain(ring: &mut RingBuf<MapData>, registry: &Registry, next_seq: &mut u64) {
    let mut touched: HashMap<u32, Arc<Log>> = HashMap::new();
    while let Some(item) = ring.next() {
        let bytes: &[u8] = &item;
        let Ok(header) = decode::header(bytes) else {
            registry.malformed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let mut understood = true;
        for scope in [header.scope, header.peer_scope] {
            if scope == 0 {
                continue;
            }
            let log = match touched.entry(scope) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => match lock(&registry.logs).get(&scope) {
                    Some(log) => unknown.insert(Arc::clone(log)),
                    // A scope that is closed already: nobody reads on.
                    None => continue,
                },
            };
            understood &= write(log, scope, &header, bytes, next_seq);
        }
        registry.received.count(header.kind, understood);
    }
    for log in touched.values() {
        log.changed.notify_all();
    }
}

/// False for a record that makes no sense.
fn write(log: &Log, scope: u32, header: &Header, bytes: &[u8], next_seq: &mut u64) -> bool {
    let mut state = lock(&log.state);
    let LogState { events, awaited, malformed, history, lost_seen, .. } = &mut *state;
    let lost_more = header.lost.wrapping_sub(*lost_seen);
    // Two CPUs may read the count in another order than their records stand in: never backwards.
    if header.scope == scope && lost_more != 0 && lost_more < u32::MAX / 2 {
        *lost_seen = header.lost;
        decode::gap(header, scope, lost_more.into(), next_seq, events);
    }
    let understood = if header.kind == kind::FENCE {
        decode::fence_cookie(bytes).map(|cookie| {
            awaited.remove(&cookie);
        })
    } else {
        decode::events(bytes, scope, history, next_seq, events)
    };
    if understood.is_err() {
        *malformed += 1;
    }
    understood.is_ok()
}
