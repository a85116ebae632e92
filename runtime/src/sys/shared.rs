//! Two words that two processes share through a file, for when system calls are out of the question.
#![expect(unsafe_code, reason = "maps memory that another process writes")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use nix::errno::Errno;

/// The words.
#[derive(Debug)]
pub struct SharedWords(NonNull<[AtomicU32; 2]>);

impl SharedWords {
    /// How long the file must be.
    pub const LENGTH: u64 = size_of::<[AtomicU32; 2]>() as u64;

    /// Maps the beginning of a file that is open for reading and writing.
    ///
    /// # Errors
    /// `EINVAL` when the file is too short, else the errno of mmap(2).
    pub fn map(file: &File) -> Result<Self, Errno> {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length < Self::LENGTH {
            return Err(Errno::EINVAL);
        }
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<[AtomicU32; 2]>(),
                protection,
                flags,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        NonNull::new(address.cast()).map(Self).ok_or(Errno::EFAULT)
    }

    /// The words.
    #[must_use]
    pub fn get(&self) -> &[AtomicU32; 2] {
        // SAFETY: the mapping is page-aligned, as long as the words, and lives until the drop; the other process goes by
        // atomic accesses too, and the file is never made shorter.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<[AtomicU32; 2]>()) };
    }
}
