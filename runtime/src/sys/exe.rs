//! The runtime's own program, out of reach of the containers.
//!
//! A process that enters a container is visible there as `/proc/PID/exe` until it has executed the user's program;
//! whoever opens that link for writing would change the runtime on the node. So `create` and `run` execute
//! themselves again from a read-only mount of their own file, which is attached nowhere: every open for
//! writing fails with `EROFS`. It costs two system calls and an exec, where a sealed copy in memory costs the copying of
//! the whole program; the processes are not dumpable besides, so that only `CAP_SYS_PTRACE` on the node sees the link.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::mount::{clone_tree, set_attributes};
use crate::spec::mounts::Attributes;

const EXE: &str = "/proc/self/exe";

/// Makes sure that the calling process runs from a read-only mount; executes itself from one when it does not, with `more`
/// in its environment. From the mount it cannot tell where its program was.
///
/// # Errors
/// Why the mount could not be made, or executed from.
pub fn ensure_readonly(more: &[(&str, &OsStr)]) -> Result<(), Errno> {
    if statvfs(EXE)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let program = clone_tree(AT_FDCWD, Path::new(EXE), false)?;
    let readonly = Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0 };
    set_attributes(program.as_fd(), readonly, 0, false)?;

    let nul = |_| Errno::EINVAL;
    let args = std::env::args_os()
        .map(|arg| CString::new(arg.into_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(nul)?;
    let more = more.iter().map(|(name, value)| (OsString::from(name), (*value).to_owned()));
    let env = std::env::vars_os()
        .chain(more)
        .map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')))
        .collect::<Result<Vec<_>, _>>()
        .map_err(nul)?;
    match nix::unistd::execveat(program.as_fd(), c"", &args, &env, AtFlags::AT_EMPTY_PATH)? {}
}
