//! The runtime's side of an `exec`.
//!
//! The container is named once, by a descriptor for its process, which is checked to be the one that the state tells of; all
//! else is taken through that descriptor, or before a look at it shows that the process lives still. So no lock
//! is needed: when the container is deleted meanwhile, its cgroup or its pid namespace refuses the new process.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, stat};

use super::create::{self, FailAt};
use super::init::exec::{self as init, ExecInit};
use super::lifecycle::{call, own_process};
use super::protocol::{Channel, Message};
use super::rollback::{Made, how_it_ended};
use super::{Context, LaunchError, StepError, keeper};
use crate::cgroup::{self, CgroupPath};
use crate::plan::{Action, Actor, Plan};
use crate::spec::{ContainerId, NsKind, ProcessSpec};
use crate::state::{ProcessIdentity, StateRoot, Status};
use crate::sys::clone::{CloneRequest, Cloned, SingleThreaded, clone3};
use crate::sys::{process, schedule};

/// A running container to execute in.
#[derive(Debug)]
pub struct Target {
    /// The bundle that it was created from.
    pub bundle: PathBuf,
    /// The configuration that it was created from.
    pub document: String,
    /// Its cgroup.
    pub cgroup: CgroupPath,
    /// Kinds of namespaces of which its process is in another than the caller.
    pub namespaces: Vec<NsKind>,
    pid: i32,
    pidfd: OwnedFd,
}

impl Target {
    /// Finds a container that runs.
    ///
    /// # Errors
    /// [`LaunchError::Status`] when it does not, [`LaunchError::Paused`] when it is frozen and that is not ignored.
    pub fn find(root: &StateRoot, id: &ContainerId, is_paused_ignored: bool) -> Result<Self, LaunchError> {
        let state = root.load(id)?;
        let refuse =
            |status, way_out| LaunchError::Status { verb: "exec in", id: id.to_string(), status, way_out };
        let stopped = || refuse(Status::Stopped, "");
        let process = state.process.as_ref().ok_or_else(|| refuse(Status::Creating, ""))?;
        let pidfd = own_process(root, id, &state)?.ok_or_else(stopped)?;
        // Paused or not.
        match ProcessIdentity::status_alive(&root.barrier(id)) {
            Status::Running => {}
            // Its process is the runtime still, and nothing of the container's must meet that.
            Status::Created => return Err(refuse(Status::Created, "; start it first")),
            status => return Err(refuse(status, "")),
        }
        if !is_paused_ignored && is_frozen(&state.cgroup) {
            return Err(LaunchError::Paused { id: id.to_string() });
        }
        let document = root.load_config(id)?;
        let namespaces = different_namespaces(process.pid).map_err(call("look at the namespaces of", id))?;
        // The number was its own all the while.
        if process::has_ended(pidfd.as_fd()).map_err(call("look at the process of", id))? {
            return Err(stopped());
        }
        Ok(Self { bundle: state.bundle, document, cgroup: state.cgroup, namespaces, pid: process.pid, pidfd })
    }

    /// The container's process, to be kept open in a child.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Opens the cgroup that the new process is born in; `below` is a path from the container's own.
    fn open_cgroup(&self, below: Option<&Path>) -> Result<OwnedFd, StepError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = self.cgroup.directory();
        let mut directory = open(&top, flags, Mode::empty()).during(|| format!("open {}", top.display()))?;
        if let Some(below) = below {
            let relative: PathBuf =
                below.components().filter(|part| !matches!(part, Component::RootDir)).collect();
            let relative = if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative };
            let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH);
            directory = openat2(&directory, &relative, how)
                .during(|| format!("open {} below cgroup {}", below.display(), self.cgroup))?;
        }
        // A directory of that name is the container's as long as its process lives.
        if process::has_ended(self.pidfd.as_fd())? {
            return Err(StepError::new("the container has stopped", Errno::ESRCH));
        }
        Ok(directory)
    }

    /// The cgroup that the container's process has moved to, as a path from the container's own. An init system in a
    /// container does so, and hands controllers on; then the cgroup above takes no processes.
    fn cgroup_of_process(&self) -> Result<PathBuf, StepError> {
        let path = format!("/proc/{}/cgroup", self.pid);
        let text = fs::read_to_string(&path).during(|| format!("read {path}"))?;
        let own = self.cgroup.directory();
        text.lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .map(|path| Path::new(cgroup::MOUNT_POINT).join(path))
            .and_then(|directory| directory.strip_prefix(own).map(Path::to_owned).ok())
            .ok_or_else(|| StepError::new("the container's process has left its cgroup", Errno::EBUSY))
    }
}

/// True when the container is to be frozen, or is because a cgroup above it is.
fn is_frozen(cgroup: &CgroupPath) -> bool {
    let has_line = |file: &str, wanted: &str| {
        fs::read_to_string(cgroup.directory().join(file))
            .is_ok_and(|text| text.lines().any(|line| line == wanted))
    };
    has_line("cgroup.freeze", "1") || has_line("cgroup.events", "frozen 1")
}

fn different_namespaces(pid: i32) -> Result<Vec<NsKind>, Errno> {
    let mut kinds = Vec::new();
    for kind in NsKind::ALL {
        let identity = |process: &str| {
            stat(format!("/proc/{process}/ns/{}", kind.file_name()).as_str()).map(|s| (s.st_dev, s.st_ino))
        };
        let own = match identity("self") {
            // The kernel has no namespaces of this kind.
            Err(Errno::ENOENT) => continue,
            result => result?,
        };
        if identity(&pid.to_string())? != own {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// What `exec` needs.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The container.
    pub target: &'a Target,
    /// What to execute.
    pub process: &'a ProcessSpec,
    /// What to do.
    pub plan: &'a Plan,
    /// A cgroup below the container's.
    pub sub_cgroup: Option<&'a Path>,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u32,
    /// Where the new process sends the master of its terminal, if it has one.
    pub console: Option<BorrowedFd<'a>>,
    /// Leads to the command that stays with the program, when the caller is its keeper.
    pub command: Option<&'a Channel>,
    /// How long the new process may take for what it does between two messages; `None` for ever. The container can stop it.
    pub answer_within: Option<Duration>,
    /// For tests.
    pub fail_at: FailAt,
}

impl ExecRequest<'_> {
    /// Enters all these namespaces of the container's process.
    pub(super) fn join(&self, kinds: &[NsKind]) -> Result<(), StepError> {
        let flags = kinds
            .iter()
            .fold(CloneFlags::empty(), |flags, kind| flags | CloneFlags::from_bits_retain(kind.clone_flag()));
        Ok(setns(&self.target.pidfd, flags)?)
    }
}

/// Executes a process in a container: afterwards it runs, as a child of the caller.
///
/// # Errors
/// The failed step; the new process is gone.
pub fn exec(request: &ExecRequest<'_>) -> Result<Cloned, LaunchError> {
    let mut runtime = Runtime { request, made: Made::default(), channel: None, home: None };
    let executed = runtime.execute();
    match executed.and(runtime.return_home()) {
        Ok(()) => runtime.made.init.take().ok_or(LaunchError::InitEnded { how: "never cloned".to_owned() }),
        Err(error) => {
            drop(runtime.channel);
            // An exec runs no hooks.
            let (left, _) = runtime.made.roll_back();
            if left.is_empty() {
                Err(error)
            } else {
                Err(LaunchError::RollBack { left, source: Box::new(error) })
            }
        }
    }
}

struct Runtime<'a> {
    request: &'a ExecRequest<'a>,
    made: Made,
    channel: Option<Channel>,
    /// The namespace that the caller's children were born in before.
    home: Option<OwnedFd>,
}

impl Runtime<'_> {
    fn execute(&mut self) -> Result<(), LaunchError> {
        let steps = &self.request.plan.steps;
        let mut is_ready = false;
        for (index, step) in steps.iter().enumerate() {
            if step.actor == Actor::Runtime {
                self.made.done.push(step.undo);
                let result = self.request.fail_at.check(index).and_then(|()| self.perform(&step.action));
                result.map_err(|error| create::failed(step, error))?;
            } else if !is_ready {
                self.send(&Message::Go)?;
                match self.answer()? {
                    Some(Message::Ready) => is_ready = true,
                    _ => return Err(self.ended()),
                }
            }
        }
        if let Some(command) = self.request.command {
            self.process()
                .and_then(|process| keeper::ask(command, process.pidfd.as_fd()))
                .map_err(|error| LaunchError::step("begin the program", error))?;
        }
        self.send(&Message::Committed)?;
        match self.answer()? {
            // The exec has closed the other end; or a signal ended the process before, as it may end any.
            None => Ok(()),
            Some(_) => Err(self.ended()),
        }
    }

    fn perform(&mut self, action: &Action) -> Result<(), StepError> {
        match action {
            // For the next child only; the runtime stays where it is, and has other children after this one.
            Action::Join(NsKind::Pid) => {
                self.home =
                    Some(open("/proc/self/ns/pid", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
                self.request.join(&[NsKind::Pid])
            }
            Action::Clone { .. } => self.clone_process(),
            Action::OomScore(score) => {
                let path = format!("/proc/{}/oom_score_adj", self.process()?.pid);
                fs::write(&path, score.to_string()).during(|| format!("write {path}"))
            }
            Action::IoPriority(priority) => Ok(schedule::set_io_priority(self.process()?.pid, *priority)?),
            Action::Scheduler(scheduler) => Ok(schedule::set_scheduler(self.process()?.pid, *scheduler)?),
            Action::Rlimit(limit) => {
                Ok(process::set_rlimit(self.process()?.pid, limit.resource, limit.soft, limit.hard)?)
            }
            Action::PidFile(path) => {
                let pid = self.process()?.pid;
                create::write_pid_file(path, &pid.to_string())?;
                self.made.pid_file = Some(path.clone());
                Ok(())
            }
            // The plan gives every other action to the new process.
            _ => Err(Errno::ENOTSUP.into()),
        }
    }

    /// Has the next children born where those before were: a caller may make containers after this.
    fn return_home(&mut self) -> Result<(), LaunchError> {
        let Some(home) = self.home.take() else { return Ok(()) };
        setns(home, CloneFlags::CLONE_NEWPID)
            .map_err(|errno| LaunchError::step("return to the own pid namespace", errno))
    }

    fn clone_process(&mut self) -> Result<(), StepError> {
        let token = SingleThreaded::check().during(|| "count the runtime's threads, which must be one")?;
        let Self { request, .. } = self;
        let (ours, theirs) = Channel::pair()?;
        if let Some(limit) = request.answer_within {
            ours.answer_within(limit)?;
        }
        let init = ExecInit { request, channel: &theirs };
        let clone = |cgroup: &OwnedFd| {
            let clone = CloneRequest { namespaces: 0, cgroup: Some(cgroup.as_fd()), is_sibling: false };
            clone3(token, &clone, || init::main(&init))
        };
        let cloned = match clone(&request.target.open_cgroup(request.sub_cgroup)?) {
            Err(Errno::EBUSY | Errno::EOPNOTSUPP) if request.sub_cgroup.is_none() => {
                let below = request.target.cgroup_of_process()?;
                clone(&request.target.open_cgroup(Some(&below))?)?
            }
            Err(errno @ Errno::ENOMEM) => {
                return Err(StepError::new("has the first process of its pid namespace ended?", errno));
            }
            result => result?,
        };
        self.made.init = Some(cloned);
        self.channel = Some(ours);
        Ok(())
    }

    fn process(&self) -> Result<&Cloned, StepError> {
        self.made.init.as_ref().ok_or_else(|| Errno::ESRCH.into())
    }

    /// A message that a process which has ended does not get; then [`Runtime::answer`] finds its end.
    fn send(&self, message: &Message) -> Result<(), LaunchError> {
        match self.channel.as_ref().map(|channel| channel.send(message)) {
            Some(Ok(()) | Err(Errno::EPIPE)) => Ok(()),
            _ => Err(self.ended()),
        }
    }

    /// The next message, or the failure that it tells of.
    fn answer(&self) -> Result<Option<Message>, LaunchError> {
        match self.channel.as_ref().map(Channel::recv) {
            Some(Ok(Some(Message::Failed { step, errno, detail }))) => {
                let step = match self.request.plan.steps.get(step) {
                    Some(step) => step.action.to_string(),
                    None => "execute the program".to_owned(),
                };
                Err(LaunchError::Step { step, detail, source: errno })
            }
            Some(Ok(message)) => Ok(message),
            // It lives, and the roll-back ends it.
            Some(Err(Errno::EAGAIN)) => {
                Err(LaunchError::NoAnswer { limit: self.request.answer_within.unwrap_or_default() })
            }
            _ => Err(self.ended()),
        }
    }

    fn ended(&self) -> LaunchError {
        let how = match self.process() {
            Ok(process) => how_it_ended(process),
            Err(_never) => "never cloned".to_owned(),
        };
        LaunchError::InitEnded { how }
    }
}
