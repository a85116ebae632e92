//! A process in a cgroup.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use crate::Res;
use crate::exporter::until;

/// A program, mostly of busybox; ended and reaped with the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Starts it, and moves it into the cgroup.
    pub(crate) fn start(command: &[&str], cgroup: &Path) -> Res<Self> {
        Self::of(Command::new("/bin/busybox").args(command), cgroup)
    }

    /// The same with any program.
    pub(crate) fn of(command: &mut Command, cgroup: &Path) -> Res<Self> {
        let process = Self(command.spawn()?);
        fs::write(cgroup.join("cgroup.procs"), process.0.id().to_string())?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been ended by the test.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Whether the process of this number is a zombie.
pub(crate) fn is_zombie(pid: impl Display) -> Res<bool> {
    Ok(fs::read_to_string(format!("/proc/{pid}/stat"))?.contains(") Z "))
}

/// Waits until a child has ended, which nobody has waited for.
pub(crate) fn until_zombie(child: &Child) -> Res<()> {
    until("the zombie", || Ok(is_zombie(child.id())?.then_some(())))
}
