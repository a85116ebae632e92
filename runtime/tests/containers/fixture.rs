//! A place for containers, and what the host looked like before.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use runtime::cgroup::group;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fail;

/// What may take a moment on a loaded or emulated machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Why containers cannot run here.
pub(crate) fn missing_prerequisite() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    if !group::has_cgroup2() {
        return Some("/sys/fs/cgroup is not cgroup v2".to_owned());
    }
    let controllers = group::root_controllers();
    let missing = ["memory", "cpu", "pids"].into_iter().find(|c| !controllers.iter().any(|have| have == c));
    missing.map(|controller| format!("cgroup controller {controller} is not available"))
}

/// A directory with a root file system, a state root and a cgroup parent; all removed on drop.
pub(crate) struct Cell {
    directory: TempDir,
    cgroup: String,
    before: Snapshot,
}

/// What a container could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    mounts: String,
    cgroups: BTreeSet<PathBuf>,
    containers: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    children: BTreeSet<i32>,
}

impl Cell {
    pub(crate) fn new() -> Result<Self, Failed> {
        // Orphans become children of the test, where they can be seen.
        prctl::set_child_subreaper(true)?;
        let directory = tempfile::tempdir()?;
        let rootfs = directory.path().join("rootfs");
        for name in ["proc", "sys", "dev", "tmp", "data", "old"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::create_dir(directory.path().join("data"))?;
        fs::create_dir(directory.path().join("state"))?;
        fs::copy("/proc/self/exe", rootfs.join("program"))?;
        let cgroup = format!("/podrt-test-{}", std::process::id());
        fs::create_dir_all(Path::new("/sys/fs/cgroup").join(&cgroup[1..]))?;
        let mut cell = Self { directory, cgroup, before: Snapshot::empty() };
        cell.before = cell.snapshot()?;
        Ok(cell)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn cgroup(&self, id: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(&self.cgroup[1..]).join(id)
    }

    /// A configuration with namespaces of its own that runs `program --inside ARGS`.
    pub(crate) fn config(&self, id: &str, args: &[&str]) -> Value {
        let args: Vec<&str> = ["/program", "--inside"].iter().chain(args).copied().collect();
        json!({
            "ociVersion": "1.0.2",
            "root": {"path": self.path().join("rootfs")},
            "process": {"user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/"], "cwd": "/"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
                    {"type": "network"}, {"type": "cgroup"}],
                "cgroupsPath": format!("{}/{id}", self.cgroup),
            },
        })
    }

    /// Lets users that are not root reach the root file system and make files in it.
    pub(crate) fn open_to_all(&self) -> Result<(), Failed> {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o755))?;
        for directory in ["", "dev", "proc"] {
            let path = self.path().join("rootfs").join(directory);
            fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        }
        Ok(())
    }

    /// Writes a bundle and returns its directory.
    pub(crate) fn bundle(&self, config: &Value) -> Result<PathBuf, Failed> {
        let bundle = self.path().join("bundle");
        fs::create_dir_all(&bundle)?;
        fs::write(bundle.join("config.json"), config.to_string())?;
        Ok(bundle)
    }

    pub(crate) fn podrt(&self) -> Command {
        self.podrt_at(&self.state_root())
    }

    /// podrt with another state root.
    pub(crate) fn podrt_at(&self, root: &Path) -> Command {
        let program = std::env::var_os("PODRT").unwrap_or_else(|| env!("CARGO_BIN_EXE_podrt").into());
        let mut command = Command::new(program);
        command.arg("--root").arg(root).stdin(Stdio::null());
        command
    }

    /// Runs podrt and waits for it.
    pub(crate) fn call(&self, args: &[&str]) -> Result<Output, Failed> {
        Ok(self.podrt().args(args).output()?)
    }

    /// Runs podrt, which must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> Result<String, Failed> {
        let output = self.call(args)?;
        if !output.status.success() {
            return fail(format!("podrt {args:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs podrt, which must fail with exit code 1, and returns what it says.
    pub(crate) fn refused(&self, args: &[&str]) -> Result<String, Failed> {
        let output = self.call(args)?;
        match output.status.code() {
            Some(1) => Ok(String::from_utf8(output.stderr)?),
            other => fail(format!("podrt {args:?} ended with {other:?} instead of 1")),
        }
    }

    /// Creates a container and returns its output.
    pub(crate) fn create(&self, id: &str, config: &Value) -> Result<Lines, Failed> {
        let bundle = self.bundle(config)?;
        let mut child =
            self.podrt().args(["create", "--bundle"]).arg(bundle).arg(id).stdout(Stdio::piped()).spawn()?;
        let lines = Lines::of(&mut child)?;
        if !child.wait()?.success() {
            return fail(format!("podrt create {id} failed"));
        }
        Ok(lines)
    }

    pub(crate) fn state(&self, id: &str) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.ok(&["state", id])?)?)
    }

    /// The pid of a container that is created or running.
    pub(crate) fn pid(&self, id: &str) -> Result<Pid, Failed> {
        let pid = self.state(id)?["pid"].as_i64().unwrap_or_default();
        Ok(Pid::from_raw(i32::try_from(pid)?))
    }

    pub(crate) fn expect_status(&self, id: &str, status: &str) -> Result<(), Failed> {
        let state = self.state(id)?;
        if state["status"] != status {
            return fail(format!("status is {} instead of {status}", state["status"]));
        }
        Ok(())
    }

    /// Waits for the end of a container's process.
    pub(crate) fn wait_end(&self, pid: Pid) -> Result<(), Failed> {
        use std::os::fd::AsFd;
        let pidfd = runtime::sys::process::pidfd_open(pid)?;
        if !runtime::sys::process::wait_end(pidfd.as_fd(), DEADLINE)? {
            return fail(format!("process {pid} is still there"));
        }
        Ok(())
    }

    /// Fails unless the host is as it was when the cell was made.
    pub(crate) fn expect_nothing_left(&self) -> Result<(), Failed> {
        self.expect_unchanged(&self.before)
    }

    fn expect_unchanged(&self, before: &Snapshot) -> Result<(), Failed> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let after = self.snapshot()?;
            if after == *before {
                return Ok(());
            }
            // A killed process may still be on its way out.
            let extra = after.children.difference(&before.children).next().copied();
            match extra.filter(|_| Instant::now() < deadline) {
                Some(pid) => self.wait_end(Pid::from_raw(pid))?,
                None => return fail(format!("the host has changed:\n{}", difference(before, &after))),
            }
        }
    }

    /// Takes the present state of the host for the one to compare with.
    pub(crate) fn settle(&mut self) -> Result<(), Failed> {
        self.before = self.snapshot()?;
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Failed> {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        let children = fs::read_to_string("/proc/thread-self/children")?;
        let mut files = BTreeSet::new();
        walk(&self.path().join("data"), &mut files)?;
        let mut cgroups = BTreeSet::new();
        walk(&Path::new("/sys/fs/cgroup").join(&self.cgroup[1..]), &mut cgroups)?;
        Ok(Snapshot {
            mounts: fs::read_to_string("/proc/self/mountinfo")?,
            cgroups: cgroups.into_iter().filter(|path| path.is_dir()).collect(),
            containers: fs::read_dir(self.state_root())?
                .map(|e| Ok(e?.path()))
                .collect::<Result<_, Failed>>()?,
            files,
            children: children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        })
    }
}

impl Snapshot {
    fn empty() -> Self {
        Self {
            mounts: String::new(),
            cgroups: BTreeSet::new(),
            containers: BTreeSet::new(),
            files: BTreeSet::new(),
            children: BTreeSet::new(),
        }
    }
}

/// The lines that only one of the two has.
fn difference(before: &Snapshot, after: &Snapshot) -> String {
    let lines = |snapshot: &Snapshot| -> BTreeSet<String> {
        format!("{}\n{snapshot:#?}", snapshot.mounts).lines().map(str::to_owned).collect()
    };
    let (before, after) = (lines(before), lines(after));
    let gone = before.difference(&after).map(|line| format!("- {line}\n"));
    gone.chain(after.difference(&before).map(|line| format!("+ {line}\n"))).collect()
}

impl Drop for Cell {
    fn drop(&mut self) {
        // Best effort: a test that failed half-way has containers left.
        for entry in fs::read_dir(self.state_root()).into_iter().flatten().flatten() {
            if let Some(id) = entry.file_name().to_str() {
                drop(self.call(&["delete", "--force", id]));
            }
        }
        if fs::remove_dir(self.cgroup("")).is_err() {}
    }
}

fn walk(directory: &Path, found: &mut BTreeSet<PathBuf>) -> Result<(), Failed> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        }
        found.insert(entry.path());
    }
    Ok(())
}

/// What a program says, line by line.
pub(crate) struct Lines(BufReader<ChildStdout>);

impl Lines {
    pub(crate) fn of(child: &mut Child) -> Result<Self, Failed> {
        match child.stdout.take() {
            Some(stdout) => Ok(Self(BufReader::new(stdout))),
            None => fail("stdout is not piped"),
        }
    }

    /// The next line, without its end; empty at the end of the output.
    pub(crate) fn next(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn expect(&mut self, expected: &str) -> Result<(), Failed> {
        let line = self.next()?;
        if line != expected {
            return fail(format!("the program said {line:?} instead of {expected:?}"));
        }
        Ok(())
    }
}
