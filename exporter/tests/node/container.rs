//! A cgroup as docker makes it for a container, and processes in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Res, expect};

/// Removed with the test.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
}

impl Container {
    /// `id` is of 64 hexadecimal digits.
    pub(crate) fn new(id: String) -> Res<Self> {
        let path = Path::new("/sys/fs/cgroup/docker").join(&id);
        fs::create_dir_all(&path)?;
        Ok(Self { id, path })
    }

    /// A sample of it, as it stands in the text.
    pub(crate) fn series(&self, name: &str, labels: &str) -> String {
        let container = &self.id[..12];
        let comma = if labels.is_empty() { "" } else { "," };
        format!("podproof_{name}{{namespace=\"\",pod=\"\",container=\"{container}\"{comma}{labels}}}")
    }

    /// A shell enters it, starts so many programs one after the other, and ends.
    pub(crate) fn run(&self, n: u32) -> Res<()> {
        run(&self.path, &format!("i=0; while [ $i -lt {n} ]; do /bin/busybox true; i=$((i+1)); done"))
    }

    pub(crate) fn remove(&self) -> Res<()> {
        fs::remove_dir(&self.path)?;
        match fs::remove_dir(self.path.with_file_name("")) {
            // Another container is there.
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => Ok(()),
            result => Ok(result?),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Gone when the test removed it.
        _ = self.remove();
    }
}

/// A shell that enters a cgroup by itself and runs a script: an exec counts where the process is at its end, which a parent does not
/// wait for.
pub(crate) fn shell(cgroup: &Path, script: &str) -> Command {
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", &format!("echo $$ > \"$0\"/cgroup.procs; {script}")]).arg(cgroup);
    command
}

/// A shell enters a cgroup and runs a script.
pub(crate) fn run(cgroup: &Path, script: &str) -> Res<()> {
    let status = shell(cgroup, script).status()?;
    expect("status of the script", status.code(), Some(0))
}
