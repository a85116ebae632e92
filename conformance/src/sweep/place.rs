//! Where a sweep takes place: its directories, cgroup and processes. It starts the runtime's commands, reaps what they orphan,
//! takes snapshots, and removes what a runtime has left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde_json::json;

use super::scene::owned;
use super::{SweepError, pods};
use crate::adapter::oci::{self, OciRuntime};
use crate::bundle::{Bundle, NsSource};
use crate::children::take_ended;
use crate::interrupt;
use crate::launcher::{descendants, unblock_all, wait_readable};
use crate::observe::cgroup::{Cgroup, Layout};
use crate::observe::snapshot::{Object, Snapshot};
use crate::run::Programs;

/// Id of the container that is made and killed over and over.
pub(super) const ID: &str = "swept";
/// Id of the container whose namespaces another joins.
const SANDBOX: &str = "sandbox";
/// The bundle whose program stays until it is told to end.
pub(super) const STAYS: &str = "stays";
/// The bundle whose program ends at once.
pub(super) const ENDS: &str = "ends";
/// The bundle that joins the sandbox.
pub(super) const JOINS: &str = "joins";
/// The bundle of a container with what the others do not have: see [`Place::write_full`].
pub(super) const FULL: &str = "full";
/// `comm` of every program inside.
pub(super) const PROGRAM: &str = "swept-program";
/// A program for `exec` that ends at once.
pub(super) const SHORT_PROGRAM: &str = "/short/swept-program";

/// Where terminals come to, in the directory of the sweep.
const CONSOLE: &str = "data/console.sock";

/// Where files are looked for that a runtime leaves: the state root and the bundles are below the first.
const DIRS: [&str; 3] = ["/run", "/tmp", "/dev/shm"];

/// The place of a sweep.
#[derive(Debug)]
pub struct Place {
    runtime: OciRuntime,
    programs: Programs,
    dir: PathBuf,
    cgroup: String,
    layout: Layout,
    deadline_factor: f64,
    signals: SignalFd,
    /// Where terminals come to.
    console: UnixListener,
    /// Verbs that the runtime's help names.
    verbs: BTreeSet<String>,
    /// Processes that are there for the whole scene.
    known: BTreeSet<i32>,
    ended: BTreeMap<i32, ExitStatus>,
}

/// A command that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    line: String,
    /// `None` at the deadline, at which it was killed.
    pub(super) status: Option<ExitStatus>,
    said: String,
}

impl Ended {
    pub(super) fn is_good(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// How it ended, and its last words.
    pub(super) fn words(&self) -> String {
        let how = match self.status {
            None => "did not end in time and was killed".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exited with {code}"),
                (None, Some(signal)) => format!("was killed by signal {signal}"),
                (None, None) => status.to_string(),
            },
        };
        if self.said.is_empty() { how } else { format!("{how}: {}", self.said) }
    }

    pub(super) fn error(&self) -> SweepError {
        SweepError::Runtime { line: self.line.clone(), ended: self.words() }
    }
}

/// Blocks SIGCHLD, so that the end of a process can be waited for; to be called while there is one thread.
///
/// # Errors
/// The errno of sigprocmask(2) or signalfd(2).
pub fn take_ends() -> Result<SignalFd, Errno> {
    let mask: SigSet = [Signal::SIGCHLD].into_iter().collect();
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

impl Place {
    /// Makes the directories, the bundles and the cgroup of a sweep in `dir`, which must be empty; `signals` tells of the ends of
    /// processes ([`take_ends`]). The calling process adopts all orphans below it from here on.
    ///
    /// # Errors
    /// When the node refuses something, or the runtime does not answer `--help`.
    pub fn open(
        runtime: OciRuntime,
        programs: &Programs,
        dir: &Path,
        deadline_factor: f64,
        signals: SignalFd,
    ) -> Result<Self, SweepError> {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|errno| node("become the reaper of", dir)(errno.into()))?;
        let mark = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let layout = Layout::detect();
        let cgroup = format!("/{mark}");
        if layout == Layout::Unified {
            let group = Cgroup::at(&cgroup);
            group.create().map_err(node("make the cgroup", group.dir()))?;
        }
        for part in ["bundles", "programs", "data", "shared", "log"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(node("make", &path))?;
        }
        // Root of a user namespace comes through here as somebody else.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(node("chmod", dir))?;
        let console = dir.join(CONSOLE);
        let console = UnixListener::bind(&console)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(node("listen on", &console))?;
        let mut place = Self {
            runtime,
            programs: programs.clone(),
            dir: dir.to_owned(),
            cgroup,
            layout,
            deadline_factor,
            signals,
            console,
            verbs: BTreeSet::new(),
            known: BTreeSet::new(),
            ended: BTreeMap::new(),
        };
        place.copy_programs()?;
        place.write_bundle(&Bundle::witness(STAYS), false)?;
        let ends = Bundle::witness(ENDS).args(&[&format!("/{PROGRAM}"), "exit", "0"]);
        place.write_bundle(&ends, true)?;
        place.write_full()?;
        let mut help = place.command(&[]);
        help.arg("--help");
        let help = place.finish(help, &owned(&["--help"]))?;
        if !help.is_good() {
            return Err(help.error());
        }
        let text = fs::read_to_string(place.dir.join("log/out")).unwrap_or_default();
        place.verbs =
            text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
        if place.has_verb("pod") {
            pods::write(&place)?;
        }
        Ok(place)
    }

    /// Whether the runtime's help names this verb.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(verb)
    }

    /// The runtime.
    #[must_use]
    pub fn runtime(&self) -> &OciRuntime {
        &self.runtime
    }

    pub(super) fn bundle(&self, name: &str) -> PathBuf {
        self.dir.join("bundles").join(name)
    }

    /// A file of the sweep, which is not looked at.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The program of the sandbox of a pod.
    pub(super) fn pause(&self) -> &Path {
        &self.programs.pause
    }

    /// What the last command has printed.
    pub(super) fn printed(&self) -> Vec<u8> {
        fs::read(self.dir.join("log/out")).unwrap_or_default()
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.dir.join("data/pid")
    }

    pub(super) fn console_socket(&self) -> PathBuf {
        self.dir.join(CONSOLE)
    }

    /// A container in a user namespace, with hooks of all kinds, a filter of system calls, and a terminal.
    fn write_full(&self) -> Result<(), SweepError> {
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        let inside = json!([{ "path": SHORT_PROGRAM, "args": [PROGRAM, "exit", "0"] }]);
        let program = self.bundle(FULL).join("rootfs").join(SHORT_PROGRAM.trim_start_matches('/'));
        let outside = json!([{ "path": program, "args": [PROGRAM, "exit", "0"] }]);
        let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["swapon", "swapoff"], "action": "SCMP_ACT_ERRNO" }] });
        let terminals = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] });
        let mut bundle = Bundle::witness(FULL)
            .namespace("user", NsSource::New)
            .with("/linux/uidMappings", mapping.clone())
            .with("/linux/gidMappings", mapping)
            .with("/linux/seccomp", filter)
            .with("/process/terminal", true)
            .with("/mounts/-", terminals)
            .with("/hooks/startContainer", inside);
        for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            bundle = bundle.with(&format!("/hooks/{kind}"), outside.clone());
        }
        self.write_bundle(&bundle, false)
    }

    fn copy_programs(&mut self) -> Result<(), SweepError> {
        let copy = |from: &Path, name: &str| {
            let to = self.dir.join("programs").join(name);
            fs::copy(from, &to).map_err(node("copy", from))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).map_err(node("chmod", &to))?;
            Ok::<_, SweepError>(to)
        };
        self.programs = Programs {
            witness: copy(&self.programs.witness, "witness")?,
            pause: copy(&self.programs.pause, "pause")?,
            pause_args: Vec::new(),
        };
        Ok(())
    }

    /// A container with a bit of everything that has to be taken back. Its cgroup lies one level below a group that the runtime
    /// has to make.
    fn write_bundle(&self, bundle: &Bundle, ends: bool) -> Result<(), SweepError> {
        let dir = self.bundle(&bundle.name);
        let id = if bundle.name == SANDBOX { SANDBOX } else { ID };
        let program = format!("/{PROGRAM}");
        let mut bundle = bundle.clone();
        if !ends {
            bundle = bundle.args(&[&program]);
        }
        if self.layout == Layout::Unified {
            bundle = bundle.with(
                "/linux/resources",
                json!({ "memory": { "limit": 268_435_456 }, "cpu": { "quota": 50_000, "period": 100_000 },
                        "pids": { "limit": 64 } }),
            );
        }
        let bundle = bundle
            .with("/linux/maskedPaths", json!(["/proc/kcore", "/proc/keys"]))
            .with("/linux/readonlyPaths", json!(["/proc/sys"]));
        let config = bundle.config(&format!("{}/{id}-pod/{id}", self.cgroup), &self.dir.join("shared"));
        let source = if ends { &self.programs.witness } else { &self.programs.pause };
        let root =
            bundle.write(&dir, &config, &[(source, &program)]).map_err(node("write the bundle", &dir))?;
        let short = root.join(SHORT_PROGRAM.trim_start_matches('/'));
        let parent = short.parent().unwrap_or(&root);
        fs::create_dir_all(parent).map_err(node("make", parent))?;
        fs::hard_link(&self.programs.witness, &short).map_err(node("link", &short))
    }

    /// Runs a container that others join until [`Place::end_sandbox`].
    pub(super) fn run_sandbox(&mut self) -> Result<(), SweepError> {
        let bundle = Bundle::witness(SANDBOX);
        if !self.bundle(SANDBOX).exists() {
            self.write_bundle(&bundle, false)?;
        }
        let (dir, pid_file) = (self.bundle(SANDBOX), self.pid_file());
        let (dir, pid_path) = (dir.display().to_string(), pid_file.display().to_string());
        self.call(&owned(&["create", "--bundle", &dir, "--pid-file", &pid_path, SANDBOX]))?;
        self.call(&owned(&["start", SANDBOX]))?;
        let pid = fs::read_to_string(&pid_file).map_err(node("read", &pid_file))?;
        let mut joining = Bundle::witness(JOINS);
        for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            joining = joining.namespace(kind, NsSource::Path(format!("/proc/{}/ns/{file}", pid.trim())));
        }
        let dir = self.bundle(JOINS);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(node("clear", &dir))?;
        }
        self.write_bundle(&joining, false)?;
        self.known = descendants(own_pid()).into_iter().collect();
        Ok(())
    }

    pub(super) fn end_sandbox(&mut self) -> Result<(), SweepError> {
        self.known.clear();
        self.call(&owned(&["delete", "--force", SANDBOX]))?;
        self.settle().map(drop)
    }

    /// A call of the runtime that has not been started.
    pub(super) fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.runtime.path);
        command.arg("--root").arg(self.dir.join("state")).args(arguments).envs(&self.runtime.env);
        unblock_all(&mut command);
        command
    }

    /// Runs a call of the runtime, which has to succeed.
    pub(super) fn call(&mut self, arguments: &[String]) -> Result<(), SweepError> {
        let ended = self.finish(self.command(arguments), arguments)?;
        if ended.is_good() { Ok(()) } else { Err(ended.error()) }
    }

    /// Runs a command to its end, or kills it at its deadline.
    pub(super) fn finish(&mut self, mut command: Command, arguments: &[String]) -> Result<Ended, SweepError> {
        let (out, err) = (self.dir.join("log/out"), self.dir.join("log/err"));
        let create = |path: &Path| File::create(path).map_err(node("make", path));
        // What is known of orphans: numbers of processes come again.
        self.reap();
        self.ended.clear();
        let child = command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&err)?).spawn();
        let pid = child.map_err(node("execute", &self.runtime.path))?.id().cast_signed();
        let deadline = Instant::now() + self.deadline(20.0);
        let status = loop {
            self.reap();
            if let Some(status) = self.ended.remove(&pid) {
                break Some(status);
            }
            if Instant::now() >= deadline {
                signal(pid);
                break None;
            }
            self.wait(deadline)?;
        };
        let said = oci::last_line(&String::from_utf8_lossy(&fs::read(&err).unwrap_or_default()));
        Ok(Ended { line: format!("{} {}", self.runtime.name, arguments.join(" ")), status, said })
    }

    /// Lets the runtime clean up after an interrupted command; what it says when it cannot.
    pub(super) fn clean_up(&mut self, commands: &[Vec<String>]) -> Result<Vec<String>, SweepError> {
        let mut said = Vec::new();
        for arguments in commands {
            let ended = self.finish(self.command(arguments), arguments)?;
            if !ended.is_good() {
                said.push(format!("`{}` {}", ended.line, ended.words()));
            }
        }
        // With the connections go the terminals that were sent.
        while self.console.accept().is_ok() {}
        self.settle()?;
        // The caller asked for it, so it is the caller's.
        match fs::remove_file(self.pid_file()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(node("remove", &self.pid_file())(source))
            }
            _ => Ok(said),
        }
    }

    /// Waits until every process that was made here has ended, up to a deadline; those that have not.
    pub(super) fn settle(&mut self) -> Result<Vec<i32>, SweepError> {
        let deadline = Instant::now() + self.deadline(5.0);
        loop {
            self.reap();
            let left = self.strangers();
            if left.is_empty() || Instant::now() >= deadline {
                return Ok(left);
            }
            // The end of a grandchild is told to its parent only.
            self.wait(deadline.min(Instant::now() + Duration::from_millis(20)))?;
        }
    }

    /// Everything on the node that a runtime could leave.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.layout, &self.dir)
            .with_processes(&self.strangers())
            .with_namespaces()
            .with_files(&DIRS.map(Path::new), &[self.dir.join("log")])
    }

    /// Removes what a runtime has left, so that the next cut begins as this one did.
    pub(super) fn scrub(&mut self, left: &BTreeSet<Object>) -> Result<(), SweepError> {
        self.strangers().into_iter().for_each(signal);
        self.settle()?;
        // Children come after their parents in the order of paths.
        for object in left.iter().rev() {
            let done = match object {
                Object::Cgroup(path) => fs::remove_dir(path),
                Object::Mount { target, .. } => {
                    umount2(target.as_str(), MntFlags::MNT_DETACH).map_err(io::Error::from)
                }
                Object::File(path) => fs::remove_file(path).or_else(|_| fs::remove_dir_all(path)),
                _ => Ok(()),
            };
            if let Err(error) = done {
                tracing::debug!(%object, %error, "scrub");
            }
        }
        Ok(())
    }

    /// Removes what the sweep made; what is left.
    #[must_use]
    pub fn close(mut self) -> Vec<String> {
        self.known.clear();
        self.strangers().into_iter().for_each(signal);
        let mut left: Vec<String> = match self.settle() {
            Ok(pids) => pids.iter().map(|pid| format!("process {pid}")).collect(),
            Err(_interrupted) => Vec::new(),
        };
        for (path, error) in self.layout.remove(&self.cgroup, self.deadline(5.0)) {
            left.push(format!("cgroup {}: {error}", path.display()));
        }
        left
    }

    pub(super) fn deadline(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.deadline_factor)
    }

    /// Descendants that are not there for the whole scene.
    fn strangers(&self) -> Vec<i32> {
        // Orphans are adopted, so without a child there is no descendant; looking for some takes longer.
        if waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
            == Err(Errno::ECHILD)
        {
            return Vec::new();
        }
        descendants(own_pid()).into_iter().filter(|pid| !self.known.contains(pid)).collect()
    }

    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        while let Some((pid, status)) = take_ended(None) {
            self.ended.insert(pid, status);
        }
    }

    /// Lets some time pass, or less when a process ends.
    pub(super) fn rest(&mut self, time: Duration) -> Result<(), SweepError> {
        self.reap();
        self.wait(Instant::now() + time)
    }

    /// Until a process ends, or this moment.
    fn wait(&self, deadline: Instant) -> Result<(), SweepError> {
        let mut fds = vec![self.signals.as_fd()];
        fds.extend(interrupt::event());
        wait_readable(&fds, Some(deadline))
            .map_err(|errno| node("wait for", &self.runtime.path)(errno.into()))?;
        if interrupt::requested().is_some() { Err(SweepError::Interrupted) } else { Ok(()) }
    }
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

fn signal(pid: i32) {
    if let Err(errno) = kill(Pid::from_raw(pid), Signal::SIGKILL)
        && errno != Errno::ESRCH
    {
        tracing::warn!(pid, %errno, "kill a process of the sweep");
    }
}

pub(super) fn node(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path = path.to_owned();
    move |source| SweepError::Node { op, path, source }
}
