//! What the kernel keeps of System V objects: who used them last, and who waits (semctl(2), proc_sysvipc(5)).

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use crate::observe;

/// `GETPID` and `GETNCNT` of semctl(2).
const GETPID: i32 = 11;
const GETNCNT: i32 = 14;
/// Columns of `/proc/sysvipc/msg`.
const LSPID: usize = 5;
const LRPID: usize = 6;

/// Numbers of processes are the node's, 0 where there is none.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct SysvRecords {
    /// Processes that wait for the semaphore to grow.
    pub waiting: i32,
    /// Who did the last operation on the semaphore.
    pub sem_last_by: i32,
    /// Who sent the last message.
    pub msg_sent_by: i32,
    /// Who received the last message.
    pub msg_received_by: i32,
}

/// Enters the IPC namespace behind the path and prints the records of this key.
pub(super) fn print(path: &Path, key: i32, await_waiter_ms: u64) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWIPC).with_context(|| format!("setns {}", path.display()))?;
    let id = semaphore(key);
    let ask = |command| id.map_or(0, |id| semctl(id, command));
    let deadline = Instant::now() + Duration::from_millis(await_waiter_ms);
    // No event tells that somebody begins to wait, so the count is read until it is so.
    while id.is_some() && ask(GETNCNT) == 0 && Instant::now() < deadline {
        observe::pause(Duration::from_millis(2));
    }
    let (msg_sent_by, msg_received_by) = message_pids(key)?;
    let records =
        SysvRecords { waiting: ask(GETNCNT), sem_last_by: ask(GETPID), msg_sent_by, msg_received_by };
    println!("{}", serde_json::to_string(&records)?);
    Ok(())
}

fn message_pids(key: i32) -> Result<(i32, i32)> {
    let path = "/proc/sysvipc/msg";
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let (key, mut lines) = (key.to_string(), text.lines().skip(1).map(str::split_whitespace));
    let line: Option<Vec<&str>> =
        lines.find(|line| line.clone().next() == Some(key.as_str())).map(Iterator::collect);
    let column = |at: usize| line.as_ref()?.get(at)?.parse().ok();
    Ok((column(LSPID).unwrap_or(0), column(LRPID).unwrap_or(0)))
}

/// The id of the semaphore set with this key; `None` when there is none.
#[expect(unsafe_code, reason = "nix has no System V semaphores")]
fn semaphore(key: i32) -> Option<i32> {
    // SAFETY: semget takes numbers only and touches no memory of this process.
    let id = unsafe { libc::semget(key, 0, 0) };
    (id >= 0).then_some(id)
}

/// A command that takes no fourth argument; 0 when it fails, as for a set that is gone.
#[expect(unsafe_code, reason = "nix has no System V semaphores")]
fn semctl(id: i32, command: i32) -> i32 {
    // SAFETY: GETPID and GETNCNT take no fourth argument and touch no memory of this process.
    unsafe { libc::semctl(id, 0, command) }.max(0)
}
