//! Memory that is charged to the container.

use std::fs;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::failure::{During, Failure};
use crate::process::reap;
use crate::sys::{self, SharedWords};

/// Step of the allocating child.
const CHUNK_BYTES: u64 = 1024 * 1024;
/// Exit code of the allocating child when mmap(2) is refused.
const EXIT_NO_MEMORY: i32 = 1;

/// `touch BYTES` of the command line, and `touch`.
pub(crate) fn touch(bytes: usize) -> Result<(), Failure> {
    sys::touch_pages(bytes).during(|| format!("map {bytes} bytes"))
}

/// `allocate_in_child`.
pub(crate) fn allocate_in_child(bytes: u64) -> Result<Value, Failure> {
    let touched = SharedWords::<1>::new().during(|| "map memory shared with a child".to_owned())?;
    let child = sys::fork(&[], || {
        // To be the one that the kernel chooses. Raising it needs no privilege, but perhaps a /proc that is not there.
        fs::write("/proc/self/oom_score_adj", "1000").unwrap_or_default();
        loop {
            let so_far = touched[0].load(Ordering::SeqCst);
            let chunk = CHUNK_BYTES.min(bytes.saturating_sub(so_far));
            if chunk == 0 {
                return 0;
            }
            if sys::touch_pages(chunk as usize).is_err() {
                return EXIT_NO_MEMORY;
            }
            touched[0].store(so_far + chunk, Ordering::SeqCst);
        }
    })
    .during(|| "fork a child that allocates".to_owned())?;
    let Some(status) = reap(child)? else {
        return Err(Failure::new("learn how the allocating child ended (SIGCHLD is ignored)", Errno::ECHILD));
    };
    Ok(json!({ "touched_bytes": touched[0].load(Ordering::SeqCst), "status": status }))
}
