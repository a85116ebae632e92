//! System V shared memory (sysvipc(7)).

use std::ptr::{NonNull, null};

use nix::errno::Errno;

/// Size of a segment: one page.
const SEGMENT_BYTES: usize = 4096;

/// A System V segment, by its identifier. It stays until it is removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    id: libc::c_int,
}

/// A segment attached to this process; detached on drop.
struct Attached(NonNull<u8>);

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: shmat(2) returned this address, and no reference into it outlives `self`.
        unsafe { libc::shmdt(self.0.as_ptr().cast()) };
    }
}

impl Segment {
    /// Makes a segment for the key, which must have none.
    ///
    /// # Errors
    /// That of shmget(2).
    pub(crate) fn create(key: i32) -> Result<Self, Errno> {
        Self::get(key, SEGMENT_BYTES, libc::IPC_CREAT | libc::IPC_EXCL | 0o600)
    }

    /// The segment that has the key.
    ///
    /// # Errors
    /// That of shmget(2).
    pub(crate) fn find(key: i32) -> Result<Self, Errno> {
        Self::get(key, 0, 0)
    }

    fn get(key: i32, bytes: usize, flags: libc::c_int) -> Result<Self, Errno> {
        // SAFETY: shmget(2) touches no memory of the process.
        Errno::result(unsafe { libc::shmget(key, bytes, flags) }).map(|id| Self { id })
    }

    /// Its identifier.
    pub(crate) fn id(self) -> i32 {
        self.id
    }

    fn attach(self, flags: libc::c_int) -> Result<Attached, Errno> {
        // SAFETY: with a null address the kernel chooses a free place.
        let at = unsafe { libc::shmat(self.id, null(), flags) };
        // shmat(2) fails with the address -1.
        if at as isize == -1 {
            return Err(Errno::last());
        }
        NonNull::new(at.cast()).map(Attached).ok_or(Errno::EFAULT)
    }

    /// Writes the bytes and a zero at the start of the segment.
    ///
    /// # Errors
    /// That of shmat(2); `EINVAL` when they do not fit.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() >= SEGMENT_BYTES {
            return Err(Errno::EINVAL);
        }
        let attached = self.attach(0)?;
        for (offset, byte) in bytes.iter().chain(&[0]).enumerate() {
            // SAFETY: `offset` is below the size of the segment, checked above, which `create` set.
            let at = unsafe { attached.0.add(offset) };
            // SAFETY: `at` points into the attached segment; volatile, because other processes see it too.
            unsafe { at.write_volatile(*byte) };
        }
        Ok(())
    }

    /// Reads up to `max` bytes from its start, to the first zero.
    ///
    /// # Errors
    /// That of shmctl(2) or shmat(2).
    pub(crate) fn read(self, max: usize) -> Result<Vec<u8>, Errno> {
        let size = self.size()?;
        let attached = self.attach(libc::SHM_RDONLY)?;
        let byte = |offset: usize| {
            // SAFETY: `offset` is below the size of the segment, which the kernel told.
            let at = unsafe { attached.0.add(offset) };
            // SAFETY: `at` points into the attached segment; volatile, because other processes write it.
            unsafe { at.read_volatile() }
        };
        Ok((0..max.min(size)).map(byte).take_while(|byte| *byte != 0).collect())
    }

    fn size(self) -> Result<usize, Errno> {
        // SAFETY: shmid_ds is plain data, for which all zeroes is a valid value.
        let mut record: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one shmid_ds to `record`, which outlives the call.
        let result = unsafe { libc::shmctl(self.id, libc::IPC_STAT, &raw mut record) };
        Errno::result(result).map(|_| record.shm_segsz)
    }

    /// Removes it (at the last detach).
    ///
    /// # Errors
    /// That of shmctl(2).
    pub(crate) fn remove(self) -> Result<(), Errno> {
        // SAFETY: IPC_RMID ignores the third argument.
        let result = unsafe { libc::shmctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
        Errno::result(result).map(|_| ())
    }
}
