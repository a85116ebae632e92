//! How many events the ring carries: two workers fork as fast as they can, everything is recorded.

use std::path::Path;
use std::time::{Duration, Instant};

use podproof_ebpf::{TraceOptions, Tracer};

use crate::Res;
use crate::own;
use crate::record::{Record, Subject};
use crate::worker::Worker;

/// Sizes of the ring; `None` is no probes at all.
pub(crate) const SIZES: [Option<u32>; 5] =
    [None, Some(64 << 10), Some(256 << 10), Some(1 << 20), Some(8 << 20)];
/// How often the log of the scope is emptied.
const TAKE: Duration = Duration::from_millis(50);
const FENCE: Duration = Duration::from_secs(10);

/// One storm of this length.
pub(crate) fn storm(program: &Path, ring_bytes: Option<u32>, length: Duration) -> Res<Record> {
    let mut workers = [Worker::start(program, None)?, Worker::start(program, None)?];
    let tracer = match (ring_bytes, own::options(Subject::FullEvidence)) {
        (Some(ring_bytes), Some(options)) => Some(Tracer::start(&TraceOptions { ring_bytes, ..options })?),
        _ => None,
    };
    let scope = tracer.as_ref().map(Tracer::open_scope).transpose()?;
    if let Some(scope) = &scope {
        for worker in &workers {
            scope.add_thread_group(worker.tgid())?;
        }
    }
    let start = Instant::now();
    for worker in &mut workers {
        worker.begin_storm(length)?;
    }
    let (mut events, mut lost) = (0, 0);
    if let Some(scope) = &scope {
        while let Some(left) = length.checked_sub(start.elapsed()) {
            events += scope.take(left.min(TAKE)).len() as u64;
        }
    }
    let mut forks = 0;
    for worker in &mut workers {
        forks += worker.answer()?;
    }
    let wall_ns = u64::try_from(start.elapsed().as_nanos())?;
    if let Some(scope) = &scope {
        scope.fence(FENCE)?;
        events += scope.take(Duration::ZERO).len() as u64;
        lost = scope.lost();
    }
    Ok(Record::Storm { ring_bytes, forks, events, lost, wall_ns })
}
