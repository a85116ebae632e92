//! One run of a container: from its image to its process, and back to nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use runtime::launch::{self, CreateRequest, FailAt, LaunchError};
use runtime::plan::Plan;
use runtime::spec::{ContainerId, config};
use runtime::state::StateRoot;
use runtime::sys::clone::Cloned;
use runtime::sys::process::pidfd_send_signal;
use runtime::sys::wait::Ended;
use serde_json::Value;

use super::layers::OldLayers;
use super::node::Node;
use super::output::{Output, with_output};
use super::rootfs;
use crate::image::{UserIds, resolve_uid, resolve_user};
use crate::logs::{self, Limits, LogWriter};
use crate::machine::Exit;
use crate::plan::container::{Facts, PlanError, config as container_config};
use crate::plan::{Places, Sandbox};
use crate::spec::{ContainerSpec, SeccompProfile};
use crate::state::{PodDir, PodRecord, StoredImage};

/// How long a container's process may take to answer before its program begins: who shares its pid namespace can stop it, and one
/// that is waited for holds up all others.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// As much of the end of a termination message as the kubelet reads, and keeps of those of all containers of a pod together.
const MESSAGE_BYTES: u64 = 4096;
const MESSAGES_BYTES: usize = 12 << 10;
/// As much of a log as takes its place, where there is none: the last so many lines, and bytes.
const LOG_TAIL_LINES: usize = 80;
const LOG_TAIL_BYTES: usize = 2048;

/// A container whose process lives, or has just ended.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Cloned,
    pub(super) output: Output,
    root: rootfs::Held,
}

/// Where and with what containers are made.
#[derive(Debug)]
pub(super) struct Workshop<'a> {
    pub(super) pod: &'a PodDir,
    /// The state root of the pod's containers.
    pub(super) containers: StateRoot,
    pub(super) record: &'a PodRecord,
    pub(super) places: &'a Places,
    pub(super) node: &'a Node,
    /// `/dev/null`.
    pub(super) null: &'a OwnedFd,
    /// By name, the last configuration of each container.
    pub(super) prepared: RefCell<BTreeMap<String, Rc<Prepared>>>,
    /// Roots of containers that have ended, to be let go when there is time.
    pub(super) old_roots: RefCell<Vec<rootfs::Held>>,
    /// Their writable layers.
    pub(super) old_layers: RefCell<OldLayers>,
}

/// A configuration, which is in the bundle, and what is to be done for it. Mostly the next run's is the same.
#[derive(Debug)]
pub(super) struct Prepared {
    found: Found,
    spec: runtime::spec::ContainerSpec,
    plan: Plan,
}

/// What can differ from run to run of a container.
#[derive(Debug, PartialEq)]
struct Found {
    user: UserIds,
    sandbox: Sandbox,
    seccomp: Option<Value>,
}

/// Why a container does not run: the word of the API, and the reason.
#[derive(Debug)]
pub(super) struct NotStarted {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Workshop<'_> {
    /// Creates and starts the `run`th run of a container, counted from 0. Nothing is left of one that fails.
    pub(super) fn start(&self, index: usize, run: u32, sandbox: Sandbox) -> Result<Running, NotStarted> {
        let not_created = |error: anyhow::Error| {
            // What the container layer refuses is an end like any other; what comes before it is tried again.
            let reason = if error.is::<LaunchError>() {
                "RunContainerError"
            } else if error.is::<PlanError>() {
                "CreateContainerConfigError"
            } else {
                "CreateContainerError"
            };
            NotStarted { reason, message: format!("{error:#}") }
        };
        let (Some(spec), Some(image)) =
            (self.record.spec.containers.get(index), self.record.images.get(index))
        else {
            return Err(not_created(anyhow!("no container {index}")));
        };
        let id = id(&spec.name).map_err(not_created)?;
        let created = self.create(&id, spec, image, run, sandbox);
        // A container has a mount of its own.
        rootfs::detach_root(&self.pod.bundle(&spec.name));
        let running = created.map_err(|error| {
            self.take_away(spec);
            self.forget_failed(&spec.name, run);
            not_created(error)
        })?;
        self.let_go();
        self.forget(&spec.name, run);
        Ok(running)
    }

    fn create(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        image: &StoredImage,
        run: u32,
        sandbox: Sandbox,
    ) -> Result<Running> {
        let Self { pod, record, places, null, .. } = self;
        let bundle = pod.bundle(&spec.name);
        let root = rootfs::mount_root(&bundle, &image.layers, run)?;
        rootfs::attach_sub_paths(&record.spec, spec, places)?;
        self.make_message_file(spec)?;
        let user = resolve(spec, image, root.as_fd())?;
        let found = Found { user, sandbox, seccomp: localhost_profile(&spec.security.seccomp)? };
        let prepared = self.prepare(id, spec, image, found)?;

        let log = pod.log(&spec.name, run);
        rootfs::present(log.parent().unwrap_or(&log), 0o755)?;
        let limits = Limits { max_bytes: record.log_max_bytes, max_files: record.log_max_files };
        let log = LogWriter::open(&log, limits).with_context(|| format!("open the log {}", log.display()))?;
        let (output, ends) = Output::new(log).context("make the pipes of the output")?;
        let process = with_output(&ends, null, || self.run(id, &bundle, &prepared.spec, &prepared.plan))
            .context("give the container its output")??;
        Ok(Running { process, output, root })
    }

    /// Creates and starts a container from its finished bundle.
    pub(super) fn run(
        &self,
        id: &ContainerId,
        bundle: &Path,
        spec: &runtime::spec::ContainerSpec,
        plan: &Plan,
    ) -> Result<Cloned> {
        let root = &self.containers;
        Ok(launch::run(&CreateRequest {
            id,
            bundle,
            spec,
            plan,
            root,
            preserve_fds: 0,
            console: None,
            answer_within: Some(ANSWER_WITHIN),
            fail_at: FailAt::Never,
        })?)
    }

    /// Writes a bundle's configuration, and makes the plan for it.
    pub(super) fn configure(
        &self,
        id: &ContainerId,
        bundle: &Path,
        document: &str,
    ) -> Result<(runtime::spec::ContainerSpec, Plan)> {
        let path = bundle.join("config.json");
        fs::write(&path, document).with_context(|| format!("write {}", path.display()))?;
        let spec = config::parse(document, bundle)?;
        let plan = runtime::plan::plan(id, &spec, None, &self.node.kernel)?;
        Ok((spec, plan))
    }

    fn prepare(
        &self,
        id: &ContainerId,
        container: &ContainerSpec,
        image: &StoredImage,
        found: Found,
    ) -> Result<Rc<Prepared>> {
        let Self { pod, record, places, node, .. } = self;
        let mut all = self.prepared.borrow_mut();
        if let Some(last) = all.get(id.as_str()).filter(|last| last.found == found) {
            return Ok(Rc::clone(last));
        }
        let facts = Facts {
            image: &image.config,
            user: &found.user,
            sandbox: found.sandbox,
            node_memory_bytes: node.memory_bytes,
            has_swap_max: node.has_swap_max,
            capabilities: &node.capabilities,
            seccomp: found.seccomp.as_ref(),
        };
        let document = container_config(&record.spec, container, places, &facts)?.to_string();
        let (spec, plan) = self.configure(id, &pod.bundle(&container.name), &document)?;
        let prepared = Rc::new(Prepared { found, spec, plan });
        all.insert(id.to_string(), Rc::clone(&prepared));
        Ok(prepared)
    }

    fn make_message_file(&self, spec: &ContainerSpec) -> Result<()> {
        let path = self.places.message(&spec.name);
        rootfs::present(path.parent().unwrap_or(&path), 0o755)?;
        // Anybody in the container may write it.
        let mut options = fs::OpenOptions::new();
        let made = options.write(true).create(true).truncate(true).mode(0o666).open(&path);
        made.and_then(|file| file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)))
            .with_context(|| format!("make {}", path.display()))
    }

    /// Removes what is left of a container whose process has ended, and tells how that was.
    pub(super) fn end(&self, index: usize, running: Running, ended: Ended, buffer: &mut [u8]) -> Exit {
        let Some(spec) = self.record.spec.containers.get(index) else {
            return Exit { code: 128, signal: None, is_oom: false, message: String::new() };
        };
        let is_oom = self.has_oom_kill(&spec.name);
        self.take_away(spec);
        self.old_roots.borrow_mut().push(running.root);
        running.output.finish(buffer);
        let (code, signal) = (ended.code(), ended.signal());
        let mut message = self.message(&spec.name);
        if message.is_empty() && code != 0 && spec.is_message_from_logs {
            message = self.log_tail(spec);
        }
        // As the kubelet: the end of the file, and the begin of that where many containers share what a status may have.
        message.truncate(MESSAGES_BYTES / self.record.spec.containers.len().max(1));
        Exit { code, signal, is_oom, message: String::from_utf8_lossy(&message).into_owned() }
    }

    /// Kills what is left in the container's cgroup, and removes cgroup, state and mounts. What fails is found again by the
    /// pod's removal.
    fn take_away(&self, spec: &ContainerSpec) {
        if let Ok(id) = id(&spec.name) {
            drop(launch::delete(&self.containers, &id, true));
        }
        rootfs::detach_sub_paths(spec, self.places);
    }

    fn has_oom_kill(&self, name: &str) -> bool {
        let directory = Path::new(runtime::cgroup::MOUNT_POINT)
            .join(self.places.cgroup.strip_prefix("/").unwrap_or(&self.places.cgroup))
            .join(name);
        let text = fs::read_to_string(directory.join("memory.events")).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
    }

    /// The end of the termination message.
    fn message(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        // The container may have put anything in its place, but not elsewhere: the file was mounted.
        if let Ok(mut file) = File::open(self.places.message(name)) {
            let size = file.metadata().map_or(0, |file| file.len());
            let from = SeekFrom::Start(size.saturating_sub(MESSAGE_BYTES));
            drop(file.seek(from).and_then(|_| file.take(MESSAGE_BYTES).read_to_end(&mut bytes)));
        }
        bytes
    }

    /// Takes down what ended containers have left mounted.
    pub(super) fn let_go(&self) {
        self.old_roots.borrow_mut().clear();
    }

    /// Removes the logs of the runs before the last, and the writable layers of all before this one, once it runs. As with the
    /// kubelet, a container that is restarted for ever must not fill the disk. What fails is tried again with the next run.
    fn forget(&self, name: &str, run: u32) {
        self.remove_layers(rootfs::other_layers(&self.pod.bundle(name), run).unwrap_or_default());
        let runs = logs::attempts(&self.pod.logs(name)).unwrap_or_default();
        let last = runs.iter().copied().filter(|old| *old < run).max();
        for old in runs.into_iter().filter(|old| Some(*old) < last) {
            drop(logs::remove(&self.pod.log(name, old)));
        }
    }

    /// Removes writable layers: small ones at once, of large ones as much as there is time for in each turn of the loop.
    fn remove_layers(&self, layers: impl IntoIterator<Item = PathBuf>) {
        let mut old = self.old_layers.borrow_mut();
        old.extend(layers);
        old.go_on();
    }

    /// Removes layer and log of a run that has not begun.
    fn forget_failed(&self, name: &str, run: u32) {
        // Its name is needed when it is tried again.
        self.remove_layers(rootfs::set_aside(&self.pod.bundle(name), run));
        let log = self.pod.log(name, run);
        if fs::metadata(&log).is_ok_and(|log| log.len() == 0) {
            drop(logs::remove(&log));
        }
    }

    /// The end of the last log, as the API's `FallbackToLogsOnError` shows it.
    fn log_tail(&self, spec: &ContainerSpec) -> Vec<u8> {
        let text = RefCell::new(Vec::new());
        let options = logs::Options { tail: Some(LOG_TAIL_LINES), ..Default::default() };
        let (mut out, mut err) = (End(&text), End(&text));
        drop(logs::read(&self.pod.logs(&spec.name), &options, &mut out, &mut err, || true));
        text.into_inner()
    }
}

/// Keeps the end of what is written to it: a line can be as long as a log.
struct End<'a>(&'a RefCell<Vec<u8>>);

impl Write for End<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.borrow_mut();
        text.extend_from_slice(&bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..]);
        let excess = text.len().saturating_sub(LOG_TAIL_BYTES);
        text.drain(..excess);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Running {
    /// Sends a signal to the container's process, wherever it is by now. That it has ended is no error.
    pub(super) fn signal(&self, number: i32) {
        let _ended = pidfd_send_signal(self.process.pidfd.as_fd(), number);
    }

    /// Kills all that is in the container's cgroup, and its process, which may have left that.
    pub(super) fn kill(&self, pod: &PodDir, name: &str) {
        let number = Signal::SIGKILL as i32;
        if let Ok(id) = id(name) {
            // What it cannot kill ends when the process has ended.
            drop(launch::kill(&pod.containers(), &id, number, true));
        }
        self.signal(number);
    }
}

pub(super) fn id(name: &str) -> Result<ContainerId> {
    Ok(name.parse()?)
}

/// Who a container is to run as, by its root file system.
fn resolve(spec: &ContainerSpec, image: &StoredImage, root: BorrowedFd<'_>) -> Result<UserIds> {
    let named = image.config.user.as_deref().filter(|named| !named.is_empty());
    let mut user = match (spec.security.user, named) {
        (Some(uid), _) => resolve_uid(root, uid)?,
        (None, Some(named)) => resolve_user(root, named)?,
        (None, None) => resolve_uid(root, 0)?,
    };
    if let Some(gid) = spec.security.group {
        user.gid = gid;
    }
    Ok(user)
}

fn localhost_profile(profile: &SeccompProfile) -> Result<Option<Value>> {
    let SeccompProfile::Localhost(path) = profile else { return Ok(None) };
    let named = || format!("seccompProfile.localhostProfile: read {}", path.display());
    let text = fs::read_to_string(path).with_context(named)?;
    serde_json::from_str(&text).map(Some).with_context(named)
}

/// The descriptor that containers have for a standard input, and the supervisor for all three.
pub(super) fn open_null() -> Result<OwnedFd, Errno> {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
}
