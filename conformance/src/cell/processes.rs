//! Processes of a cell that are no containers: the suite's own, and what a runtime leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::EventKind;

use super::{Cell, Helped, Obstacle, Own};
use crate::adapter::oci::last_line;
use crate::helper::Holders;
use crate::launcher::Invocation;
use crate::observe::process;
use crate::observe::trace::released;

impl Cell<'_> {
    /// Runs one of the suite's own helpers (a hidden subcommand of podproof) to its end, which must be a good one;
    /// who it was and what it printed.
    ///
    /// # Errors
    /// When the launcher fails, or the helper, whose last words are in the error.
    pub fn helper(&mut self, arguments: &[&str]) -> Result<Helped, Obstacle> {
        let invocation = self.helper_invocation(arguments);
        let (stdout, stderr) = (invocation.stdout.clone(), invocation.stderr.clone());
        let timeout = self.deadline(10.0);
        let ran = self.launcher.run(invocation, timeout)?;
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        match ran.status {
            Some(status) if status.success() => Ok(Helped { pid: ran.pid, stdout: read(&stdout) }),
            status => {
                let ended =
                    status.map_or_else(|| "did not end in time".to_owned(), |status| status.to_string());
                Err(Obstacle::Node {
                    op: "run the suite's helper",
                    path: arguments.join(" ").into(),
                    source: io::Error::other(format!("{ended}: {}", read(&stderr).trim())),
                })
            }
        }
    }

    fn helper_invocation(&mut self, arguments: &[&str]) -> Invocation {
        let arguments: Vec<&str> = std::iter::once("helper").chain(arguments.iter().copied()).collect();
        self.own_invocation(&arguments)
    }

    /// Runs one of podproof's own commands in this cell, with the runtime's variables; what came of it.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn own(&mut self, arguments: &[&str], timeout: Duration) -> Result<Own, Obstacle> {
        let mut invocation = self.own_invocation(arguments);
        invocation.env.clone_from(&self.run.runtime.env);
        let stderr = invocation.stderr.clone();
        let ran = self.launcher.run(invocation, timeout)?;
        let said = last_line(&fs::read_to_string(stderr).unwrap_or_default());
        Ok(Own { pid: ran.pid, said })
    }

    fn own_invocation(&mut self, arguments: &[&str]) -> Invocation {
        self.calls += 1;
        let name = arguments.iter().find(|name| **name != "helper").copied().unwrap_or("own");
        let output = self.dir.join("log").join(format!("{:03}-{name}", self.calls));
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
        Invocation {
            argv: std::iter::once(program.display().to_string())
                .chain(arguments.iter().map(|argument| (*argument).to_owned()))
                .collect(),
            env: BTreeMap::new(),
            stdout: output.with_extension("out"),
            stderr: output.with_extension("err"),
            leaked_fds: 0,
            ambient_caps: Vec::new(),
            ignored_signals: Vec::new(),
            // As the launcher: what a helper makes, a cgroup namespace too, is not the caller's of a runtime.
            cgroup: None,
        }
    }

    /// Waits for the end of a container's main process: the suite is its reaper. `None` at the deadline.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn wait(&mut self, pid: i32, timeout: Duration) -> Result<Option<ExitStatus>, Obstacle> {
        Ok(self.launcher.wait(pid, timeout)?)
    }

    /// Leaves the cell's dead orphans, a container's main process among them, as zombies; or reaps them again.
    ///
    /// # Errors
    /// When the launcher fails.
    pub fn keep_zombies(&mut self, keep: bool) -> Result<(), Obstacle> {
        Ok(self.launcher.keep_zombies(keep)?)
    }

    /// Makes a new namespace of each type, held by processes that stay until [`Cell::end_processes`].
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn hold_namespaces(&mut self) -> Result<Holders, Obstacle> {
        let printed = self.helper(&["namespaces"])?.stdout;
        serde_json::from_str(&printed).map_err(|error| Obstacle::Node {
            op: "parse what the helper printed:",
            path: printed.into(),
            source: error.into(),
        })
    }

    /// The texts of files of `/proc/sys`, as a process in the namespace behind this path reads them.
    ///
    /// # Errors
    /// When the helper cannot enter it or read a file.
    pub fn peek(&mut self, namespace: &str, files: &[&str]) -> Result<Vec<String>, Obstacle> {
        let arguments = [&["peek", "--in", namespace], files].concat();
        let printed = self.helper(&arguments)?.stdout;
        serde_json::from_str(&printed).map_err(|error| Obstacle::Node {
            op: "parse what the helper printed:",
            path: printed.into(),
            source: error.into(),
        })
    }

    /// Kills processes that the suite started in this cell and waits for their end.
    ///
    /// # Errors
    /// When one cannot be killed or does not end.
    pub fn end_processes(&mut self, pids: &[i32]) -> Result<(), Obstacle> {
        for pid in pids {
            let failed = |source| Obstacle::Node { op: "end", path: format!("/proc/{pid}").into(), source };
            match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
            if self.wait(*pid, self.deadline(5.0))?.is_none() {
                return Err(failed(io::Error::from(io::ErrorKind::TimedOut)));
            }
        }
        Ok(())
    }

    /// Waits until each of these processes is a zombie or gone already, at most this long; whether they are. What only
    /// ends (its `sched_process_exit`) is not listed as a zombie yet, and looks alive.
    ///
    /// # Errors
    /// When the probes are not there.
    pub fn await_ends(&self, pids: &BTreeSet<u32>, timeout: Duration) -> Result<bool, Obstacle> {
        let mut awaited = pids.clone();
        self.await_event(timeout, |event| {
            if let EventKind::ZombieStart { task, .. }
            | EventKind::Reap { task, .. }
            | EventKind::Free { task } = &event.kind
            {
                awaited.remove(&task.tgid);
            }
            awaited.is_empty()
        })
    }

    /// Waits until each of these processes is released, at most this long. A release by the kernel itself may show late.
    ///
    /// # Errors
    /// When the probes are not there.
    pub fn await_releases(&self, pids: &BTreeSet<u32>, timeout: Duration) -> Result<bool, Obstacle> {
        let mut awaited = pids.clone();
        self.await_event(timeout, |event| {
            if let Some(tgid) = released(event) {
                awaited.remove(&tgid);
            }
            awaited.is_empty()
        })
    }

    /// Processes of this cell that have ended and were not waited for.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn zombies(&self) -> Result<Vec<i32>, Obstacle> {
        // It is the subreaper of everything in the cell.
        let below = process::descendants(self.launcher.tgid().cast_signed());
        let below = below.map_err(|source| Obstacle::Node { op: "list", path: "/proc".into(), source })?;
        Ok(below.into_iter().filter(|pid| process::state(*pid) == Some('Z')).collect())
    }

    /// Waits until every process that was made in this cell has ended, at most this long; how many are left.
    ///
    /// # Errors
    /// When the probes are not there or the fence does not come through.
    pub fn settled(&self, patience: Duration) -> Result<usize, Obstacle> {
        let deadline = Instant::now() + patience;
        loop {
            let trace = self.trace()?;
            let living = trace.living();
            let left = deadline.saturating_duration_since(Instant::now());
            match living.first() {
                Some(first) if !left.is_zero() => {
                    let tgid = first.child.task.tgid;
                    self.await_event(left, |event| match &event.kind {
                        EventKind::Exit { task, group_dead, .. } => *group_dead && task.task.tgid == tgid,
                        _ => false,
                    })?;
                }
                _ => return Ok(living.len()),
            }
        }
    }
}
