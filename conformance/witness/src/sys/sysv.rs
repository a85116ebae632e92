//! System V semaphores and message queues (sysvipc(7)).

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;

/// Made for nobody else, and not there before.
const NEW: libc::c_int = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
/// Longest message, bytes.
const MESSAGE_BYTES: usize = 64;

/// A semaphore set of one semaphore, by its identifier. It stays until it is removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Semaphore {
    id: libc::c_int,
}

impl Semaphore {
    /// Makes a set for the key, which must have none. Its value is 0 (semget(2), notes).
    ///
    /// # Errors
    /// That of semget(2).
    pub(crate) fn create(key: i32) -> Result<Self, Errno> {
        Self::get(key, 1, NEW)
    }

    /// The set that has the key.
    ///
    /// # Errors
    /// That of semget(2).
    pub(crate) fn find(key: i32) -> Result<Self, Errno> {
        Self::get(key, 0, 0)
    }

    fn get(key: i32, count: libc::c_int, flags: libc::c_int) -> Result<Self, Errno> {
        // SAFETY: semget(2) touches no memory of the process.
        Errno::result(unsafe { libc::semget(key, count, flags) }).map(|id| Self { id })
    }

    /// Adds to it, or takes from it when that can be done within the time.
    ///
    /// # Errors
    /// That of semtimedop(2): `EAGAIN` when the time was over first.
    pub(crate) fn change(self, by: i16, timeout: Duration) -> Result<(), Errno> {
        let mut operation = libc::sembuf { sem_num: 0, sem_op: by, sem_flg: 0 };
        let limit: libc::timespec = *TimeSpec::from(timeout).as_ref();
        // SAFETY: the kernel reads one operation and one timespec, which outlive the call.
        let result = unsafe {
            libc::syscall(libc::SYS_semtimedop, self.id, &raw mut operation, 1_usize, &raw const limit)
        };
        Errno::result(result).map(drop)
    }

    /// Removes it; whoever waits for it fails.
    ///
    /// # Errors
    /// That of semctl(2).
    pub(crate) fn remove(self) -> Result<(), Errno> {
        // SAFETY: IPC_RMID takes no fourth argument.
        Errno::result(unsafe { libc::semctl(self.id, 0, libc::IPC_RMID) }).map(drop)
    }
}

/// A message as the kernel takes it (`struct msgbuf`, msgop(2)).
#[repr(C)]
struct Message {
    kind: libc::c_long,
    text: [u8; MESSAGE_BYTES],
}

/// A message queue, by its identifier. It stays until it is removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageQueue {
    id: libc::c_int,
}

impl MessageQueue {
    /// Makes a queue for the key, which must have none.
    ///
    /// # Errors
    /// That of msgget(2).
    pub(crate) fn create(key: i32) -> Result<Self, Errno> {
        Self::get(key, NEW)
    }

    /// The queue that has the key.
    ///
    /// # Errors
    /// That of msgget(2).
    pub(crate) fn find(key: i32) -> Result<Self, Errno> {
        Self::get(key, 0)
    }

    fn get(key: i32, flags: libc::c_int) -> Result<Self, Errno> {
        // SAFETY: msgget(2) touches no memory of the process.
        Errno::result(unsafe { libc::msgget(key, flags) }).map(|id| Self { id })
    }

    /// Sends a message, without waiting for room.
    ///
    /// # Errors
    /// That of msgsnd(2); `EINVAL` when it is too long.
    pub(crate) fn send(self, text: &[u8]) -> Result<(), Errno> {
        let mut message = Message { kind: 1, text: [0; MESSAGE_BYTES] };
        message.text.get_mut(..text.len()).ok_or(Errno::EINVAL)?.copy_from_slice(text);
        // SAFETY: the kernel reads the type and `text.len()` bytes after it, which the message has.
        let result =
            unsafe { libc::msgsnd(self.id, (&raw const message).cast(), text.len(), libc::IPC_NOWAIT) };
        Errno::result(result).map(drop)
    }

    /// Takes the first message, without waiting for one.
    ///
    /// # Errors
    /// That of msgrcv(2): `ENOMSG` when there is none.
    pub(crate) fn receive(self, max: usize) -> Result<Vec<u8>, Errno> {
        let mut message = Message { kind: 0, text: [0; MESSAGE_BYTES] };
        let max = max.min(MESSAGE_BYTES);
        // SAFETY: the kernel writes the type and at most `max` bytes after it, which the message has.
        let length = unsafe { libc::msgrcv(self.id, (&raw mut message).cast(), max, 0, libc::IPC_NOWAIT) };
        let length = usize::try_from(Errno::result(length)?).unwrap_or(0);
        Ok(message.text.into_iter().take(length).collect())
    }

    /// Removes it with its messages.
    ///
    /// # Errors
    /// That of msgctl(2).
    pub(crate) fn remove(self) -> Result<(), Errno> {
        // SAFETY: IPC_RMID ignores the third argument.
        let result = unsafe { libc::msgctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
        Errno::result(result).map(drop)
    }
}
