//! The exporter in a cgroup namespace of its own, as container engines give it, with the mount of the whole hierarchy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};

use crate::exporter::{Exporter, again};
use crate::pods::{LEAK, Pod};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] =
    &[("namespace::older_zombies_beside_it_are_known", older_zombies_beside_it_are_known)];

/// First argument of this binary when it is to enter a cgroup, and a cgroup namespace that begins there; then come the cgroup and
/// its new arguments.
pub(crate) const IN_NAMESPACE: &str = "in-cgroup-namespace";

/// Gives the reason if it cannot.
pub(crate) fn enter(arguments: &[String]) -> ExitCode {
    let [cgroup, rest @ ..] = arguments else { return ExitCode::FAILURE };
    again(rest, || {
        // Whoever writes it.
        fs::write(Path::new(cgroup).join("cgroup.procs"), "0")?;
        Ok(unshare(CloneFlags::CLONE_NEWCGROUP)?)
    })
}

/// A cgroup two levels deep; removed with the test.
struct Deep(PathBuf);

impl Deep {
    fn new() -> Res<Self> {
        let path = PathBuf::from("/sys/fs/cgroup/exporter-test/inner");
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        for path in self.0.ancestors().take(2) {
            if let Err(error) = fs::remove_dir(path) {
                println!("{} is left: {error}", path.display());
            }
        }
    }
}

fn older_zombies_beside_it_are_known() -> Res<()> {
    let pod = Pod::run("beside", LEAK, &[])?;
    pod.wait_for_leak()?;
    let own = Deep::new()?;
    let cgroup = own.0.display().to_string();
    let root = pod.root().display().to_string();
    let exporter =
        Exporter::start_by(&[IN_NAMESPACE, &cgroup], tempfile::tempdir()?, &["--path.podrt", &root])?;
    let shown = fs::read_link(format!("/proc/{}/ns/cgroup", exporter.pid()?))?;
    expect("it has a namespace of its own", shown == fs::read_link("/proc/self/ns/cgroup")?, false)?;
    let zombies = pod.series("zombie_processes", "parent=\"init\"");
    expect(&zombies, exporter.scrape()?.get(&zombies).copied(), Some(1.0))
}
