//! Containers as docker and podman make them: a cgroup with the usual controllers for each, and a process that sleeps in it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::Res;
use crate::server::rest;

const ROOT: &str = "/sys/fs/cgroup";
/// Folders of engines.
const DOCKER: &str = "docker";
const PODMAN: &str = "machine.slice";

/// How long the last processes may take to begin to sleep.
const DEADLINE: Duration = Duration::from_secs(60);

/// A shell reads directories of cgroups, enters each and leaves a process there.
const FILL: &str = "while read -r cgroup; do echo $$ > $cgroup/cgroup.procs; \"$0\" sleep 1000000 & done";

/// All containers; they go with the machine.
pub(crate) struct Tree {
    busybox: PathBuf,
    n: u32,
}

impl Tree {
    pub(crate) fn new(busybox: &Path) -> Res<Self> {
        let root = Path::new(ROOT);
        for parent in [root.to_owned(), root.join(DOCKER), root.join(PODMAN)] {
            fs::create_dir_all(&parent)?;
            fs::write(parent.join("cgroup.subtree_control"), "+cpu +memory +pids")?;
        }
        Ok(Self { busybox: busybox.to_owned(), n: 0 })
    }

    /// Adds containers until there are so many.
    pub(crate) fn grow(&mut self, n: u32) -> Res<()> {
        eprintln!("bench: {n} containers are made");
        let mut paths = String::new();
        for index in self.n..n {
            let path = path(index);
            fs::create_dir(&path)?;
            paths.push_str(&path);
            paths.push('\n');
        }
        let mut shell = Command::new(&self.busybox);
        // The processes must not keep our output open.
        shell.args(["sh", "-c", FILL]).arg(&self.busybox).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut shell = shell.stderr(Stdio::null()).spawn()?;
        let Some(mut input) = shell.stdin.take() else { return Err("no pipe to the shell".into()) };
        input.write_all(paths.as_bytes())?;
        drop(input);
        if !shell.wait()?.success() {
            return Err("the shell has not filled all cgroups".into());
        }
        self.n = self.n.max(n);
        asleep()
    }
}

/// The ids are spread as random ones are.
fn path(index: u32) -> String {
    let id = format!("{:016x}", u64::from(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
    if index.is_multiple_of(2) {
        format!("{ROOT}/{DOCKER}/{id}")
    } else {
        format!("{ROOT}/{PODMAN}/libpod-{id}.scope")
    }
}

/// Waits until nobody but this program runs.
fn asleep() -> Res<()> {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        let stat = fs::read_to_string("/proc/stat")?;
        if stat.lines().any(|line| line == "procs_running 1") {
            return Ok(());
        }
        rest(Duration::from_millis(30))?;
    }
    Err("the processes of the containers do not come to rest".into())
}
