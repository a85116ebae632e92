//! The pids controller: what it charges, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::container::{Container, shell};
use crate::exporter::{Exporter, until};
use crate::process::until_zombie;
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[("pids::zombies_use_the_limit_up", zombies_use_the_limit_up)];

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
    let mut zombie = shell(&container.path, "exit 0").spawn()?;
    until_zombie(&zombie)?;
    expect("with a zombie", shown()?, [1.0, 1.0, 0.0, 0.0, 0.0, 1.0].map(Some))?;
    // A move is never refused.
    let status = shell(&container.path, "/bin/busybox true; exit 0").stderr(Stdio::null()).status()?;
    expect("a fork is refused", status.success(), false)?;
    expect("after it", shown()?, [1.0, 1.0, 1.0, 1.0, 0.0, 1.0].map(Some))?;
    zombie.wait()?;
    expect("in the end", shown()?, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0].map(Some))
}
