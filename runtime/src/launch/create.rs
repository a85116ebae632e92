//! The runtime's side of a `create`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::signal::{Signal, raise};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, linkat, unlink};

use super::init::{self, Init};
use super::protocol::{Channel, Message};
use super::rollback::{Made, how_it_ended};
use super::{Context, LaunchError, StepError, barrier, hooks, idmap, joiner};
use crate::cgroup::{device_filter, group};
use crate::plan::{Action, Actor, Plan, Step, TreeSlot};
use crate::spec::{ContainerId, ContainerSpec, HookKind, IdMapping, NamespaceSpec, NsKind};
use crate::state::{ContainerDir, ProcessIdentity, State, StateDocument, StateRoot, Status, time};
use crate::sys::clone::{CloneRequest, Cloned, SingleThreaded, clone3};
use crate::sys::{mount, ns, process, schedule, wait};

/// Where a test makes a `create` fail; the command line has no way to set it. Steps are named by their index in the
/// plan; its length means after the last, and one more init's wait for `start`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailAt {
    /// Nowhere.
    #[default]
    Never,
    /// The step fails.
    Step(usize),
    /// Who is to do the step is killed instead.
    Death(usize),
    /// Who is to do the step is stopped before.
    Stop(usize),
}

impl FailAt {
    pub(super) fn check(self, step: usize) -> Result<(), StepError> {
        match self {
            Self::Step(at) if at == step => Err(StepError::new("made to fail by a test", Errno::ECANCELED)),
            Self::Death(at) if at == step => match raise(Signal::SIGKILL) {
                Ok(()) => Err(StepError::new("survived SIGKILL", Errno::EINTR)),
                Err(errno) => Err(errno.into()),
            },
            Self::Stop(at) if at == step => Ok(raise(Signal::SIGSTOP)?),
            _ => Ok(()),
        }
    }
}

/// What `create` needs.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// Container id.
    pub id: &'a ContainerId,
    /// The bundle, absolute.
    pub bundle: &'a Path,
    /// What was asked.
    pub spec: &'a ContainerSpec,
    /// What to do.
    pub plan: &'a Plan,
    /// Where to remember it.
    pub root: &'a StateRoot,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u32,
    /// Where init sends the master of its terminal, if it has one.
    pub console: Option<BorrowedFd<'a>>,
    /// How long init may take for what it does between two messages; `None` for ever. Others in its pid namespace can stop it.
    pub answer_within: Option<Duration>,
    /// For tests.
    pub fail_at: FailAt,
}

/// How long init may take to give up by itself.
const INIT_DEADLINE: Duration = Duration::from_secs(10);

impl CreateRequest<'_> {
    fn joins(&self, kind: NsKind) -> bool {
        self.spec.namespace(kind).is_some_and(|ns| ns.path.is_some())
    }

    /// The state that a hook is told.
    pub(super) fn document(&self, status: Status, pid: Pid) -> Vec<u8> {
        let document = StateDocument {
            oci_version: &self.spec.oci_version,
            id: self.id.as_str(),
            status,
            pid: Some(pid.as_raw()),
            bundle: self.bundle,
            annotations: &self.spec.annotations,
        };
        document.to_json()
    }
}

/// Creates a container: afterwards its process waits for `start`.
///
/// # Errors
/// The failed step; nothing is left of the others.
pub fn create(request: &CreateRequest<'_>) -> Result<Cloned, LaunchError> {
    made(request, false).map(|runtime| runtime.made.init).and_then(|init| init.ok_or_else(never_cloned))
}

/// A container whose process was asked to go on before it was born.
pub(super) struct Started {
    pub(super) process: Cloned,
    pub(super) directory: ContainerDir,
    pub(super) state: State,
    /// Where it answers.
    pub(super) stream: UnixStream,
}

/// Creates a container whose process does not wait for `start`.
///
/// # Errors
/// As [`create`].
pub(super) fn create_started(request: &CreateRequest<'_>) -> Result<Started, LaunchError> {
    let Runtime { made, asked, .. } = made(request, true)?;
    match (made.init, made.directory, asked) {
        (Some(process), Some((directory, state)), Some(stream)) => {
            Ok(Started { process, directory, state, stream })
        }
        _ => Err(never_cloned()),
    }
}

fn never_cloned() -> LaunchError {
    LaunchError::InitEnded { how: "never cloned".to_owned() }
}

fn made<'a>(request: &'a CreateRequest<'a>, is_started: bool) -> Result<Runtime<'a>, LaunchError> {
    let mut runtime = Runtime {
        request,
        is_started,
        made: Made::default(),
        namespaces: Vec::new(),
        trees: BTreeMap::new(),
        barrier: None,
        asked: None,
        channel: None,
    };
    let Err(error) = runtime.execute() else { return Ok(runtime) };
    // Init gives up when its end of the channel is the last; the roll-back kills it at any rate.
    drop(runtime.channel);
    // What it has mounted in a namespace of others only init can take away.
    if let (Some(init), true) = (&runtime.made.init, request.joins(NsKind::Mount)) {
        let _killed_otherwise = process::wait_end(init.pidfd.as_fd(), INIT_DEADLINE);
    }
    let (left, warnings) = runtime.made.roll_back();
    let error = match warnings.is_empty() {
        true => error,
        false => LaunchError::Poststop { warnings: warnings.join("; "), source: Box::new(error) },
    };
    if left.is_empty() { Err(error) } else { Err(LaunchError::RollBack { left, source: Box::new(error) }) }
}

struct Runtime<'a> {
    request: &'a CreateRequest<'a>,
    /// Whether init is asked to go on before it is born.
    is_started: bool,
    made: Made,
    namespaces: Vec<(NsKind, OwnedFd)>,
    trees: BTreeMap<TreeSlot, OwnedFd>,
    barrier: Option<(UnixListener, File)>,
    asked: Option<UnixStream>,
    channel: Option<Channel>,
}

impl Runtime<'_> {
    fn execute(&mut self) -> Result<(), LaunchError> {
        let steps = &self.request.plan.steps;
        let turns = self.request.plan.turns();
        for (index, step) in steps.iter().enumerate() {
            match step.actor {
                Actor::Runtime => {
                    // Noted first: each undo looks at what has really been made.
                    self.made.done.push(step.undo);
                    let result =
                        self.request.fail_at.check(index).and_then(|()| self.perform(index, &step.action));
                    result.map_err(|error| failed(step, error))?;
                }
                Actor::Init => {
                    self.made.done.push(step.undo);
                    if turns.iter().any(|turn| turn.end == index + 1) {
                        self.run_init()?;
                    }
                }
                // The clone has them done, or start will.
                Actor::Joiner | Actor::Released => {}
            }
        }
        let last = |errno: Errno| LaunchError::step("tell init that it is created", errno);
        self.request.fail_at.check(steps.len()).map_err(|error| last(error.errno))?;
        match &self.channel {
            Some(channel) => channel.send(&Message::Committed).map_err(last),
            None => Err(last(Errno::ENOTCONN)),
        }
    }

    fn perform(&mut self, index: usize, action: &Action) -> Result<(), StepError> {
        match action {
            Action::StateDirectory => self.make_state_directory(),
            Action::OpenNamespace(spec) => self.open_namespace(spec),
            Action::OpenTree { slot, source, is_recursive, .. } => {
                let tree = mount::clone_tree(AT_FDCWD, source, *is_recursive)?;
                self.trees.insert(*slot, tree);
                Ok(())
            }
            Action::IdMapTree { index, map } => {
                let tree = self.trees.get(&TreeSlot::Mount(*index)).ok_or(Errno::EBADF)?;
                idmap::apply(SingleThreaded::check()?, tree.as_fd(), map)
            }
            Action::Cgroup(path) => {
                let owner = self.request.root.owner(self.request.id);
                group::make(path, &owner).map_err(|e| StepError::new(e.to_string(), e.errno()))?;
                self.made.cgroup = Some((path.clone(), owner));
                Ok(())
            }
            Action::Controllers { cgroup, names } => {
                group::enable_controllers(cgroup, names).map_err(|e| StepError::new(e.to_string(), e.errno()))
            }
            Action::CgroupSetting(setting) => group::apply(&self.request.plan.cgroup, setting)
                .map_err(|e| StepError::new(e.to_string(), e.errno())),
            Action::DeviceFilter(rules) => device_filter::attach(&self.request.plan.cgroup, rules)
                .map_err(|e| StepError::new(e.to_string(), e.errno())),
            Action::Barrier => self.make_barrier(),
            Action::Clone { new } => self.clone_init(index, new),
            Action::IdMaps { uid, gid } => {
                self.write_id_map("uid_map", uid)?;
                self.write_id_map("gid_map", gid)
            }
            Action::Hook(hook) => {
                let token = SingleThreaded::check()?;
                let state = self.request.document(Status::Creating, self.init()?.pid);
                hooks::run(token, hook, &state)
            }
            Action::OomScore(score) => self.write_proc("oom_score_adj", &score.to_string()),
            Action::Rlimit(limit) => {
                let pid = self.init()?.pid;
                process::set_rlimit(pid, limit.resource, limit.soft, limit.hard)?;
                Ok(())
            }
            Action::IoPriority(priority) => Ok(schedule::set_io_priority(self.init()?.pid, *priority)?),
            Action::Scheduler(scheduler) => Ok(schedule::set_scheduler(self.init()?.pid, *scheduler)?),
            Action::PidFile(path) => {
                let pid = self.init()?.pid;
                write_pid_file(path, &pid.to_string())?;
                self.made.pid_file = Some(path.clone());
                Ok(())
            }
            Action::Commit => self.commit(),
            // The plan gives every other action to init or to the joiner.
            _ => Err(Errno::ENOTSUP.into()),
        }
    }

    fn make_state_directory(&mut self) -> Result<(), StepError> {
        let CreateRequest { id, spec, bundle, root, plan, .. } = self.request;
        let state_error = |e: crate::state::StateError| StepError::new(e.to_string(), e.errno());
        let pid_file = plan.steps.iter().find_map(|step| match &step.action {
            Action::PidFile(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            _ => None,
        });
        let state = State {
            oci_version: spec.oci_version.clone(),
            id: id.to_string(),
            bundle: (*bundle).to_owned(),
            rootfs: spec.rootfs.clone(),
            created: time::rfc3339(SystemTime::now()),
            annotations: spec.annotations.clone(),
            cgroup: plan.cgroup.clone(),
            hooks: spec.hooks.only(&[HookKind::Poststart, HookKind::Poststop]),
            seccomp_listener: spec.seccomp.as_ref().and_then(|seccomp| seccomp.listener.clone()),
            missing_cgroups: group::missing_parents(&plan.cgroup),
            process: None,
            pid_file,
        };
        let directory = root.create(id).map_err(state_error)?;
        let (directory, state) = self.made.directory.insert((directory, state));
        // Before it is remembered as this container's.
        group::expect_none(&plan.cgroup).map_err(|e| StepError::new(e.to_string(), e.errno()))?;
        directory.save_config(&spec.document).map_err(state_error)?;
        directory.save(state).map_err(state_error)
    }

    fn open_namespace(&mut self, spec: &NamespaceSpec) -> Result<(), StepError> {
        let Some(path) = &spec.path else { return Err(Errno::EINVAL.into()) };
        // Without blocking: the path could be a FIFO.
        let fd = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty())?;
        match ns::kind(fd.as_fd()) {
            Ok(flag) if flag == spec.kind.clone_flag() => {}
            Ok(flag) => {
                let real = NsKind::ALL.into_iter().find(|kind| kind.clone_flag() == flag);
                let real = real.map_or("unknown", NsKind::oci_name);
                return Err(StepError::new(format!("it is a namespace of type {real}"), Errno::EINVAL));
            }
            Err(Errno::ENOTTY) => return Err(StepError::new("it is not a namespace file", Errno::EINVAL)),
            Err(errno) => return Err(errno.into()),
        }
        // Two that would turn the container's settings on the node.
        let fault = match spec.kind {
            NsKind::Mount => Some("it is the runtime's own, whose root must not be pivoted".to_owned()),
            NsKind::Network => {
                let name = self.request.spec.sysctl.keys().find(|name| name.starts_with("net"));
                name.map(|name| {
                    format!("it is the node's own, and linux.sysctl.{name} would change the node")
                })
            }
            _ => None,
        };
        if let Some(fault) = fault
            && is_own(&fd, spec.kind)?
        {
            return Err(StepError::new(fault, Errno::EINVAL));
        }
        self.namespaces.push((spec.kind, fd));
        Ok(())
    }

    fn make_barrier(&mut self) -> Result<(), StepError> {
        let Some((directory, _)) = &self.made.directory else { return Err(Errno::ENOENT.into()) };
        let listener = barrier::listen(directory).during(|| "bind the socket")?;
        if self.is_started {
            self.asked =
                barrier::ask(directory, self.request.answer_within).during(|| "connect to the socket")?;
        }
        let lock = directory.make_barrier().map_err(|e| StepError::new(e.to_string(), e.errno()))?;
        self.barrier = Some((listener, lock));
        Ok(())
    }

    fn clone_init(&mut self, index: usize, new: &[NsKind]) -> Result<(), StepError> {
        let token = SingleThreaded::check().during(|| "count the runtime's threads, which must be one")?;
        let cgroup = self.request.plan.cgroup.directory();
        let cgroup = open(&cgroup, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .during(|| format!("open {}", cgroup.display()))?;
        let Some((listener, lock)) = self.barrier.take() else { return Err(Errno::ENOENT.into()) };
        let (ours, theirs) = Channel::pair()?;
        if let Some(limit) = self.request.answer_within {
            ours.answer_within(limit)?;
        }
        #[expect(clippy::cast_sign_loss, reason = "flags are bits, not numbers")]
        let namespaces = new.iter().fold(0, |flags, kind| flags | kind.clone_flag() as u64);
        let init = Init {
            request: self.request,
            channel: &theirs,
            trees: &self.trees,
            namespaces: &self.namespaces,
            listener: &listener,
            barrier: &lock,
            token,
        };
        let mut request = CloneRequest { namespaces, cgroup: Some(cgroup.as_fd()), is_sibling: false };
        let is_joined = self.request.plan.steps.iter().any(|step| step.actor == Actor::Joiner);
        let cloned = if is_joined {
            request.is_sibling = true;
            let joiner =
                clone3(token, &CloneRequest::default(), || joiner::main(token, index, &request, &init))?;
            wait::wait(joiner.pid).during(|| "wait for the joiner")?;
            match ours.try_recv()? {
                Some(Message::Cloned(pid)) => {
                    let pid = Pid::from_raw(pid);
                    Cloned { pid, pidfd: process::pidfd_open(pid)? }
                }
                Some(Message::Failed { step, errno, detail }) => {
                    let step = self.request.plan.steps.get(step).map(|step| step.action.to_string());
                    return Err(StepError::new(join_text(step.unwrap_or_default(), &detail), errno));
                }
                _ => return Err(StepError::new("the joiner ended without an answer", Errno::ECHILD)),
            }
        } else {
            clone3(token, &request, || init::main(&init)).map_err(|errno| match errno {
                Errno::EAGAIN => StepError::new(
                    "a limit of processes, such as linux.resources.pids.limit, is reached",
                    errno,
                ),
                errno => errno.into(),
            })?
        };
        self.made.init = Some(cloned);
        self.channel = Some(ours);
        // The lock is init's now; the lock of the file is released when its last copy is closed.
        Ok(())
    }

    /// Lets init take its turn.
    fn run_init(&mut self) -> Result<(), LaunchError> {
        let (Some(channel), Some(init)) = (&self.channel, &self.made.init) else {
            return Err(never_cloned());
        };
        let answer = channel.send(&Message::Go).and_then(|()| channel.recv());
        match answer {
            Ok(Some(Message::Ready)) => Ok(()),
            Ok(Some(Message::Failed { step, errno, detail })) => {
                let step = self.request.plan.steps.get(step).map(|step| step.action.to_string());
                Err(LaunchError::Step { step: step.unwrap_or_default(), detail, source: errno })
            }
            // It lives, and the roll-back ends it.
            Err(Errno::EAGAIN) => {
                Err(LaunchError::NoAnswer { limit: self.request.answer_within.unwrap_or_default() })
            }
            _ => Err(LaunchError::InitEnded { how: how_it_ended(init) }),
        }
    }

    fn commit(&mut self) -> Result<(), StepError> {
        let pid = self.init()?.pid;
        let identity = ProcessIdentity::of(pid).during(|| "identify the process")?;
        let Some((directory, state)) = &mut self.made.directory else { return Err(Errno::ENOENT.into()) };
        state.process = Some(identity);
        directory.save(state).map_err(|e| StepError::new(e.to_string(), e.errno()))
    }

    fn init(&self) -> Result<&Cloned, StepError> {
        self.made.init.as_ref().ok_or_else(|| Errno::ESRCH.into())
    }

    fn write_id_map(&self, file: &str, maps: &[IdMapping]) -> Result<(), StepError> {
        self.write_proc(file, &idmap::lines(maps))
    }

    fn write_proc(&self, file: &str, text: &str) -> Result<(), StepError> {
        let path = format!("/proc/{}/{file}", self.init()?.pid);
        fs::write(&path, text).during(|| format!("write {path}"))
    }
}

/// True when the runtime is in this namespace itself.
fn is_own(fd: &OwnedFd, kind: NsKind) -> Result<bool, StepError> {
    let own = nix::sys::stat::stat(format!("/proc/self/ns/{}", kind.file_name()).as_str())?;
    let other = nix::sys::stat::fstat(fd)?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// The name of a pid file until it is complete.
pub(super) fn pid_file_new(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

/// Written whole or not at all: an engine reads the file as soon as it is there. Until it is complete it has no name, so that
/// nothing is left when this is interrupted.
pub(super) fn write_pid_file(path: &Path, text: &str) -> Result<(), StepError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    match open(directory, flags, Mode::from_bits_truncate(0o644)) {
        Ok(file) => {
            let mut file = File::from(file);
            file.write_all(text.as_bytes()).during(|| format!("write {}", path.display()))?;
            link(&file, path).during(|| format!("make {}", path.display()))
        }
        // A file system without files that have no name.
        Err(Errno::EOPNOTSUPP | Errno::EISDIR) => {
            let new = pid_file_new(path);
            let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
            if written.is_err() {
                drop(fs::remove_file(&new));
            }
            written.during(|| format!("write {}", path.display()))
        }
        Err(errno) => Err(StepError::new(format!("write {}", path.display()), errno)),
    }
}

/// Gives a file a name, in place of the file that has it.
fn link(file: &File, path: &Path) -> Result<(), Errno> {
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    loop {
        match linkat(AT_FDCWD, source.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW) {
            Err(Errno::EEXIST) => match unlink(path) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            },
            result => return result,
        }
    }
}

pub(super) fn failed(step: &Step, error: StepError) -> LaunchError {
    LaunchError::step(step.action.to_string(), error)
}

fn join_text(step: String, detail: &str) -> String {
    if detail.is_empty() { step } else { format!("{step}: {detail}") }
}
