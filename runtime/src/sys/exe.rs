//! The runtime's own program as a sealed copy in memory.
//!
//! A process that enters a container is reachable there as `/proc/PID/exe` until it has executed the user's program;
//! whoever opens that link for writing would change the runtime on the node. A sealed memfd (memfd_create(2),
//! fcntl(2) `F_SEAL_WRITE`) can be written by nobody, so `create` and `run` execute themselves from one.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;

const SEALS: SealFlag = SealFlag::F_SEAL_WRITE
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_SEAL);

/// Makes sure that the calling process runs a sealed copy; executes one when it does not.
///
/// # Errors
/// Why the copy could not be made or executed.
pub fn ensure_sealed() -> Result<(), Errno> {
    let io = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let program = File::open("/proc/self/exe").map_err(io)?;
    // Only memory files have seals; for any other the call fails with EINVAL.
    if let Ok(seals) = fcntl(program.as_fd(), FcntlArg::F_GET_SEALS)
        && SealFlag::from_bits_truncate(seals).contains(SEALS)
    {
        return Ok(());
    }
    let len = program.metadata().map_err(io)?.len();
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Asked for explicitly, since sysctl vm.memfd_noexec may make the default not executable; unknown before 6.3.
    let copy = match memfd_create("podrt", flags | MFdFlags::from_bits_retain(libc::MFD_EXEC)) {
        Err(Errno::EINVAL) => memfd_create("podrt", flags)?,
        result => result?,
    };
    let mut left = usize::try_from(len).map_err(|_too_big| Errno::EFBIG)?;
    while left > 0 {
        match sendfile(copy.as_fd(), program.as_fd(), None, left)? {
            0 => return Err(Errno::ENODATA),
            n => left -= n,
        }
    }
    fcntl(copy.as_fd(), FcntlArg::F_ADD_SEALS(SEALS))?;

    let nul = |_| Errno::EINVAL;
    let args = std::env::args_os()
        .map(|arg| CString::new(arg.into_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(nul)?;
    let env = std::env::vars_os()
        .map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')))
        .collect::<Result<Vec<_>, _>>()
        .map_err(nul)?;
    match nix::unistd::execveat(copy.as_fd(), c"", &args, &env, AtFlags::AT_EMPTY_PATH)? {}
}
