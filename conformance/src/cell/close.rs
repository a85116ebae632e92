//! The end of a cell: what the runtime leaves behind is noted, and removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use podproof_ebpf::event::NsKind;

use super::{CALLERS, Cell};
use crate::catalog::Adapter;
use crate::chain::chain;
use crate::observe::process::{self, Mount};
use crate::observe::trace::Trace;

impl Cell<'_> {
    /// Deletes what the check left running, looks for what the runtime leaves behind, and removes that too.
    /// Returns what it found, and what even the suite could not remove.
    #[must_use]
    pub fn close(mut self) -> (Vec<String>, Vec<String>) {
        self.launcher.begin_closing();
        for id in std::mem::take(&mut self.alive).into_iter().rev() {
            match self.call(&["delete", "--force", &id]) {
                Ok(call) if call.ok() => {}
                Ok(call) => tracing::debug!(cell = self.name, "{}", call.summary()),
                Err(error) => tracing::debug!(cell = self.name, %error, "delete"),
            }
        }
        self.remove_pods();
        let found = self.leftovers();
        let mut stuck = Vec::new();
        // At once, where the launcher kills one after the other.
        if let Some(callers) = &self.callers
            && let Err(error) = fs::write(callers.join("cgroup.kill"), "1")
        {
            tracing::debug!(cell = self.name, %error, "kill the cell's commands");
        }
        match self.launcher.kill_all(self.deadline(5.0)) {
            Ok(left) => stuck.extend(left.into_iter().map(|pid| format!("process {pid}"))),
            Err(error) => stuck.push(chain(&error)),
        }
        let timeout = self.deadline(5.0);
        let callers = format!("{}/{CALLERS}{}", self.run.cgroup, self.name);
        for path in [&self.cgroup, &callers] {
            for (path, error) in self.run.layout.remove(path, timeout) {
                stuck.push(format!("cgroup {}: {error}", path.display()));
            }
        }
        // The last one first: it may lie on or below another.
        while let Some(target) = process::mounts_below(&self.dir).pop() {
            match umount2(target.as_str(), MntFlags::MNT_DETACH) {
                Ok(()) => {}
                Err(errno) => {
                    stuck.push(format!("mount {target}: {errno}"));
                    break;
                }
            }
        }
        // Removing crosses mount points: what is mounted there belongs to somebody else.
        if !process::mounts_below(&self.dir).is_empty() {
            stuck.push(format!("directory {}: something is still mounted there", self.dir.display()));
        } else if let Err(error) = fs::remove_dir_all(&self.dir) {
            stuck.push(format!("directory {}: {error}", self.dir.display()));
        }
        (found, stuck)
    }

    /// Objects of this cell that are still there although every container was deleted.
    fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        match self.trace() {
            Ok(trace) => {
                for birth in trace.living() {
                    let tgid = birth.child.task.tgid;
                    // Its end may be among what was lost.
                    let lives = trace.lost == 0 || process::state(tgid.cast_signed()).is_some();
                    if tgid != self.launcher.tgid() && lives {
                        found.push(format!("process {tgid} ({})", birth.event.comm));
                    }
                }
                let pins = pinned_namespaces(&trace).into_iter();
                found.extend(
                    pins.filter(|pin| !self.is_of_another_cell(pin))
                        .map(|pin| format!("namespace {} at {}", pin.root, pin.target)),
                );
            }
            Err(obstacle) => tracing::debug!(cell = self.name, %obstacle, "processes were not looked for"),
        }
        let containers = self.run.layout.existing(&self.cgroup);
        found.extend(
            containers
                .iter()
                .filter(|path| !path.ends_with(self.cgroup.trim_start_matches('/')))
                .map(|path| format!("cgroup {}", path.display())),
        );
        found.extend(process::mounts_below(&self.dir).into_iter().map(|target| format!("mount {target}")));
        found.extend(self.state_left().into_iter().map(|path| format!("state {}", path.display())));
        found
    }

    /// Whether a mount is one of the suite's in another cell. The number of a namespace that has ended may belong to one
    /// that is kept there.
    pub(crate) fn is_of_another_cell(&self, mount: &Mount) -> bool {
        let target = Path::new(&mount.target);
        target.starts_with(&self.run.dir) && !target.starts_with(&self.dir)
    }

    /// What lies in the state directory although every container, or every pod, was deleted.
    #[must_use]
    pub fn state_left(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| -> Vec<PathBuf> {
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let top = entries(&self.state_root());
        match self.run.adapter {
            Adapter::Oci => top,
            // The pod layer keeps its own few directories, empty ones; one of them in another.
            Adapter::Podrt => top
                .into_iter()
                .flat_map(|path| if path.is_dir() { entries(&path) } else { vec![path] })
                .flat_map(|path| if path.ends_with("images/layers") { entries(&path) } else { vec![path] })
                .collect(),
        }
    }
}

/// Namespaces of this cell's tasks that a bind mount keeps (namespaces(7)).
fn pinned_namespaces(trace: &Trace) -> Vec<Mount> {
    let suites = process::namespaces(std::process::id().cast_signed());
    let is_suites = |inode: u32| suites.values().any(|id| id.ino == u64::from(inode));
    let inodes: BTreeSet<u32> = trace
        .births()
        .flat_map(|birth| NsKind::ALL.into_iter().filter_map(move |kind| birth.child.ns.get(kind)))
        .filter(|inode| !is_suites(*inode))
        .collect();
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    process::mounts(&mountinfo)
        .into_iter()
        .filter(|mount| mount.fstype == "nsfs")
        .filter(|mount| inodes.iter().any(|inode| mount.root.ends_with(&format!(":[{inode}]"))))
        .collect()
}
