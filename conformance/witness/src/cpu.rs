//! CPU time: a child that spins, and a heartbeat that notices when this process gets none.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::ClockId;
use serde_json::{Value, json};

use crate::failure::{During, Failure};
use crate::process::reap;
use crate::sys::{self, SharedWords};
use crate::thread;
use crate::time::now_ns;

/// `ping`.
pub(crate) fn ping() -> Result<Value, Failure> {
    now_ns(ClockId::CLOCK_BOOTTIME).map(Value::from).during(|| "read CLOCK_BOOTTIME".to_owned())
}

/// `spin`.
pub(crate) fn spin(wall_ms: u64) -> Result<Value, Failure> {
    let used = SharedWords::<2>::new().during(|| "map memory shared with a child".to_owned())?;
    let wall_ns = wall_ms.saturating_mul(1_000_000);
    let child = sys::fork(&[], || {
        let wall = || now_ns(ClockId::CLOCK_MONOTONIC);
        let cpu = || now_ns(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        // The span of wall time encloses that of CPU time, which began before, with the fork.
        let spun = wall().and_then(|begin| {
            let cpu_begin = cpu()?;
            while wall()?.saturating_sub(begin) < wall_ns {}
            let used = cpu()?.saturating_sub(cpu_begin);
            Ok((used, wall()?.saturating_sub(begin)))
        });
        match spun {
            Ok((cpu_ns, wall_ns)) => {
                used[0].store(cpu_ns, Ordering::SeqCst);
                used[1].store(wall_ns.max(1), Ordering::SeqCst);
                0
            }
            Err(errno) => errno as i32,
        }
    })
    .during(|| "fork a child that spins".to_owned())?;
    reap(child)?;
    let (cpu_ns, wall_ns) = (used[0].load(Ordering::SeqCst), used[1].load(Ordering::SeqCst));
    if wall_ns == 0 {
        return Err(Failure::new("spin: the child ended before its time", Errno::ECHILD));
    }
    Ok(json!({ "cpu_ns": cpu_ns, "wall_ns": wall_ns }))
}

/// What a heartbeat noted.
#[derive(Debug, Default)]
struct Beats {
    n: u64,
    longest_gap: Duration,
}

/// A thread that notes that it still runs.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// Dropped to stop the thread.
    stop: Sender<()>,
    thread: JoinHandle<Beats>,
}

impl Heartbeat {
    /// `start_heartbeat`.
    pub(crate) fn start(interval_ms: u64) -> Result<Self, Failure> {
        let interval = Duration::from_millis(interval_ms.max(1));
        let (stop, stopped) = channel();
        let thread = thread::spawn("heartbeat", None, move || {
            let mut beats = Beats::default();
            let mut last = Instant::now();
            loop {
                let end = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
                let gap = last.elapsed();
                beats.longest_gap = beats.longest_gap.max(gap);
                if end {
                    return beats;
                }
                last += gap;
                beats.n += 1;
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// `stop_heartbeat`.
    pub(crate) fn stop(self) -> Result<Value, Failure> {
        drop(self.stop);
        let beats = self
            .thread
            .join()
            .map_err(|_panic| Failure::new("join the heartbeat thread", Errno::ECANCELED))?;
        let longest_gap_ms = u64::try_from(beats.longest_gap.as_millis()).unwrap_or(u64::MAX);
        Ok(json!({ "beats": beats.n, "longest_gap_ms": longest_gap_ms }))
    }
}
