//! Extended attributes (xattr(7)), as marks on directories.
#![expect(unsafe_code, reason = "nix has no wrappers for extended attributes")]

use std::ffi::CStr;
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;

use super::check;

/// Gives a file an attribute.
///
/// # Errors
/// `EOPNOTSUPP` when the file system has none, `EPERM` for `trusted.*` without `CAP_SYS_ADMIN`.
pub fn set(path: &Path, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: both strings are NUL-terminated for the length of the call; pointer and length belong to `value`.
    let ret = path.with_nix_path(|path| unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    })?;
    check(ret.into()).map(drop)
}

/// The value of an attribute; `None` when the file has no such attribute, or one of more than 4096 bytes, or is not there.
#[must_use]
pub fn get(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    // SAFETY: both strings are NUL-terminated for the length of the call; pointer and length belong to `value`.
    let ret = path.with_nix_path(|path| unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    });
    let length = ret.ok().and_then(|length| usize::try_from(length).ok())?;
    value.truncate(length);
    Some(value)
}
