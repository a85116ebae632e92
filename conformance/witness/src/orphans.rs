//! Orphans that come one after the other, and those that a command line leaves behind.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::errno::Errno;
use nix::unistd::setsid;
use serde_json::{Value, json};

use crate::failure::{During, Failure};
use crate::process::{self, wait_for_end};
use crate::sys::{self, SharedWords};
use crate::time::Deadline;

/// Between two looks at a number; the kernel has no event for "a zombie was reaped by somebody else".
const LOOK_AGAIN_MS: u64 = 1;

/// Orphans that were made, until their numbers are free.
#[derive(Debug, Default)]
struct Stream {
    pids: Vec<i32>,
    unreaped: Vec<(i32, Instant)>,
    most_unreaped: usize,
    gone_after_us: Vec<u64>,
}

impl Stream {
    /// Waits until at most this many are unreaped, or the time is over.
    fn wait(&mut self, at_most: usize, deadline: Deadline) {
        loop {
            let gone = |pid: i32| sys::kill(pid, 0) == Err(Errno::ESRCH);
            let (gone, unreaped) =
                std::mem::take(&mut self.unreaped).into_iter().partition(|(pid, _)| gone(*pid));
            self.unreaped = unreaped;
            let after_us =
                |(_, made): (i32, Instant)| u64::try_from(made.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.gone_after_us.extend(Vec::into_iter(gone).map(after_us));
            if self.unreaped.len() <= at_most || deadline.is_over() {
                return;
            }
            Deadline::in_ms(LOOK_AGAIN_MS).wait_out();
        }
    }
}

/// `stream_orphans`.
pub(crate) fn stream(count: u32, at_most: u32, timeout_ms: u64) -> Result<Value, Failure> {
    let number = SharedWords::<1>::new().during(|| "map memory shared with a child".to_owned())?;
    let (mut stream, mut refused) = (Stream::default(), 0);
    let deadline = Deadline::in_ms(timeout_ms);
    while stream.pids.len() < count as usize {
        stream.wait(at_most as usize, deadline);
        stream.most_unreaped = stream.most_unreaped.max(stream.unreaped.len());
        match make_one(&number)? {
            Ok(pid) => {
                stream.pids.push(pid);
                stream.unreaped.push((pid, Instant::now()));
            }
            Err(errno) => {
                refused = errno as i32;
                break;
            }
        }
    }
    stream.wait(0, Deadline::in_ms(timeout_ms));
    Ok(json!({
        "pids": stream.pids, "errno": refused, "most_unreaped": stream.most_unreaped,
        "left": stream.unreaped.len(), "gone_after_us": stream.gone_after_us
    }))
}

/// Makes an orphan that ends when it is one; its number, or why it was refused.
fn make_one(number: &SharedWords<1>) -> Result<Result<i32, Errno>, Failure> {
    let (held, release) = sys::pipe().during(|| "make the pipe that holds an orphan".to_owned())?;
    let orphan = || {
        wait_for_end(held.as_fd());
        0
    };
    let keep = [held.as_raw_fd(), release.as_raw_fd()];
    number[0].store(0, Ordering::SeqCst);
    let between = sys::fork(&keep, || match sys::fork(&keep[..1], orphan) {
        Ok(orphan) => {
            number[0].store(orphan.as_raw().unsigned_abs().into(), Ordering::SeqCst);
            0
        }
        Err(errno) => errno as i32,
    });
    let between = match between {
        Ok(between) => between,
        Err(errno) => return Ok(Err(errno)),
    };
    drop(release);
    process::reap(between).map(|status| match status {
        Some(status) if libc::WEXITSTATUS(status) != 0 => Err(Errno::from_raw(libc::WEXITSTATUS(status))),
        _ => Ok(i32::try_from(number[0].load(Ordering::SeqCst)).unwrap_or(0)),
    })
}

/// The step `orphan`: leaves a process in a session of its own, which stays until it is killed; prints its number.
pub(crate) fn leave() -> Result<(), Failure> {
    let orphan = || {
        if setsid().is_err() {
            return 1;
        }
        // A runtime may wait for the end of a session's output.
        for standard in 0..3 {
            let _closed_already = nix::unistd::close(standard);
        }
        sys::sleep_until_killed()
    };
    let pid = sys::fork(&[], orphan).during(|| "fork an orphan".to_owned())?;
    println!("{pid}");
    Ok(())
}
