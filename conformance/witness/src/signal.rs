//! Catching signals and telling which came.

use serde_json::{Value, json};

use nix::errno::Errno;
use podproof_witness::CaughtSignal;

use crate::failure::Failure;
use crate::sys;
use crate::time::Deadline;

/// `catch_all_signals`.
pub(crate) fn catch_all() -> Value {
    sys::SIGNALS.filter(|signal| sys::catch(*signal).is_ok()).collect()
}

/// `caught_signals`.
pub(crate) fn caught(at_least: u32, timeout_ms: u64) -> Result<Value, Failure> {
    let deadline = Deadline::in_ms(timeout_ms);
    let mut caught = Vec::new();
    loop {
        // Counted before the records are read: one that comes after is not slept through.
        let seen = sys::n_recorded();
        caught.extend(
            std::iter::from_fn(sys::next_caught)
                .map(|(signal, sender)| CaughtSignal { signal: signal.unsigned_abs(), sender }),
        );
        if sys::n_overflowed() > 0 {
            let op = format!("record signals: {} found no room", sys::n_overflowed());
            return Err(Failure::new(op, Errno::EOVERFLOW));
        }
        if caught.len() >= at_least as usize || deadline.is_over() {
            return Ok(json!(caught));
        }
        sys::wait_past(seen, deadline);
    }
}
