//! A node whose directories are elsewhere, and whose /proc hides the processes of others (proc(5), `hidepid`).

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::container::{Container, shell};
use crate::exporter::Exporter;
use crate::process::until_zombie;
use crate::reconcile::{compared_after, differences};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] =
    &[("hidden::zombies_that_proc_hides_are_zombies_all_the_same", zombies_that_proc_hides)];

/// A procfs of its own.
struct Procfs(TempDir);

impl Procfs {
    /// Whose group this process is not in: members of it see all, and by default that is root's.
    const GROUP: &str = "hidepid=invisible,gid=65534";

    fn hiding() -> Res<Self> {
        let dir = tempfile::tempdir()?;
        mount(Some("proc"), dir.path(), Some("proc"), MsFlags::empty(), Some(Self::GROUP))?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Procfs {
    fn drop(&mut self) {
        // Before its directory.
        _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

fn zombies_that_proc_hides() -> Res<()> {
    let procfs = Procfs::hiding()?;
    let types = tempfile::tempdir()?;
    let btf = types.path().join("vmlinux");
    fs::copy("/sys/kernel/btf/vmlinux", &btf)?;
    let container = Container::new("6".repeat(64))?;
    let mut older = shell(&container.path, "exit 0").spawn()?;
    until_zombie(&older)?;

    let options = [("--path.procfs", procfs.path()), ("--btf.path", &*btf), ("--path.sysfs", types.path())];
    let options = options.map(|(option, path)| format!("{option}={}", path.display()));
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(["--reconcile.interval", "500ms"]);
    let exporter = Exporter::start(&options)?;
    let zombies = container.series("zombie_processes", "parent=\"other\"");
    let first = exporter.scrape()?;
    expect("the older one", first.get(&zombies).copied(), Some(1.0))?;
    // Without capabilities it sees nobody's processes but its own.
    let hosts = "podproof_processes{namespace=\"\",pod=\"\",container=\"\"}";
    expect("processes of the host", first.get(hosts).copied(), None)?;

    let mut younger = shell(&container.path, "exit 0").spawn()?;
    until_zombie(&younger)?;
    let mut scrape = exporter.scrape()?;
    for _comparison in 0..3 {
        expect("both", scrape.get(&zombies).copied(), Some(2.0))?;
        scrape = compared_after(&exporter, &scrape)?;
    }
    expect("differences", differences(&scrape), [Some(0.0); 2])?;
    older.wait()?;
    younger.wait()?;
    let reaped = exporter.scrape()?;
    expect("those that are reaped", reaped.get(&zombies).copied(), Some(0.0))
}
