//! containerd: ctr and the shim `io.containerd.runc.v2` with podrt as its runc.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use libtest_mimic::Failed;
use nix::errno::Errno;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::prctl;

use crate::machine::{Snapshot, cgroup_file, ends_with, expect, output, rootfs, runtime, told, until};
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("runs_a_container_and_gives_output_and_code", run),
    ("executes_in_a_container", exec),
    ("gives_a_terminal", terminal),
    ("sets_limits_and_shows_them", limits),
    ("pauses_and_shows_processes", pause),
    ("kills_and_deletes", kill),
    ("filters_system_calls", seccomp),
];

/// Started once; it ends with this program.
static DAEMON: OnceLock<Result<Child, String>> = OnceLock::new();

fn start() -> Result<Child, String> {
    let failed = |what: &str| format!("containerd: {what}");
    // Shims outlive the daemon; they become our children.
    prctl::set_child_subreaper(true).map_err(|errno| failed(errno.desc()))?;
    let mut child = Command::new("containerd")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    let log = child.stderr.take().ok_or_else(|| failed("no pipe"))?;
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let mut said = Vec::new();
    for line in lines.by_ref() {
        if line.contains("containerd successfully booted") {
            // It must not meet a closed pipe.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(child);
        }
        said.push(line);
    }
    Err(failed(&said.join("\n")))
}

/// Starts the daemon if it does not run, runs the test, and fails if it leaves anything.
fn clean(test: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    if let Err(reason) = DAEMON.get_or_init(start) {
        return fail(reason);
    }
    // Runtimes differ in whether they remove the parent of the cgroups, which belongs to nobody.
    fs::create_dir_all("/sys/fs/cgroup/default")?;
    let before = Snapshot::take()?;
    let result = test();
    for id in ctr(0, &["containers", "list", "--quiet"])?.lines() {
        // Best effort, after a test that has failed.
        if result.is_err() {
            drop(ctr(0, &["tasks", "kill", "--signal", "KILL", id]));
            drop(ctr(0, &["tasks", "delete", "--force", id]));
            drop(ctr(0, &["containers", "delete", id]));
        } else {
            return fail(format!("left behind: container {id}"));
        }
    }
    result?;
    before.expect_nothing_new()
}

fn ctr(code: i32, args: &[&str]) -> Result<String, Failed> {
    ends_with(code, "ctr", args)
}

/// The arguments of `ctr run` with the runtime under test.
fn run_arguments(options: &[&str], id: &str, command: &[&str]) -> Result<Vec<String>, Failed> {
    let (root, runtime) = (rootfs()?.display().to_string(), runtime());
    let head = ["run", "--runtime", "io.containerd.runc.v2", "--runc-binary", &runtime];
    let tail = ["--rootfs", &root, id];
    Ok(head.iter().chain(options).chain(&tail).chain(command).map(|word| (*word).to_owned()).collect())
}

fn ctr_run(code: i32, options: &[&str], id: &str, command: &[&str]) -> Result<String, Failed> {
    let arguments = run_arguments(options, id, command)?;
    ctr(code, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn detached(options: &[&str], id: &str) -> Result<(), Failed> {
    let options: Vec<&str> = ["--detach"].iter().chain(options).copied().collect();
    ctr_run(0, &options, id, &["/bin/sleep", "1000"]).map(drop)
}

/// Status of a task, in containerd's words; empty without one.
fn status(id: &str) -> Result<String, Failed> {
    let list = ctr(0, &["tasks", "list"])?;
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(id));
    Ok(line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or_default().to_owned())
}

fn pid(id: &str) -> Result<String, Failed> {
    let list = ctr(0, &["tasks", "list"])?;
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(id));
    Ok(line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().to_owned())
}

/// Deletes a task that has ended, or ends soon, with this code.
fn delete(id: &str, code: i32) -> Result<(), Failed> {
    until("STOPPED", || status(id))?;
    let ended = output("ctr", &["tasks", "delete", id])?;
    // Its own exit code is 0; that of the task is in a warning.
    if !String::from_utf8_lossy(&ended.stderr).contains(&format!("non-zero exit code {code}\"")) {
        return fail(told(&format!("instead of exit code {code}"), &ended));
    }
    ctr(0, &["containers", "delete", id]).map(drop)
}

fn remove(id: &str) -> Result<(), Failed> {
    ctr(0, &["tasks", "kill", "--signal", "KILL", id])?;
    delete(id, 128 + 9)
}

fn run() -> Result<(), Failed> {
    clean(|| {
        let script = "echo $COLOUR $$; id -u; pwd; exit 7";
        let options = ["--rm", "--env", "COLOUR=blue", "--cwd", "/tmp"];
        let said = ctr_run(7, &options, "one", &["/bin/sh", "-c", script])?;
        expect("the output", said, "blue 1\n0\n/tmp")?;
        // The cause must come through: containerd takes it from the runtime's log.
        let arguments = run_arguments(&["--rm"], "none", &["/no/such/program"])?;
        let error = output("ctr", &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        let said = String::from_utf8_lossy(&error.stderr).into_owned();
        if error.status.success() || !said.contains("/no/such/program") {
            return fail(format!("a program that is not there: {said:?}"));
        }
        Ok(())
    })
}

fn exec() -> Result<(), Failed> {
    clean(|| {
        detached(&[], "two")?;
        let script = "echo in exec; pwd; exit 5";
        let said =
            ctr(5, &["tasks", "exec", "--exec-id", "e1", "--cwd", "/tmp", "two", "/bin/sh", "-c", script])?;
        expect("the output", said, "in exec\n/tmp")?;
        let said = ctr(0, &["tasks", "exec", "--exec-id", "e2", "--user", "12:34", "two", "/bin/id", "-u"])?;
        expect("the user", said, "12")?;
        let home = ["/bin/sh", "-c", "echo $HOME"];
        let said = ctr(0, &[&["tasks", "exec", "--exec-id", "e3", "two"], home.as_slice()].concat())?;
        expect("the home", said, "/home-of-root")?;
        remove("two")
    })
}

fn terminal() -> Result<(), Failed> {
    clean(|| {
        // ctr wants a terminal itself.
        let OpenptyResult { master, slave } = openpty(None, None)?;
        let mut child = Command::new("ctr")
            .args(run_arguments(&["--rm", "--tty"], "three", &["/bin/tty"])?)
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave)
            .spawn()?;
        let mut said = Vec::new();
        // The last descriptor of the other end gone is an error here.
        if let Err(error) = fs::File::from(master).read_to_end(&mut said)
            && error.raw_os_error() != Some(Errno::EIO as i32)
        {
            return Err(error.into());
        }
        expect("the exit status", child.wait()?.to_string(), "exit status: 0")?;
        expect("the terminal", String::from_utf8(said)?, "/dev/pts/0")
    })
}

fn limits() -> Result<(), Failed> {
    clean(|| {
        detached(&["--memory-limit", "67108864", "--cpus", "0.5"], "four")?;
        let pid = pid("four")?;
        expect("memory.max", cgroup_file(&pid, "memory.max")?, "67108864")?;
        expect("cpu.max", cgroup_file(&pid, "cpu.max")?, "50000 100000")?;
        let metrics = ctr(0, &["tasks", "metrics", "--format", "json", "four"])?;
        if !metrics.contains("\"usage_limit\": 67108864") {
            return fail(format!("no limit of memory in the metrics: {metrics}"));
        }
        remove("four")
    })
}

fn pause() -> Result<(), Failed> {
    clean(|| {
        detached(&[], "five")?;
        ctr(0, &["tasks", "pause", "five"])?;
        expect("the status", status("five")?, "PAUSED")?;
        ctr(0, &["tasks", "resume", "five"])?;
        expect("the status", status("five")?, "RUNNING")?;
        let (processes, pid) = (ctr(0, &["tasks", "ps", "five"])?, pid("five")?);
        if !processes.lines().any(|line| line.split_whitespace().next() == Some(&pid)) {
            return fail(format!("{pid} is not among the processes: {processes}"));
        }
        remove("five")
    })
}

fn kill() -> Result<(), Failed> {
    clean(|| {
        let script = "trap 'exit 3' TERM; echo ready > /tmp/ready; sleep 1000 & wait";
        let options = ["--detach", "--mount", "type=tmpfs,src=tmpfs,dst=/tmp"];
        ctr_run(0, &options, "six", &["/bin/sh", "-c", script])?;
        let ready = format!("/proc/{}/root/tmp/ready", pid("six")?);
        until("ready", || Ok(fs::read_to_string(&ready).unwrap_or_default()))?;
        ctr(0, &["tasks", "kill", "six"])?;
        delete("six", 3)
    })
}

fn seccomp() -> Result<(), Failed> {
    clean(|| {
        let script =
            "while read -r name value; do [ $name = Seccomp: ] && echo $value; done < /proc/self/status";
        let said =
            ctr_run(0, &["--rm", "--seccomp"], "seven", &["/bin/sh", "-c", &format!("{script}; true")])?;
        expect("the mode", said, "2")
    })
}
