//! The container's process, from its birth to the exec of the user's program.
//!
//! It is a copy of the runtime's memory, alone, without threads. It leaves by the exec or by an exit code; a failure goes to
//! the runtime as a message. File system work is in [`rootfs`] and [`devices`], credentials in [`identity`]. What a process
//! of an `exec` does to itself as well is in [`mod@process`]; the rest of its life is in [`exec`].

mod copy;
pub mod devices;
pub mod exec;
pub mod identity;
pub mod process;
pub mod program;
pub mod rootfs;
pub mod terminal;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getpid, sethostname};

use super::barrier::{self, Failure, Program};
use super::create::CreateRequest;
use super::joiner::join;
use super::protocol::{Channel, Message};
use super::seccomp::{Loader, Silent};
use super::{Context, StepError, hooks};
use crate::plan::{Action, Actor, SeccompFilter, TreeSlot};
use crate::spec::{CapabilitySpec, HookSpec, NsKind};
use crate::state::Status;
use crate::sys::clone::SingleThreaded;
use crate::sys::{self, fd};
use program::Executable;

/// What init takes over from the runtime. All borrowed: nothing of it may be dropped here.
#[derive(Debug)]
pub struct Init<'a> {
    pub(super) request: &'a CreateRequest<'a>,
    pub(super) channel: &'a Channel,
    pub(super) trees: &'a BTreeMap<TreeSlot, OwnedFd>,
    pub(super) namespaces: &'a [(NsKind, OwnedFd)],
    pub(super) listener: &'a UnixListener,
    pub(super) barrier: &'a File,
    pub(super) token: SingleThreaded,
}

impl Init<'_> {
    /// The root file system, as the mount that becomes the root.
    fn rootfs(&self) -> Result<BorrowedFd<'_>, StepError> {
        self.tree(TreeSlot::Rootfs)
    }

    fn tree(&self, slot: TreeSlot) -> Result<BorrowedFd<'_>, StepError> {
        self.trees.get(&slot).map(AsFd::as_fd).ok_or_else(|| Errno::EBADF.into())
    }

    fn first_closed_fd(&self) -> u32 {
        3 + self.request.preserve_fds
    }
}

/// Runs init; returns its exit code when there was no exec.
pub(super) fn main(init: &Init<'_>) -> i32 {
    if let Err(errno) = prepare(init) {
        return report(init, 0, &StepError::new("prepare the process", errno));
    }
    let steps = &init.request.plan.steps;
    let mut executable = Executable::of(&init.request.spec.process);
    for (number, turn) in init.request.plan.turns().into_iter().enumerate() {
        if number > 0 && init.channel.send(&Message::Ready).is_err() {
            return 1;
        }
        match init.channel.recv() {
            Ok(Some(Message::Go)) => {}
            // The runtime has failed, or was killed.
            _ => {
                rootfs::detach_if_joined(init);
                return 1;
            }
        }
        for index in turn {
            let action = &steps[index].action;
            let result =
                init.request.fail_at.check(index).and_then(|()| perform(init, action, &mut executable));
            if let Err(error) = result {
                rootfs::detach_if_joined(init);
                return report(init, index, &error);
            }
        }
    }
    let Executable { path: Some(path), env } = executable else { return 1 };
    // Before the answer: from then on the container can be signalled and looked at, and has nothing of the
    // runtime's open but these.
    let signals = match barrier::take_fatal_signals() {
        Ok(signals) => signals,
        Err(errno) => return report(init, 0, &StepError::new("take signals", errno)),
    };
    let keep = [init.channel.as_fd(), init.listener.as_fd(), init.barrier.as_fd(), signals.as_fd()];
    if let Err(errno) = fd::close_all_except(init.first_closed_fd(), &keep)
        .and_then(|()| fd::close_on_exec_from(init.first_closed_fd()))
        .and_then(|()| init.channel.send(&Message::Ready))
    {
        return report(init, 0, &StepError::new("close descriptors", errno));
    }
    match init.channel.recv() {
        Ok(Some(Message::Committed)) if init.request.fail_at.check(steps.len() + 1).is_ok() => {}
        _ => return 1,
    }
    let process = &init.request.spec.process;
    let program = Program { path: &path, args: &process.args, env: &env };
    barrier::wait_and_exec(init.listener, init.barrier, &signals, &program, |about| {
        released(init, env.len(), about)
    })
}

/// The steps that are left when `start` has let init go on. Returns the filter, if one is loaded now.
fn released(init: &Init<'_>, n_env: usize, about_to_load: impl Fn()) -> Result<Option<Loader>, Failure> {
    let mut loader = None;
    for step in init.request.plan.steps.iter().filter(|step| step.actor == Actor::Released) {
        let result = match &step.action {
            Action::Hook(hook) => run_hook(init, hook, Status::Created),
            Action::Seccomp { filter, then } => {
                load_filter(init, n_env, filter, then.as_ref(), &about_to_load)
                    .map(|loaded| loader = Some(loaded))
            }
            // The plan gives no other action to it.
            _ => Err(Errno::ENOTSUP.into()),
        };
        result.map_err(|error| Failure { step: step.action.to_string(), error })?;
    }
    Ok(loader)
}

fn load_filter(
    init: &Init<'_>,
    n_env: usize,
    filter: &SeccompFilter,
    then: Option<&CapabilitySpec>,
    about_to_load: impl Fn(),
) -> Result<Loader, StepError> {
    let loader = Loader::new(filter, init.barrier)?;
    let process = &init.request.spec.process;
    // Room for the arrays of the exec, which asks for it under the filter.
    drop(Vec::<usize>::with_capacity(process.args.len() + n_env + 2));
    if filter.has_listener {
        about_to_load();
    }
    SigSet::all().thread_unblock()?;
    loader.load().during(|| "seccomp")?;
    if let Some(caps) = then {
        identity::reduce_capabilities(caps)
            .inspect_err(|error| loader.tell_failure(Silent::Capabilities(error.errno)))?;
    }
    Ok(loader)
}

fn run_hook(init: &Init<'_>, hook: &HookSpec, status: Status) -> Result<(), StepError> {
    let state = init.request.document(status, getpid());
    let result = hooks::run(init.token, hook, &state);
    hooks::reap_orphans();
    result
}

/// Makes the process independent of whoever called the runtime.
fn prepare(init: &Init<'_>) -> Result<(), Errno> {
    // Nobody in a namespace that it joins may look into it, or at the runtime's files through it.
    prctl::set_dumpable(false)?;
    sys::process::reset_signals()?;
    let mut keep = vec![init.channel.as_fd(), init.listener.as_fd(), init.barrier.as_fd()];
    keep.extend(init.trees.values().map(AsFd::as_fd));
    keep.extend(init.namespaces.iter().map(|(_, fd)| fd.as_fd()));
    keep.extend(init.request.console);
    fd::close_all_except(init.first_closed_fd(), &keep)?;
    // Modes of what is made on the way are exact; the program's mask is set with its user.
    umask(Mode::empty());
    Ok(())
}

fn report(init: &Init<'_>, step: usize, error: &StepError) -> i32 {
    let message = Message::Failed { step, errno: error.errno, detail: error.detail.clone() };
    // When the runtime is gone, the exit code is all that can be said.
    if init.channel.send(&message).is_err() { 2 } else { 1 }
}

fn perform(init: &Init<'_>, action: &Action, executable: &mut Executable) -> Result<(), StepError> {
    match action {
        Action::Join(kind) => join(init.namespaces, *kind),
        Action::TimeNamespace(offsets) => process::enter_time_namespace(offsets),
        Action::CgroupNamespace => Ok(unshare(CloneFlags::CLONE_NEWCGROUP)?),
        Action::LoopbackUp => Ok(sys::process::loopback_up()?),
        Action::Hostname(name) => Ok(sethostname(name)?),
        Action::Domainname(name) => Ok(sys::process::set_domainname(name)?),
        Action::Sysctl { name, value } => set_sysctl(name, value),
        Action::AttachRootfs { propagation } => rootfs::attach(init.rootfs()?, *propagation),
        Action::Mount(spec) => rootfs::mount(init.rootfs()?, spec, |slot| init.tree(slot)),
        Action::Device { device, is_bound } => devices::make(init.rootfs()?, device, *is_bound),
        Action::Terminal { is_console, size, uid } => {
            terminal::set_up(init.rootfs()?, init.request.console, *is_console, *size, *uid)
        }
        Action::Link { path, target } => devices::link(init.rootfs()?, path, target),
        Action::ReadonlyPath(path) => rootfs::make_readonly(init.rootfs()?, path),
        Action::MaskedPath(path) => rootfs::mask(init.rootfs()?, path),
        Action::Hook(hook) => run_hook(init, hook, Status::Creating),
        Action::PivotRoot => rootfs::pivot(init.rootfs()?),
        Action::ChangeRoot => rootfs::change_root(init.rootfs()?),
        Action::RootPropagation(propagation) => rootfs::set_root_propagation(*propagation),
        Action::ReadonlyRoot => rootfs::make_root_readonly(),
        Action::WorkingDirectory(path) => rootfs::enter(path),
        _ => process::perform(&init.request.spec.process, action, executable),
    }
}

fn set_sysctl(name: &str, value: &str) -> Result<(), StepError> {
    let name = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    let path = format!("/proc/sys/{name}");
    // Not created: a parameter that the kernel does not have is an error.
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
        .during(|| format!("write {path}"))
}
