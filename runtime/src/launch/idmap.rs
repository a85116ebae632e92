//! Mounts whose files have other owners (mount_setattr(2), ID-mapped mounts).

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::unistd::Pid;

use super::protocol::Channel;
use super::{Context, StepError};
use crate::spec::{IdMap, IdMapping, NsKind};
use crate::sys::clone::{CloneRequest, SingleThreaded, clone3};
use crate::sys::{fd, mount, wait};

/// Gives a detached mount other ids.
pub(super) fn apply(token: SingleThreaded, tree: BorrowedFd<'_>, map: &IdMap) -> Result<(), StepError> {
    let users = user_namespace(token, map)?;
    mount::set_id_map(tree, users.as_fd(), map.is_recursive).during(|| {
        "set the ids (EINVAL means that the file system cannot have mapped ids, or not below this kernel's version, or that \
         they are mapped already)"
    })
}

/// The text of an id map, for one write: the kernel takes it only once.
pub(super) fn lines(maps: &[IdMapping]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect()
}

/// Makes a user namespace that nobody is in.
fn user_namespace(token: SingleThreaded, map: &IdMap) -> Result<OwnedFd, StepError> {
    let (ours, theirs) = Channel::pair()?;
    #[expect(clippy::cast_sign_loss, reason = "flags are bits, not numbers")]
    let namespaces = NsKind::User.clone_flag() as u64;
    // It lives as long as this end of the channel is open, so no longer than this process.
    let holder = clone3(token, &CloneRequest { namespaces, ..CloneRequest::default() }, || {
        let waited = fd::close_all_except(0, &[theirs.as_fd()]).and_then(|()| theirs.recv());
        i32::from(waited.is_err())
    })
    .during(|| "clone a process for a user namespace")?;
    let made = name(holder.pid, map);
    drop(ours);
    wait::wait(holder.pid).during(|| "wait for it")?;
    made
}

fn name(holder: Pid, map: &IdMap) -> Result<OwnedFd, StepError> {
    for (file, maps) in [("uid_map", &map.uid), ("gid_map", &map.gid)] {
        let path = format!("/proc/{holder}/{file}");
        fs::write(&path, lines(maps)).during(|| format!("write {path}"))?;
    }
    let path = format!("/proc/{holder}/ns/user");
    File::open(&path).map(OwnedFd::from).during(|| format!("open {path}"))
}
