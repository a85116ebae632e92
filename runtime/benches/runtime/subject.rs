//! Runtimes as they are called, and the floor under all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::Value;

use crate::bundle::Bundles;
use crate::measure::{Res, timed};
use crate::record::Case;

/// The subject of new namespaces and a program in them, without a runtime.
pub(crate) const FLOOR: &str = "floor";

/// How long a program may take after `start`.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a subject did in its turn.
type Done = Vec<(Case, Res<u64>)>;

/// A runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    path: PathBuf,
    root: PathBuf,
}

/// A container that was created.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    runtime: &'a Runtime,
    id: String,
    pub(crate) pid: i32,
}

/// Makes namespaces, mounts /proc in them and runs a program that only ends.
pub(crate) fn floor(unshare: &Path) -> Res<u64> {
    let mut command = Command::new(unshare);
    command.args(["-m", "-p", "-i", "-u", "-n", "-f", "--mount-proc", "/bin/true"]);
    timed(&mut command)
}

impl Runtime {
    pub(crate) fn new(name: String, path: PathBuf) -> Self {
        let root = Path::new("/run/bench-state").join(&name);
        Self { name, path, root }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root).args(args);
        command
    }

    fn call(&self, args: &[&str]) -> Res<u64> {
        fs::create_dir_all(&self.root)?;
        timed(&mut self.command(args))
    }

    /// Does `run_true` twice below `podproof trace`; all events from the exec of the second on. The first meets a kernel
    /// that the probes have just changed: what an emulated machine has translated of it is gone.
    pub(crate) fn traced(&self, podproof: &Path, busybox: &Path, bundles: &Bundles) -> Res<Vec<Value>> {
        fs::create_dir_all(&self.root)?;
        let bundle = bundles.ending.display().to_string();
        let run = self.command(&["run", "--bundle", &bundle, "run"]);
        let trace = self.root.with_extension("trace");
        let mut command = Command::new(podproof);
        command.args(["trace", "--format", "json", "--output"]).arg(&trace).arg("--");
        command.arg(busybox).args(["sh", "-c", "\"$@\" && exec \"$@\"", "sh"]);
        command.arg(run.get_program()).args(run.get_args());
        timed(&mut command)?;
        let text = fs::read_to_string(&trace)?;
        let mut events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let path = self.path.display().to_string();
        let is_exec = |event: &Value| event["event"] == "exec" && event["filename"] == *path;
        let second = events.iter().rposition(is_exec);
        let second = second.ok_or_else(|| format!("the trace does not show the exec of {path}"))?;
        Ok(events.split_off(second))
    }

    /// Does each wanted case once.
    pub(crate) fn turn(&self, bundles: &Bundles, wants: impl Fn(Case) -> bool) -> Done {
        let mut done = Vec::new();
        if wants(Case::RunTrue) {
            let bundle = bundles.ending.display().to_string();
            done.push((Case::RunTrue, self.call(&["run", "--bundle", &bundle, "run"])));
        }
        if wants(Case::Create)
            && let Err(error) = self.life(bundles, &wants, &mut done)
        {
            done.push((Case::Create, Err(error)));
        }
        if wants(Case::Sandbox) {
            done.push((Case::Sandbox, self.sandbox(bundles)));
        }
        done
    }

    /// Create, start, exec and delete of one container.
    fn life(&self, bundles: &Bundles, wants: impl Fn(Case) -> bool, done: &mut Done) -> Res<()> {
        let (container, create) = self.created("life", &bundles.sleeping)?;
        let start = self.call(&["start", "life"]);
        container.wait_program()?;
        let exec = wants(Case::Exec).then(|| self.call(&["exec", "life", "/bin/true"]));
        container.kill()?;
        let delete = self.call(&["delete", "life"]);
        done.push((Case::Create, Ok(create)));
        done.push((Case::Start, start));
        done.extend(exec.map(|exec| (Case::Exec, exec)));
        done.push((Case::Delete, delete));
        Ok(())
    }

    fn sandbox(&self, bundles: &Bundles) -> Res<u64> {
        let (sandbox, mut ns) = self.started("sandbox", &bundles.sleeping)?;
        let bundle = bundles.join(sandbox.pid)?;
        let mut containers = vec![sandbox];
        for id in ["first", "second"] {
            let (container, took) = self.started(id, bundle)?;
            containers.push(container);
            ns += took;
        }
        for container in containers {
            container.end()?;
        }
        Ok(ns)
    }

    /// Creates a container; it and the time.
    pub(crate) fn created(&self, id: &str, bundle: &Path) -> Res<(Container<'_>, u64)> {
        let pid_file = self.root.with_extension("pid");
        let (bundle, file) = (bundle.display().to_string(), pid_file.display().to_string());
        let ns = self.call(&["create", "--bundle", &bundle, "--pid-file", &file, id])?;
        let pid = fs::read_to_string(&pid_file)?.trim().parse()?;
        Ok((Container { runtime: self, id: id.to_owned(), pid }, ns))
    }

    /// Creates and starts a container; it and the time of both.
    pub(crate) fn started(&self, id: &str, bundle: &Path) -> Res<(Container<'_>, u64)> {
        let (container, create) = self.created(id, bundle)?;
        let start = self.call(&["start", id])?;
        container.wait_program()?;
        Ok((container, create + start))
    }
}

impl Container<'_> {
    /// Waits until the program runs: the start of some runtimes returns before. Not timed, since who asks in a loop takes
    /// the time of whom it asks about.
    fn wait_program(&self) -> Res<()> {
        let since = Instant::now();
        loop {
            let program = fs::read_to_string(format!("/proc/{}/cmdline", self.pid))?;
            if program.starts_with("/bin/pause") {
                return Ok(());
            }
            if since.elapsed() > DEADLINE {
                return Err(format!("{} runs {program:?} after its start", self.id).into());
            }
            std::thread::yield_now();
        }
    }

    /// Ends the process and waits for its end.
    fn kill(&self) -> Res<()> {
        let pid = Pid::from_raw(self.pid);
        kill(pid, Signal::SIGKILL)?;
        waitpid(pid, None)?;
        Ok(())
    }

    /// Ends and deletes the container.
    pub(crate) fn end(self) -> Res<()> {
        self.kill()?;
        self.runtime.call(&["delete", &self.id]).map(drop)
    }
}
