//! A part of a scrape that fails, and the others.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::container::Container;
use crate::exporter::{Exporter, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] =
    &[("parts::a_scrape_without_the_hierarchy_has_all_else", a_scrape_without_the_hierarchy_has_all_else)];

/// The hierarchy once more, in a directory of its own; unmounted with the test.
struct Mount {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Mount {
    fn new() -> Res<Self> {
        let dir = tempfile::tempdir()?;
        let mount = Self { path: dir.path().join("cgroup"), _dir: dir };
        mount.mount()?;
        Ok(mount)
    }

    fn mount(&self) -> Res<()> {
        fs::create_dir(&self.path)?;
        self.run("mount", &["-t", "cgroup2", "none"])
    }

    fn remove(&self) -> Res<()> {
        self.run("umount", &[])?;
        Ok(fs::remove_dir(&self.path)?)
    }

    fn run(&self, applet: &str, options: &[&str]) -> Res<()> {
        let status = Command::new("/bin/busybox").arg(applet).args(options).arg(&self.path).status()?;
        expect(applet, status.code(), Some(0))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = self.remove()
        {
            println!("{} is left: {error}", self.path.display());
        }
    }
}

/// By collector.
fn outcomes(scrape: &BTreeMap<String, f64>) -> BTreeMap<&str, f64> {
    let own = scrape.iter().filter(|(sample, _)| sample.starts_with("podproof_scrape_collector_success{"));
    own.filter_map(|(sample, value)| Some((sample.split('"').nth(1)?, *value))).collect()
}

fn a_scrape_without_the_hierarchy_has_all_else() -> Res<()> {
    let mount = Mount::new()?;
    let exporter = Exporter::start(&["--path.cgroupfs", &mount.path.display().to_string()])?;
    let first = Container::new("5".repeat(64))?;
    let execs = first.series("execs_total", "");
    until("the container", || Ok(exporter.scrape()?.get(&execs).copied()))?;
    first.run(10)?;
    let scrape = exporter.scrape()?;
    let all = outcomes(&scrape);
    for collector in ["cgroups", "counters", "files", "process", "samples", "zombies"] {
        expect(collector, all.get(collector).copied(), Some(1.0))?;
        let time = format!("podproof_scrape_collector_duration_seconds{{collector=\"{collector}\"}}");
        expect(&time, scrape.get(&time).is_some_and(|seconds| *seconds >= 0.0), true)?;
    }
    expect("collectors that failed", all.values().filter(|value| **value < 1.0).count(), 0)?;

    mount.remove()?;
    // Something for the exporter to look for.
    let second = Container::new("6".repeat(64))?;
    first.run(5)?;
    let scrape = exporter.scrape()?;
    let failed = outcomes(&scrape).into_iter().filter(|(_, value)| *value < 1.0).map(|(name, _)| name);
    expect("collectors that failed", failed.collect::<Vec<_>>(), vec!["cgroups"])?;
    expect(&execs, scrape.get(&execs).copied(), Some(15.0))?;
    let processes = first.series("processes", "");
    expect("processes that nobody can count", scrape.get(&processes).copied(), None)?;
    let node = "podproof_node_execs_total";
    expect("the node has its counters", scrape.get(node).is_some_and(|count| *count >= 15.0), true)?;

    mount.mount()?;
    let of_second = second.series("execs_total", "");
    until("the second container", || Ok(exporter.scrape()?.get(&of_second).copied()))?;
    let scrape = exporter.scrape()?;
    expect("cgroups again", outcomes(&scrape).get("cgroups").copied(), Some(1.0))?;
    expect(&execs, scrape.get(&execs).copied(), Some(15.0))
}
