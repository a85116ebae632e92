//! The sandbox: the pod's cgroup with its limits is there already; here are its files, pause, and their end.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::cgroup::remove;
use runtime::launch;
use runtime::sys::clone::Cloned;
use runtime::sys::wait;

use super::container::{Workshop, id};
use super::rootfs::directory;
use crate::plan::{Places, SANDBOX, files, sandbox};
use crate::state::PodRecord;

/// Writes what all containers have in `/etc`.
pub(super) fn write_files(record: &PodRecord, places: &Places) -> Result<()> {
    let spec = &record.spec;
    let node_hosts = spec.is_host_network.then(|| fs::read_to_string("/etc/hosts").unwrap_or_default());
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let address = record.address().map(IpAddr::V4);
    directory(&places.pod.join("etc"), 0o755)?;
    for (name, text) in [
        ("hosts", files::hosts(spec, address, node_hosts.as_deref())),
        ("hostname", format!("{}\n", spec.hostname)),
        ("resolv.conf", files::resolv_conf(&spec.dns, &resolv)?),
    ] {
        let path = places.etc(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Kills all children, and waits for them. One that had the right to may have left the pod's cgroup.
fn end_children() {
    while let Ok(ended) = wait::take_any() {
        if ended.is_some() {
            continue;
        }
        // Nobody else waits for them, so no number is another's by now.
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may have ended by itself.
            let _ended = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _reaped = wait::wait_any();
    }
}

impl Workshop<'_> {
    /// Creates and starts pause.
    pub(super) fn start_sandbox(&self) -> Result<Cloned> {
        let bundle = self.pod.bundle(SANDBOX);
        let root = bundle.join("rootfs");
        directory(&root, 0o755)?;
        let (from, to) = (&self.record.pause, root.join("pause"));
        fs::copy(from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        let document = sandbox::config(&self.record.spec, self.places).to_string();
        let id = id(SANDBOX)?;
        let (spec, plan) = self.configure(&id, &bundle, &document).context("configure the sandbox")?;
        self.run(&id, &bundle, &spec, &plan).context("start the sandbox")
    }

    /// Ends pause, and removes the pod's cgroup with all that may be left in it. What fails is found again by the pod's
    /// removal.
    pub(super) fn end_sandbox(&self) {
        let Ok(cgroup) = self.record.cgroup() else { return };
        drop(remove::kill_all(&cgroup, &self.pod.owner()));
        // A pid namespace ends only when every process in it was waited for, and some of them are the supervisor's children.
        end_children();
        if let Ok(id) = id(SANDBOX) {
            drop(launch::delete(&self.containers, &id, true));
        }
        drop(remove::remove(&cgroup, &self.pod.owner()));
    }
}
