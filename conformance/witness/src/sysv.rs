//! System V semaphores and message queues.

use std::time::Duration;

use serde_json::Value;

use crate::failure::{During, Failure};
use crate::ipc::{MARKER_MAX, check_marker, errno_of_try, found};
use crate::sys::{MessageQueue, Semaphore};

/// `sem_create`.
pub(crate) fn sem_create(key: i32) -> Result<Value, Failure> {
    Semaphore::create(key).map(|_| Value::Null).during(|| format!("make the semaphore with key {key:#x}"))
}

/// `sem_change`.
pub(crate) fn sem_change(key: i32, by: i16, timeout_ms: u64) -> Result<Value, Failure> {
    let timeout = Duration::from_millis(timeout_ms);
    Ok(errno_of_try(Semaphore::find(key).and_then(|semaphore| semaphore.change(by, timeout))))
}

/// `sem_remove`.
pub(crate) fn sem_remove(key: i32) -> Result<Value, Failure> {
    Semaphore::find(key)
        .and_then(Semaphore::remove)
        .map(|()| Value::Null)
        .during(|| format!("remove the semaphore with key {key:#x}"))
}

/// `msg_create`.
pub(crate) fn msg_create(key: i32, text: &str) -> Result<Value, Failure> {
    check_marker(text)?;
    let queue = MessageQueue::create(key).during(|| format!("make the message queue with key {key:#x}"))?;
    queue
        .send(text.as_bytes())
        .map(|()| Value::Null)
        .during(|| format!("send to the message queue with key {key:#x}"))
}

/// `msg_receive`.
pub(crate) fn msg_receive(key: i32) -> Result<Value, Failure> {
    Ok(found(MessageQueue::find(key).and_then(|queue| queue.receive(MARKER_MAX))))
}

/// `msg_remove`.
pub(crate) fn msg_remove(key: i32) -> Result<Value, Failure> {
    MessageQueue::find(key)
        .and_then(MessageQueue::remove)
        .map(|()| Value::Null)
        .during(|| format!("remove the message queue with key {key:#x}"))
}
