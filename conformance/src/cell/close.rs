//! The end of a cell: what the runtime leaves behind is noted, and removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Cell;
use crate::chain::chain;
use crate::observe::process;

impl Cell<'_> {
    /// Deletes what the check left running, looks for what the runtime leaves behind, and removes that too.
    /// Returns what it found, and what even the suite could not remove.
    #[must_use]
    pub fn close(mut self) -> (Vec<String>, Vec<String>) {
        for id in std::mem::take(&mut self.alive).into_iter().rev() {
            match self.call(&["delete", "--force", &id]) {
                Ok(call) if call.ok() => {}
                Ok(call) => tracing::debug!(cell = self.name, "{}", call.summary()),
                Err(error) => tracing::debug!(cell = self.name, %error, "delete"),
            }
        }
        let found = self.leftovers();
        let mut stuck = Vec::new();
        match self.launcher.kill_all(self.deadline(5.0)) {
            Ok(left) => stuck.extend(left.into_iter().map(|pid| format!("process {pid}"))),
            Err(error) => stuck.push(chain(&error)),
        }
        let timeout = self.deadline(5.0);
        for (path, error) in self.run.layout.remove(&self.cgroup, timeout) {
            stuck.push(format!("cgroup {}: {error}", path.display()));
        }
        for target in self.mounts() {
            let flags = nix::mount::MntFlags::MNT_DETACH;
            if let Err(errno) = nix::mount::umount2(target.as_str(), flags) {
                stuck.push(format!("mount {target}: {errno}"));
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            stuck.push(format!("directory {}: {error}", self.dir.display()));
        }
        (found, stuck)
    }

    fn mounts(&self) -> BTreeSet<String> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        process::mounts(&mountinfo)
            .into_iter()
            .filter(|mount| Path::new(&mount.target).starts_with(&self.dir))
            .map(|mount| mount.target)
            .collect()
    }

    /// Objects of this cell that are still there although every container was deleted.
    fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        if let Ok(trace) = self.trace() {
            for birth in trace.living() {
                let tgid = birth.child.task.tgid;
                if tgid != self.launcher.tgid() {
                    found.push(format!("process {tgid} ({})", birth.event.comm));
                }
            }
        }
        let containers = self.run.layout.existing(&self.cgroup);
        found.extend(
            containers
                .iter()
                .filter(|path| !path.ends_with(self.cgroup.trim_start_matches('/')))
                .map(|path| format!("cgroup {}", path.display())),
        );
        found.extend(self.mounts().into_iter().map(|target| format!("mount {target}")));
        let state = self.state_root();
        for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
            found.push(format!("state {}", entry.path().display()));
        }
        found
    }
}
