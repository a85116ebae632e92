//! One run: a runtime, a machine, the probes, and the directory that all its cells lie in.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podproof_ebpf::Tracer;

use crate::adapter::oci::OciRuntime;
use crate::catalog::Adapter;
use crate::observe::cgroup::{Cgroup, Layout};
use crate::observe::process;

/// Programs that the suite puts into containers.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The witness.
    pub witness: PathBuf,
    /// The sandbox program.
    pub pause: PathBuf,
    /// What it is called with: the mode that holds a sandbox, where it has several.
    pub pause_args: Vec<String>,
}

/// Everything that the checks of one run share.
#[derive(Debug)]
pub struct Run {
    /// The subject.
    pub runtime: OciRuntime,
    /// What drives it.
    pub adapter: Adapter,
    /// Programs that go into containers, as copies below `dir`, from where they are linked.
    pub programs: Programs,
    /// The probes, or why there are none.
    pub tracer: Result<Arc<Tracer>, String>,
    /// Cgroups of this machine.
    pub layout: Layout,
    /// Base directory of the run's cells.
    pub dir: PathBuf,
    /// Path of the run's cgroup from the root of the hierarchies.
    pub cgroup: String,
    /// All deadlines are multiplied by this.
    pub deadline_factor: f64,
}

/// A run cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}", path.display())]
pub struct RunError {
    op: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Run {
    /// Makes the directory and the cgroup of a run.
    ///
    /// # Errors
    /// When either cannot be made, or a program cannot be copied.
    pub fn open(
        (runtime, adapter): (OciRuntime, Adapter),
        programs: &Programs,
        tracer: Result<Arc<Tracer>, String>,
        base: &Path,
        deadline_factor: f64,
    ) -> Result<Self, RunError> {
        let failed = |op: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| RunError { op, path, source }
        };
        let mark = base
            .file_name()
            .map_or_else(|| "podproof".to_owned(), |name| name.to_string_lossy().into_owned());
        let dir = base.join("cells");
        fs::create_dir_all(&dir).map_err(failed("make", &dir))?;
        let copy = |from: &Path, name: &str| -> Result<PathBuf, RunError> {
            let to = base.join(name);
            if !to.exists() {
                fs::copy(from, &to).map_err(failed("copy", from))?;
                fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).map_err(failed("chmod", &to))?;
            }
            Ok(to)
        };
        let programs = Programs {
            witness: copy(&programs.witness, "witness")?,
            pause: copy(&programs.pause, "pause")?,
            pause_args: programs.pause_args.clone(),
        };
        let layout = Layout::detect();
        let cgroup = format!("/{mark}");
        if layout == Layout::Unified {
            let group = Cgroup::at(&cgroup);
            group.create().map_err(failed("make the cgroup", group.dir()))?;
        }
        Ok(Self { runtime, adapter, programs, tracer, layout, dir, cgroup, deadline_factor })
    }

    /// A deadline, scaled for this machine.
    #[must_use]
    pub fn deadline(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.deadline_factor)
    }

    /// Removes what the run made; what is left.
    #[must_use]
    pub fn close(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (path, error) in self.layout.remove(&self.cgroup, self.deadline(5.0)) {
            left.push(format!("cgroup {}: {error}", path.display()));
        }
        if !process::mounts_below(&self.dir).is_empty() {
            left.push(format!("directory {}: something is still mounted there", self.dir.display()));
        } else if let Err(error) = fs::remove_dir_all(&self.dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            left.push(format!("directory {}: {error}", self.dir.display()));
        }
        left
    }
}
