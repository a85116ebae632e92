//! Taking a pod away, whatever state it is in.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use runtime::cgroup::{CgroupPath, group, owner, remove};
use runtime::launch;
use runtime::sys::process::{pidfd_send_signal, wait_end};

use super::create::boot_id;
use crate::net;
use crate::state::{PodDir, PodRoot, StateError};

/// How long a killed supervisor may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Ends everything of a pod and removes it: supervisor, containers, cgroups, link, address, directory. The caller has the lock.
///
/// Each part is looked for, so that this can be done again after it was interrupted, and after anything else was.
///
/// # Errors
/// What could not be removed; the rest is, where it can be without it.
pub fn destroy(root: &PodRoot, pod: &PodDir) -> Result<()> {
    // First: it would start containers again.
    kill_supervisor(pod)?;
    let containers = pod.containers();
    for id in containers.entries().context("list the containers")?.0 {
        launch::delete(&containers, &id, true).with_context(|| format!("delete container {id}"))?;
    }
    remove_cgroups(pod)?;
    net::disconnect(&root.network(), pod.name()).context("disconnect the pod")?;
    pod.remove()?;
    Ok(())
}

/// Kills the supervisor, if it lives.
fn kill_supervisor(pod: &PodDir) -> Result<()> {
    let process = match pod.supervisor() {
        Ok(Some(process)) => process,
        // A damaged file names nobody; its cgroup ends the process as well.
        Ok(None) | Err(StateError::Damaged { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Some(pidfd) = process.open().context("look at the supervisor")? else { return Ok(()) };
    match pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL as i32) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(errno) => return Err(errno).context("kill the supervisor"),
    }
    if !wait_end(pidfd.as_fd(), KILL_DEADLINE).context("wait for the supervisor")? {
        bail!(
            "the supervisor (process {}) does not end {} s after SIGKILL",
            process.pid,
            KILL_DEADLINE.as_secs()
        );
    }
    Ok(())
}

/// Removes the pod's cgroups: those of its record, or without one those that have its mark.
fn remove_cgroups(pod: &PodDir) -> Result<()> {
    let own = pod.owner();
    let cgroups: Vec<CgroupPath> = match pod.record() {
        Ok(record) => {
            let cgroups = [record.supervisor_cgroup(), record.cgroup()].into_iter().flatten();
            let cgroups: Vec<CgroupPath> = cgroups.collect();
            // An interrupted create may have made them, and not marked them yet. Those of a later day are somebody else's.
            let is_interrupted = record.boot_id == boot_id()? && pod.report().ok().flatten().is_none();
            if let Some(cgroup) = cgroups.first().filter(|_| is_interrupted) {
                group::mark_made_parents(cgroup, &record.missing_cgroups);
            }
            cgroups
        }
        Err(_) => {
            let marked = owner::marked().context("look for the cgroups of the pod")?;
            marked.into_iter().filter(|(_, owner)| *owner == own).map(|(path, _)| path).collect()
        }
    };
    // First the supervisor's: a clone that was interrupted may have left a process there.
    for cgroup in cgroups {
        remove::remove(&cgroup, &own).with_context(|| format!("remove cgroup {cgroup}"))?;
    }
    Ok(())
}
