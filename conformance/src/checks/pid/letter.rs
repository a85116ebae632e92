//! The state letter of a process (proc(5)), which no event announces.

use std::time::{Duration, Instant};

use crate::cell::Cell;
use crate::observe::{self, process};

/// Waits until the process is in this state, or gone, or the time is over; its last letter, `none` when it is gone.
pub(super) fn await_letter(cell: &Cell<'_>, pid: i32, wanted: char) -> String {
    let deadline = Instant::now() + cell.deadline(5.0);
    loop {
        match process::state(pid) {
            None => return "none".to_owned(),
            Some(letter) if letter == wanted || Instant::now() >= deadline => return letter.to_string(),
            Some(_) => observe::pause(Duration::from_millis(2)),
        }
    }
}
