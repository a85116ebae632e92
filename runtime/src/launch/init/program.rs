//! Finding the program, as the container's user in the container's root.

use std::ffi::CString;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, faccessat};

use super::super::StepError;
use crate::spec::ProcessSpec;

/// Finds `process.args[0]`: a name with a slash as it is, any other in the `PATH` of the container.
pub(super) fn find(process: &ProcessSpec) -> Result<CString, StepError> {
    let name = process.args.first().ok_or(Errno::ENOENT)?;
    let shown = name.to_string_lossy();
    if name.as_bytes().contains(&b'/') {
        check(name).map_err(|errno| StepError::new(format!("{shown:?} in the container"), errno))?;
        return Ok(name.clone());
    }
    let search_path = process.search_path().unwrap_or_default();
    let mut last = Errno::ENOENT;
    for directory in search_path.split(|byte| *byte == b':') {
        // An empty entry is the working directory (environ(7)).
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate =
            CString::new([directory, b"/", name.as_bytes()].concat()).map_err(|_nul| Errno::EINVAL)?;
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => last = errno,
        }
    }
    let path = String::from_utf8_lossy(search_path);
    Err(StepError::new(format!("{shown:?} in PATH {path:?} of process.env"), last))
}

fn check(path: &CString) -> Result<(), Errno> {
    let mode = SFlag::from_bits_truncate(stat(path.as_c_str())?.st_mode);
    if mode & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Errno::EACCES);
    }
    faccessat(AT_FDCWD, path.as_c_str(), AccessFlags::X_OK, AtFlags::AT_EACCESS)
}
