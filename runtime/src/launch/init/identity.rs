//! User, groups and capabilities of the program (credentials(7), capabilities(7)).

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, umask};
use nix::unistd::{Gid, Uid, fchown, setgroups, setresgid, setresuid};

use super::super::{Context, StepError};
use crate::spec::{CapSet, CapabilitySpec};
use crate::sys::caps::{self, ThreadCaps};

/// Becomes user and group 0 of the user namespace, so that what is made from here on belongs to them.
pub(super) fn become_root() -> Result<(), StepError> {
    set_ids(0, 0, &[])
}

/// Sets the inheritable set, and takes everything else than `bounding` out of the bounding set.
pub(super) fn cut_bounding(bounding: CapSet, inheritable: CapSet) -> Result<(), StepError> {
    let all = caps::thread_caps()?;
    caps::set_thread_caps(ThreadCaps { inheritable, ..all }).during(|| "set the inheritable set")?;
    for number in (0..64).filter(|number| !bounding.contains(*number)) {
        match caps::drop_bounding(number) {
            Ok(()) => {}
            // Numbers have no gaps: the kernel knows none of the rest.
            Err(Errno::EINVAL) => break,
            // What is not there needs no right to be dropped.
            Err(Errno::EPERM) if caps::is_bounding(number) != Some(true) => {}
            Err(errno) => return Err(errno).during(|| format!("drop capability number {number}")),
        }
    }
    Ok(())
}

/// Becomes the program's user. Capabilities stay permitted until [`set_capabilities`].
pub(super) fn become_user(uid: u32, gid: u32, groups: &[u32], mask: u32) -> Result<(), StepError> {
    own_pipes(uid);
    umask(Mode::from_bits_truncate(mask));
    prctl::set_keepcaps(true)?;
    set_ids(uid, gid, groups)
}

/// Lets the user open `/dev/stdout` and the like where they are pipes, which an engine has made as root. Files and
/// terminals of the caller are not podrt's to give away.
fn own_pipes(uid: u32) {
    for stream in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
        let is_pipe = |stat: FileStat| {
            SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO && stat.st_uid != uid
        };
        // Refused for an owner that a user namespace does not map; then only what was open before works.
        if fstat(stream).is_ok_and(is_pipe) && fchown(stream, Some(Uid::from_raw(uid)), None).is_err() {}
    }
}

/// Sets the sets of the thread, and the ambient set, which must not be the caller's.
pub(super) fn set_capabilities(spec: &CapabilitySpec) -> Result<(), StepError> {
    caps::clear_ambient().during(|| "clear the ambient set")?;
    let CapabilitySpec { effective, permitted, inheritable, .. } = *spec;
    caps::set_thread_caps(ThreadCaps { effective, permitted, inheritable })
        .during(|| "set the sets (effective must be part of permitted)")?;
    for number in spec.ambient.numbers() {
        caps::raise_ambient(number).during(|| {
            format!("raise ambient capability number {number} (it must be permitted and inheritable)")
        })?;
    }
    prctl::set_keepcaps(false)?;
    Ok(())
}

/// Gives up what was kept beyond the sets, by one system call.
pub(super) fn reduce_capabilities(spec: &CapabilitySpec) -> Result<(), StepError> {
    let CapabilitySpec { effective, permitted, inheritable, .. } = *spec;
    Ok(caps::set_thread_caps(ThreadCaps { effective, permitted, inheritable })?)
}

fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<(), StepError> {
    // In this order: each needs a privilege that the next takes away.
    let list: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&list).during(|| "setgroups")?;
    let gid = Gid::from_raw(gid);
    setresgid(gid, gid, gid).during(|| unmapped("setresgid", gid))?;
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid).during(|| unmapped("setresuid", uid))
}

fn unmapped(call: &str, id: impl std::fmt::Display) -> String {
    format!("{call} {id} (an {} means that the user namespace does not map it)", Errno::EINVAL)
}
