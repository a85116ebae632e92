//! Extended attributes (xattr(7)), as marks on directories.
#![expect(unsafe_code, reason = "nix has no wrappers for extended attributes")]

use std::ffi::CStr;
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;

use super::check;

/// Gives a file an attribute without a value.
///
/// # Errors
/// `EOPNOTSUPP` when the file system has none, `EPERM` for `trusted.*` without `CAP_SYS_ADMIN`.
pub fn mark(path: &Path, name: &CStr) -> Result<(), Errno> {
    // SAFETY: both strings are NUL-terminated for the length of the call; the value has length 0.
    let ret = path.with_nix_path(|path| unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), std::ptr::null(), 0, 0)
    })?;
    check(ret.into()).map(drop)
}

/// True when the file has the attribute.
#[must_use]
pub fn is_marked(path: &Path, name: &CStr) -> bool {
    // SAFETY: both strings are NUL-terminated for the length of the call; a size of 0 asks for the length only.
    let ret = path.with_nix_path(|path| unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0)
    });
    ret.is_ok_and(|length| length >= 0)
}
