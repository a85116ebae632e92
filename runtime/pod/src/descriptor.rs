//! Descriptors where a path is wanted.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// Where this process finds its descriptors.
pub(crate) const FDS: &str = "/proc/self/fd";

/// The path that leads to an open file and to nothing else, for calls that take no descriptor.
pub(crate) fn fd_path(fd: impl AsFd) -> PathBuf {
    Path::new(FDS).join(fd.as_fd().as_raw_fd().to_string())
}
