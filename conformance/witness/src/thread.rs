//! Threads, which the witness has only where a command asks for them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use serde_json::{Value, json};

use crate::failure::{During, Failure};
use crate::process::thread_state;
use crate::sys::SignalState;
use crate::time::Deadline;

/// Stack of a thread that only waits, bytes: many of them must fit into a small container.
const WAITER_STACK_BYTES: usize = 64 * 1024;
/// Between two looks at a thread that is ending; the kernel has no event for it.
const LOOK_AGAIN_MS: u64 = 2;
/// Within this time a thread that called exit(2) must be gone.
const END_MS: u64 = 60_000;

/// Starts a thread, and undoes what the C library does to signal 33 and the mask when it makes the first one.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    stack_bytes: Option<usize>,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    let before = SignalState::save().during(|| "read signal dispositions".to_owned())?;
    let mut builder = Builder::new().name(name.to_owned());
    if let Some(bytes) = stack_bytes {
        builder = builder.stack_size(bytes);
    }
    let spawned = builder.spawn(body);
    before.restore().during(|| "put signal dispositions back".to_owned())?;
    spawned.during(|| format!("start the thread {name}"))
}

/// `try_set_hostname`.
pub(crate) fn set_hostname(name: String, in_thread: bool) -> Result<Value, Failure> {
    let call = move || nix::unistd::sethostname(name).err().map_or(0, |errno| errno as i32);
    let errno = if in_thread {
        let ended = spawn("hostname", None, call)?.join();
        ended.map_err(|_panic| Failure::new("join a thread", Errno::EDEADLK))?
    } else {
        call()
    };
    Ok(json!(errno))
}

/// `threads_until_refused`.
pub(crate) fn until_refused(at_most: u32) -> Result<Value, Failure> {
    let released = Arc::new((Mutex::new(false), Condvar::new()));
    let mut made = Vec::new();
    let mut refused = 0;
    while made.len() < at_most as usize {
        let released = Arc::clone(&released);
        let waiter = move || {
            let (is_released, changed) = &*released;
            let guard = is_released.lock().unwrap_or_else(PoisonError::into_inner);
            // The guard that comes back ends with the thread.
            drop(changed.wait_while(guard, |is_released| !*is_released));
        };
        match spawn("waiter", Some(WAITER_STACK_BYTES), waiter) {
            Ok(thread) => made.push(thread),
            Err(failure) => {
                refused = failure.errno() as i32;
                break;
            }
        }
    }
    let n_made = made.len();
    let (is_released, changed) = &*released;
    *is_released.lock().unwrap_or_else(PoisonError::into_inner) = true;
    changed.notify_all();
    for thread in made {
        thread.join().map_err(|_panic| Failure::new("join a waiting thread", Errno::ECANCELED))?;
    }
    Ok(json!({ "made": n_made, "errno": refused }))
}

/// Waits until the main thread has ended. Value: its state letter; `X` when it is not even listed.
pub(crate) fn wait_for_leader_end() -> Result<Value, Failure> {
    let leader = getpid();
    // A process without a readable /proc would look like one without a leader.
    if thread_state(nix::unistd::gettid())?.is_none() {
        return Err(Failure::new("look for the own thread in /proc/self/task", Errno::ENOENT));
    }
    wait_while_alive(leader, Deadline::in_ms(END_MS))
}

fn wait_while_alive(thread: Pid, deadline: Deadline) -> Result<Value, Failure> {
    loop {
        match thread_state(thread)? {
            None => return Ok(json!("X")),
            Some(state @ ('Z' | 'X')) => return Ok(json!(state.to_string())),
            Some(_) if deadline.is_over() => {
                return Err(Failure::new("wait for the main thread to end", Errno::ETIMEDOUT));
            }
            Some(_) => Deadline::in_ms(LOOK_AGAIN_MS).wait_out(),
        }
    }
}
