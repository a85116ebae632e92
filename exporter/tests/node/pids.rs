//! The pids controller: what it charges, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::container::Container;
use crate::exporter::{Exporter, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[("pids::zombies_use_the_limit_up", zombies_use_the_limit_up)];

/// What a shell does that enters a cgroup, of which it is told the path.
const ENTER: &str = "echo $$ > \"$0\"/cgroup.procs";

fn zombies_use_the_limit_up() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let container = Container::new("9".repeat(64))?;
    for above in ["/sys/fs/cgroup", "/sys/fs/cgroup/docker"] {
        fs::write(Path::new(above).join("cgroup.subtree_control"), "+pids")?;
    }
    fs::write(container.path.join("pids.max"), "1")?;
    let names = [
        ("pids", ""),
        ("pids_limit", ""),
        ("pids_limit_hits_total", ""),
        ("fork_failures_total", "errno=\"EAGAIN\""),
        ("processes", ""),
        ("zombie_processes", "parent=\"other\""),
    ]
    .map(|(name, labels)| container.series(name, labels));
    let shown = || -> Res<_> {
        let scrape = exporter.scrape()?;
        Ok(names.each_ref().map(|name| scrape.get(name).copied()))
    };
    until("the container", || Ok(shown()?[0]))?;
    let shell = |script: &str| {
        let mut command = Command::new("/bin/busybox");
        command.args(["sh", "-c", &format!("{ENTER}; {script}")]).arg(&container.path).stderr(Stdio::null());
        command
    };
    let mut zombie = shell("exit 0").spawn()?;
    let stat = format!("/proc/{}/stat", zombie.id());
    until("the zombie", || Ok(fs::read_to_string(&stat)?.contains(") Z ").then_some(())))?;
    expect("with a zombie", shown()?, [1.0, 1.0, 0.0, 0.0, 0.0, 1.0].map(Some))?;
    // A move is never refused.
    let status = shell("/bin/busybox true; exit 0").status()?;
    expect("a fork is refused", status.success(), false)?;
    expect("after it", shown()?, [1.0, 1.0, 1.0, 1.0, 0.0, 1.0].map(Some))?;
    zombie.wait()?;
    expect("in the end", shown()?, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0].map(Some))
}
