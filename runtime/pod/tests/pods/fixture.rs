//! A place for pods, and what the node looked like before.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::unistd::Pid;
use runtime::cgroup::group;
use runtime::sys::process;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fail;

/// What may take a moment on a loaded or emulated machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again, until it is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> Result<bool, Failed>) -> Result<(), Failed> {
    poll(|| Ok(if is_so()? { Ok(()) } else { Err(format!("waited for {what} in vain")) }))
}

/// Tries again and again, until there is something; each attempt that finds nothing tells what is said when it is the last.
fn poll<T>(mut attempt: impl FnMut() -> Result<Result<T, String>, Failed>) -> Result<T, Failed> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt()? {
            Ok(found) => return Ok(found),
            Err(message) if Instant::now() > deadline => return fail(message),
            Err(_) => {}
        }
    }
}

const BUSYBOX: &str = "/bin/busybox";

/// Why pods cannot run here.
pub(crate) fn missing_prerequisite() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    if !group::has_cgroup2() {
        return Some("/sys/fs/cgroup is not cgroup v2".to_owned());
    }
    if !Path::new(BUSYBOX).exists() {
        return Some(format!("no {BUSYBOX}"));
    }
    let has_overlay = fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("\toverlay"));
    (!has_overlay).then(|| "the kernel has no overlayfs".to_owned())
}

/// A directory with an image and a root of the pod layer, and a cgroup parent; all removed on drop.
pub(crate) struct Cell {
    directory: TempDir,
    cgroup: String,
    before: Snapshot,
}

/// What a pod could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    mounts: String,
    cgroups: BTreeSet<PathBuf>,
    links: BTreeSet<String>,
    pods: BTreeSet<PathBuf>,
    supervisors: BTreeSet<i32>,
}

impl Cell {
    pub(crate) fn new() -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let rootfs = directory.path().join("rootfs");
        for name in ["bin", "tmp", "etc", "data"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::copy(BUSYBOX, rootfs.join("bin/busybox"))?;
        let applets = Command::new(BUSYBOX).arg("--list").output()?;
        for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/srv/web:/bin/sh\n",
        )?;
        fs::write(rootfs.join("etc/group"), "root:x:0:\nweb:x:1001:\nextra:x:1002:web\n")?;
        let cgroup = format!("/podrt-test-{}", std::process::id());
        fs::create_dir_all(Path::new("/sys/fs/cgroup").join(&cgroup[1..]))?;
        let mut cell = Self { directory, cgroup, before: Snapshot::empty() };
        cell.before = cell.snapshot()?;
        Ok(cell)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    pub(crate) fn cgroup(&self, below: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(&self.cgroup[1..]).join(below)
    }

    /// The cgroup that pods are in, as a path of the hierarchy.
    pub(crate) fn cgroup_path(&self) -> &str {
        &self.cgroup
    }

    /// A container that runs a shell script.
    pub(crate) fn container(&self, name: &str, script: &str) -> Value {
        json!({
            "name": name,
            "image": self.path().join("rootfs"),
            "command": ["/bin/sh", "-c", script],
        })
    }

    /// A pod of these containers.
    pub(crate) fn pod(&self, name: &str, containers: &[Value]) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": containers},
        })
    }

    /// The program, to be given a verb.
    pub(crate) fn program(&self) -> Command {
        let program = std::env::var_os("PODRT_POD").unwrap_or_else(|| env!("CARGO_BIN_EXE_podrt-pod").into());
        let mut command = Command::new(program);
        command.arg("--root").arg(self.root()).stdin(Stdio::null());
        command
    }

    /// The command that runs or creates a pod, with a network of its own that has loopback only.
    pub(crate) fn command(&self, verb: &str, manifest: &Value, more: &[&str]) -> Result<Command, Failed> {
        let path = self.path().join("manifest.json");
        fs::write(&path, manifest.to_string())?;
        let mut command = self.program();
        command.arg(verb).arg(path).arg("--cgroup-parent").arg(&self.cgroup);
        if !more.contains(&"--network") {
            command.args(["--network", "none"]);
        }
        if let Some(pause) = std::env::var_os("PODRT_PAUSE").filter(|_| !more.contains(&"--pause")) {
            command.arg("--pause").arg(pause);
        }
        command.args(more);
        Ok(command)
    }

    /// Runs a pod, which must succeed.
    pub(crate) fn run(&self, manifest: &Value, more: &[&str]) -> Result<(), Failed> {
        succeed(self.command("run", manifest, more)?).map(drop)
    }

    /// Runs a pod, well or not.
    pub(crate) fn try_run(&self, manifest: &Value, more: &[&str]) -> Result<Output, Failed> {
        output(self.command("run", manifest, more)?)
    }

    /// Runs a pod, which must fail; what it says.
    pub(crate) fn refused(&self, manifest: &Value, more: &[&str]) -> Result<String, Failed> {
        refuse(&self.try_run(manifest, more)?)
    }

    /// Another verb.
    pub(crate) fn call(&self, args: &[&str]) -> Result<Output, Failed> {
        let mut command = self.program();
        command.args(args);
        output(command)
    }

    /// Another verb, which is not waited for.
    pub(crate) fn spawn(&self, args: &[&str]) -> Result<Child, Failed> {
        Ok(self.program().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// Another verb, which must succeed; its output.
    pub(crate) fn ok(&self, args: &[&str]) -> Result<String, Failed> {
        let mut command = self.program();
        command.args(args);
        succeed(command)
    }

    /// Another verb, which must fail with exit code 1; what it says.
    pub(crate) fn fails(&self, args: &[&str]) -> Result<String, Failed> {
        refuse(&self.call(args)?)
    }

    pub(crate) fn inspect(&self, pod: &str) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.ok(&["inspect", pod])?)?)
    }

    /// What `inspect` says of a container.
    pub(crate) fn container_status(&self, pod: &str, container: &str) -> Result<Value, Failed> {
        let document = self.inspect(pod)?;
        match status(&document, container) {
            Value::Null => fail(format!("no container {container} in {document}")),
            status => Ok(status.clone()),
        }
    }

    /// Waits until what `inspect` says is as wanted.
    pub(crate) fn until(
        &self,
        pod: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failed> {
        poll(|| {
            let document = self.inspect(pod)?;
            let is_so = is_so(&document);
            Ok(if is_so { Ok(document) } else { Err(format!("pod {pod} was never {what}: {document}")) })
        })
    }

    /// The output of a container so far.
    pub(crate) fn logs(&self, pod: &str, container: &str) -> Result<String, Failed> {
        self.ok(&["logs", pod, "-c", container])
    }

    /// Waits for a line in the output of a container.
    pub(crate) fn until_logged(&self, pod: &str, container: &str, line: &str) -> Result<(), Failed> {
        poll(|| {
            let output = self.call(&["logs", pod, "-c", container])?;
            let text = String::from_utf8_lossy(&output.stdout);
            let is_there = text.lines().any(|have| have == line);
            let message = || format!("container {container} of pod {pod} never wrote {line:?}: {text:?}");
            Ok(is_there.then_some(()).ok_or_else(message))
        })
    }

    /// Removes pods, and checks that nothing is left.
    pub(crate) fn clean(&self, pods: &[&str]) -> Result<(), Failed> {
        self.ok(&[&["rm", "--force"], pods].concat())?;
        self.expect_clean()
    }

    /// Checks that nothing is there that was not there before.
    pub(crate) fn expect_clean(&self) -> Result<(), Failed> {
        poll(|| {
            let now = self.snapshot()?;
            let message = || format!("left behind: {now:?}\nbefore: {:?}", self.before);
            Ok((now == self.before).then_some(()).ok_or_else(message))
        })
    }

    fn snapshot(&self) -> Result<Snapshot, Failed> {
        let mut cgroups = BTreeSet::new();
        let mut pending = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    pending.push(entry.path());
                    cgroups.insert(entry.path());
                }
            }
        }
        let names = |path: &Path| -> BTreeSet<PathBuf> {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let links = names(Path::new("/sys/class/net"));
        let links = links.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        // The others are in cgroups.
        let processes = names(Path::new("/proc"));
        let processes = processes.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
        let is_supervisor = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "podrt-pod")
        };
        Ok(Snapshot {
            mounts: fs::read_to_string("/proc/self/mounts")?,
            cgroups,
            links: links.collect(),
            pods: names(&self.root().join("pods")),
            supervisors: processes.filter(is_supervisor).collect(),
        })
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // Best effort: the test has said what it has to say.
        for pod in fs::read_dir(self.root().join("pods")).into_iter().flatten().flatten() {
            if let Some(name) = pod.file_name().to_str() {
                drop(self.call(&["rm", "--force", name]));
            }
        }
        drop(fs::remove_dir(self.cgroup("")));
    }
}

impl Snapshot {
    fn empty() -> Self {
        Self {
            mounts: String::new(),
            cgroups: BTreeSet::new(),
            links: BTreeSet::new(),
            pods: BTreeSet::new(),
            supervisors: BTreeSet::new(),
        }
    }
}

/// Runs a command to its end, which has to come in time.
pub(crate) fn output(mut command: Command) -> Result<Output, Failed> {
    // Files: a pipe would hold up a command that writes much.
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let child = command.stdout(out.try_clone()?).stderr(err.try_clone()?).spawn()?;
    let status = match wait(child) {
        Ok(output) => output.status,
        Err(error) => return fail(format!("{command:?}: {}", error.message().unwrap_or_default())),
    };
    let read = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map(|_| bytes)
    };
    Ok(Output { status, stdout: read(&mut out)?, stderr: read(&mut err)? })
}

/// Waits for a command, which has to end in time.
pub(crate) fn wait(child: Child) -> Result<Output, Failed> {
    let pidfd = process::pidfd_open(Pid::from_raw(i32::try_from(child.id())?))?;
    if !process::wait_end(pidfd.as_fd(), DEADLINE)? {
        process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL)?;
        return fail(format!("did not end in {} s", DEADLINE.as_secs()));
    }
    Ok(child.wait_with_output()?)
}

/// The status of a container in what `inspect` says of its pod; null for one that it does not have.
pub(crate) fn status<'a>(document: &'a Value, container: &str) -> &'a Value {
    let list = document["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().find(|status| status["name"] == container).unwrap_or(&Value::Null)
}

fn succeed(command: Command) -> Result<String, Failed> {
    let line = format!("{command:?}");
    let output = output(command)?;
    if !output.status.success() {
        return fail(format!("{line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What a command said that had to fail with exit code 1.
pub(crate) fn refuse(output: &Output) -> Result<String, Failed> {
    match output.status.code() {
        Some(1) => Ok(String::from_utf8_lossy(&output.stderr).into_owned()),
        other => {
            fail(format!("ended with {other:?} instead of 1: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }
}
