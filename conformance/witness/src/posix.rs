//! POSIX message queues, shared memory and named semaphores (mq_overview(7), shm_overview(7), sem_overview(7)).

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_getattr, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::mman::shm_open;
use nix::sys::stat::Mode;
use serde_json::Value;

use crate::failure::{During, Failure, errno_of};
use crate::ipc::{MARKER_MAX, check_marker, errno_of_try, found};
use crate::sys::NamedSemaphore;

/// Rights of what is made here.
const OWNER: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// `mq_create`.
pub(crate) fn mq_create(name: &str, text: &str) -> Result<Value, Failure> {
    check_marker(text)?;
    let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_NONBLOCK;
    // Without attributes nix would not pass the mode on.
    let room = MqAttr::new(0, 1, MARKER_MAX.try_into().unwrap_or(1), 0);
    let queue =
        mq_open(name, flags, OWNER, Some(&room)).during(|| format!("make the message queue {name}"))?;
    let sent = mq_send(&queue, text.as_bytes(), 0);
    close(queue);
    sent.map(|()| Value::Null).during(|| format!("send to the message queue {name}"))
}

/// `mq_receive`.
pub(crate) fn mq_receive_now(name: &str) -> Result<Value, Failure> {
    let flags = MQ_OFlag::O_RDONLY | MQ_OFlag::O_NONBLOCK;
    let received = mq_open(name, flags, Mode::empty(), None).and_then(|queue| {
        let received = receive(&queue);
        close(queue);
        received
    });
    Ok(found(received))
}

/// `mq_remove`.
pub(crate) fn mq_remove(name: &str) -> Result<Value, Failure> {
    mq_unlink(name).map(|()| Value::Null).during(|| format!("remove the message queue {name}"))
}

fn receive(queue: &MqdT) -> Result<Vec<u8>, Errno> {
    let longest = usize::try_from(mq_getattr(queue)?.msgsize()).unwrap_or(MARKER_MAX);
    let mut text = vec![0; longest];
    let length = mq_receive(queue, &mut text, &mut 0)?;
    text.truncate(length);
    Ok(text)
}

fn close(queue: MqdT) {
    // It fails for a descriptor that is not open only.
    mq_close(queue).unwrap_or_default();
}

/// `posix_shm_create`.
pub(crate) fn shm_create(name: &str, text: &str) -> Result<Value, Failure> {
    check_marker(text)?;
    let object = shm_open(name, OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR, OWNER)
        .during(|| format!("make the shared memory {name}"))?;
    File::from(object)
        .write_all(text.as_bytes())
        .map(|()| Value::Null)
        .during(|| format!("write to the shared memory {name}"))
}

/// `posix_shm_read`.
pub(crate) fn shm_read(name: &str) -> Result<Value, Failure> {
    let read = shm_open(name, OFlag::O_RDONLY, Mode::empty()).and_then(|object| {
        let mut text = Vec::new();
        let read = File::from(object).take(MARKER_MAX as u64).read_to_end(&mut text);
        read.map(|_| text).map_err(|error| errno_of(&error))
    });
    Ok(found(read))
}

/// `posix_sem_create`.
pub(crate) fn sem_create(name: &str) -> Result<Value, Failure> {
    NamedSemaphore::create(name).map(|_| Value::Null).during(|| format!("make the semaphore {name}"))
}

/// `posix_sem_post`.
pub(crate) fn sem_post(name: &str) -> Result<Value, Failure> {
    Ok(errno_of_try(NamedSemaphore::open(name).and_then(|semaphore| semaphore.post())))
}

/// `posix_sem_wait`.
pub(crate) fn sem_wait(name: &str, timeout_ms: u64) -> Result<Value, Failure> {
    let timeout = Duration::from_millis(timeout_ms);
    Ok(errno_of_try(NamedSemaphore::open(name).and_then(|semaphore| semaphore.wait(timeout))))
}
