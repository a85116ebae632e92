//! System V shared memory, to tell IPC namespaces apart; and what all markers have in common.

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::failure::{During, Failure};
use crate::sys::Segment;

/// Longest marker, bytes.
pub(crate) const MARKER_MAX: usize = 64;

/// Refuses a marker that is too long.
pub(crate) fn check_marker(text: &str) -> Result<(), Failure> {
    if text.len() > MARKER_MAX {
        return Err(Failure::new(format!("write a marker of more than {MARKER_MAX} bytes"), Errno::EINVAL));
    }
    Ok(())
}

/// What a look for a marker brought, failures included.
pub(crate) fn found(text: Result<Vec<u8>, Errno>) -> Value {
    match text {
        Ok(text) => json!({ "errno": 0, "text": String::from_utf8_lossy(&text) }),
        Err(errno) => json!({ "errno": errno as i32 }),
    }
}

/// The error number of a try, 0 for none.
pub(crate) fn errno_of_try(done: Result<(), Errno>) -> Value {
    json!(done.err().map_or(0, |errno| errno as i32))
}

/// `shm_create`.
pub(crate) fn create(key: i32, text: &str) -> Result<Value, Failure> {
    check_marker(text)?;
    let segment = Segment::create(key).during(|| format!("make the segment with key {key:#x}"))?;
    if let Err(errno) = segment.write(text.as_bytes()) {
        // Nothing may stay behind of a creation that failed.
        segment.remove().unwrap_or_default();
        return Err(Failure::new(format!("attach the segment with key {key:#x}"), errno));
    }
    Ok(json!({ "shmid": segment.id() }))
}

/// `shm_read`.
pub(crate) fn read(key: i32) -> Result<Value, Failure> {
    let segment = match Segment::find(key) {
        Ok(segment) => segment,
        Err(errno) => return Ok(json!({ "errno": errno as i32 })),
    };
    let text = segment.read(MARKER_MAX).during(|| format!("attach the segment with key {key:#x}"))?;
    Ok(found(Ok(text)))
}

/// `shm_remove`.
pub(crate) fn remove(key: i32) -> Result<Value, Failure> {
    Segment::find(key)
        .and_then(Segment::remove)
        .map(|()| Value::Null)
        .during(|| format!("remove the segment with key {key:#x}"))
}
