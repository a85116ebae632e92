//! The process between the runtime and init, where namespaces given by path make one necessary (setns(2)).
//!
//! It is not in the container's cgroup, so it lives no longer than the runtime, and only until it has cloned.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::StepError;
use super::init::{self, Init};
use super::protocol::Message;
use crate::plan::{Action, Actor};
use crate::spec::NsKind;
use crate::sys::clone::{CloneRequest, SingleThreaded, clone3};

/// The joiner: enters the namespaces that are given by path, clones init as its sibling, and ends.
pub(super) fn main(token: SingleThreaded, clone: usize, request: &CloneRequest<'_>, init: &Init<'_>) -> i32 {
    let steps = &init.request.plan.steps;
    let result = (|| {
        // Killed with the runtime; it is the one process that is not in the container's cgroup.
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| (clone, errno.into()))?;
        for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Joiner) {
            let joined = init.request.fail_at.check(index).and_then(|()| match step.action {
                Action::Join(kind) => join(init.namespaces, kind),
                _ => Err(Errno::ENOTSUP.into()),
            });
            joined.map_err(|error| (index, error))?;
        }
        clone3(token, request, || init::main(init)).map_err(|errno| (clone, errno.into()))
    })();
    let message = match result {
        Ok(cloned) => Message::Cloned(cloned.pid.as_raw()),
        Err((step, StepError { detail, errno })) => Message::Failed { step, errno, detail },
    };
    i32::from(init.channel.send(&message).is_err())
}

/// Enters the namespace of a kind that the runtime has opened.
pub(super) fn join(namespaces: &[(NsKind, OwnedFd)], kind: NsKind) -> Result<(), StepError> {
    let (_, fd) = namespaces.iter().find(|(k, _)| *k == kind).ok_or(Errno::EBADF)?;
    // With the kind, so that the kernel checks it too.
    setns(fd, CloneFlags::from_bits_retain(kind.clone_flag()))?;
    Ok(())
}
