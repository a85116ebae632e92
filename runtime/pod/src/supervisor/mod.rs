//! The process that stays with a pod: it starts, watches, restarts and ends the containers, and writes down what it sees.
//!
//! One thread and one loop: signals (exits among them), output, requests and deadlines are all waited for in one poll(2), and handled
//! one after the other. What is to be done is decided by [`crate::machine`]; this only does it.
//!
//! | | command (`podrt pod create`) | supervisor |
//! |---|---|---|
//! | 1 | writes the record, makes the cgroups, clones the supervisor into its own | executes itself anew, to be small; leaves the mount namespace |
//! | 2 | waits | makes volumes and files, creates and starts pause; sends its pid |
//! | 3 | connects the network namespace of pause; sends a byte | waits; gives up if the socket closes instead |
//! | 4 | waits | opens the control socket, writes the first status; closes the socket pair |
//! | 5 | asks through the control socket from now on | serves, until nothing of the pod runs |

mod container;
mod hooks;
mod layers;
mod node;
mod output;
mod reaper;
mod rootfs;
mod sandbox;
mod server;
pub mod spawn;
mod walk;
mod watch;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};
use runtime::cli::kill::parse_signal;
use runtime::sys::clone::{Cloned, SingleThreaded};
use runtime::sys::memory;

use crate::control::{Reply, Request};
use crate::machine::{Action, Event, Hook, Machine, Now};
use crate::plan::{Places, Sandbox};
use crate::spec::ContainerSpec;
use crate::state::{PodDir, PodReport};
use crate::status::{ContainerState, ContainerStatus, Phase, PodStatus};
use container::{Running, Workshop};
use hooks::{RunningHook, What};
use node::Node;
use reaper::Reaper;
use server::Server;

/// Bytes that are read of an output at once.
const BUFFER: usize = 4096;
/// After what time a report that could not be written is tried again.
const REPORT_AGAIN: Duration = Duration::from_secs(1);
/// After what time without an event the supervisor takes the pod for idle.
const SETTLED: Duration = Duration::from_secs(1);

/// A pod's supervisor.
struct Supervisor<'a> {
    workshop: Workshop<'a>,
    machine: Machine,
    server: Server,
    signals: SignalFd,
    sandbox: Cloned,
    /// By index; `None` while a container does not run.
    running: Vec<Option<Running>>,
    hooks: Vec<RunningHook>,
    reaper: Reaper,
    events: VecDeque<Event>,
    volumes: watch::Volumes,
    is_finished: bool,
    /// When to write what is not written yet.
    report_due: Option<Duration>,
}

/// Serves a pod until nothing of it runs; `channel` leads to the command that creates it.
///
/// # Errors
/// Why there is no pod; what was made is taken back.
pub fn main(pod: &PodDir, channel: OwnedFd) -> Result<()> {
    let channel = spawn::Channel::new(channel);
    match begin(pod, &channel) {
        Ok(()) => Ok(()),
        Err(error) => {
            // The command tells the user.
            channel.send_failure(&format!("{error:#}"));
            Err(error)
        }
    }
}

fn begin(pod: &PodDir, channel: &spawn::Channel) -> Result<()> {
    let record = pod.record()?;
    let signals = take_signals()?;
    spawn::settle(pod)?;
    let cgroup = record.cgroup().map_err(anyhow::Error::msg)?;
    let node = Node::read(&cgroup)?;
    rootfs::enter_own_namespace()?;
    let places = Places { cgroup: cgroup.to_string().into(), pod: pod.path().to_owned() };
    let null = container::open_null().context("open /dev/null")?;
    let workshop = Workshop {
        pod,
        containers: pod.containers(),
        record: &record,
        places: &places,
        node: &node,
        null: &null,
        prepared: RefCell::default(),
        old_roots: RefCell::default(),
        old_layers: RefCell::default(),
    };
    rootfs::make_volumes(&record.spec, &places)?;
    sandbox::write_files(&record, &places)?;
    let sandbox = workshop.start_sandbox()?;
    channel.send_sandbox(sandbox.pid.as_raw())?;
    if let Err(error) = channel.wait_go() {
        workshop.end_sandbox();
        return Err(error);
    }
    let n = record.spec.containers.len();
    let mut supervisor = Supervisor {
        machine: Machine::new(&record.spec, record.settings, now()?),
        server: Server::open(pod)?,
        signals,
        sandbox,
        running: (0..n).map(|_| None).collect(),
        hooks: Vec::new(),
        reaper: Reaper::default(),
        events: VecDeque::new(),
        volumes: watch::Volumes::of(&record.spec, &places),
        is_finished: false,
        report_due: None,
        workshop,
    };
    supervisor.save()?;
    channel.send_ready();
    supervisor.serve()
}

impl Supervisor<'_> {
    fn serve(&mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            self.handle_events()?;
            let (status, is_finished) = (self.machine.status(), self.is_finished);
            self.server.answer(|request| reply(request, &status, is_finished));
            // Without its last report nobody would know how the pod ended.
            if self.is_finished && self.report_due.is_none() && self.server.is_idle() {
                return Ok(());
            }
            self.workshop.let_go();
            self.wait()?;
            self.take_in(&mut buffer)?;
        }
    }

    /// Lets the machine decide about everything that has happened, and does what it says.
    fn handle_events(&mut self) -> Result<()> {
        let mut is_changed = false;
        while let Some(event) = self.events.pop_front() {
            let is_tick = event == Event::Tick;
            let actions = self.machine.handle(event, now()?);
            is_changed |= !is_tick || !actions.is_empty();
            for action in actions {
                self.perform(&action)?;
            }
        }
        let now = now()?.monotonic;
        if is_changed || self.report_due.is_some_and(|due| due <= now) {
            // A full disk must not end the supervision.
            self.report_due = self.save().err().map(|_| now.saturating_add(REPORT_AGAIN));
        }
        Ok(())
    }

    fn perform(&mut self, action: &Action) -> Result<()> {
        match *action {
            Action::Start(index) => self.start(index),
            Action::Run(index, hook) => match self.workshop.begin_hook(index, hook, now()?.monotonic) {
                Ok(running) => self.hooks.push(running),
                Err(error) => self.hook_ended(index, hook, Some(format!("{error:#}"))),
            },
            Action::Abandon(index, hook) => self.hooks.retain(|running| {
                let is_it = (running.container, running.hook) == (index, hook);
                if is_it {
                    running.abandon();
                }
                !is_it
            }),
            Action::Signal(index) => {
                if let Some((spec, running)) = self.running(index) {
                    let image = self.workshop.record.images.get(index);
                    let image = image.and_then(|image| parse_signal(image.config.stop_signal.as_ref()?).ok());
                    let signal = spec.stop_signal.or(image).unwrap_or(Signal::SIGTERM as i32);
                    running.signal(signal);
                }
            }
            Action::Kill(index) => {
                if let Some((spec, running)) = self.running(index) {
                    running.kill(self.workshop.pod, &spec.name);
                }
            }
            Action::Finish => {
                self.workshop.end_sandbox();
                self.is_finished = true;
            }
        }
        Ok(())
    }

    fn start(&mut self, index: usize) {
        let sandbox = Sandbox { pid: self.sandbox.pid.as_raw() };
        let status = self.machine.status();
        let run = status.containers.get(index).map_or(0, |container| container.restart_count);
        let Some(place) = self.running.get_mut(index) else { return };
        let result = self.workshop.start(index, run, sandbox);
        self.events.push_back(match result {
            Ok(running) => {
                *place = Some(running);
                Event::Started(index)
            }
            Err(container::NotStarted { reason, message }) => {
                Event::NotStarted { container: index, reason: reason.to_owned(), message }
            }
        });
    }

    fn hook_ended(&mut self, container: usize, hook: Hook, failure: Option<String>) {
        self.events.push_back(Event::HookEnded { container, hook, failure });
    }

    /// Sleeps until something happens or is due.
    fn wait(&self) -> Result<()> {
        let now = now()?.monotonic;
        let sleeps = self.hooks.iter().filter_map(|hook| match hook.what {
            What::Sleep(until) => Some(until),
            What::Program(_) => None,
        });
        let layers = self.workshop.old_layers.borrow().due();
        let own = self.volumes.due().into_iter().chain(self.report_due).chain(layers);
        let due = sleeps.chain(self.machine.deadline()).chain(own).min();
        // Rounded up: one millisecond early would be a turn for nothing.
        let left = due.map(|due| due.saturating_sub(now) + Duration::from_micros(999));
        // The end of any child is a signal.
        let outputs = self.running.iter().flatten().flat_map(|running| running.output.fds());
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.signals.as_fd())
            .chain(outputs)
            .map(|fd| (fd, PollFlags::POLLIN))
            .chain(self.server.fds())
            .map(|(fd, flags)| PollFd::new(fd, flags))
            .collect();
        let is_long = left.is_none_or(|left| left > SETTLED);
        let mut ready = poll(&mut fds, timeout(if is_long { Some(SETTLED) } else { left }));
        if is_long && ready == Ok(0) {
            // The pod may be left alone for days. Without it the wait is the same, in more memory.
            drop(SingleThreaded::check().map_err(Into::into).and_then(memory::give_back));
            ready = poll(&mut fds, timeout(left.map(|left| left.saturating_sub(SETTLED))));
        }
        match ready {
            Err(nix::errno::Errno::EINTR) => Ok(()),
            result => result.map(drop).context("wait for the pod"),
        }
    }

    /// Turns everything that has happened into events.
    fn take_in(&mut self, buffer: &mut [u8]) -> Result<()> {
        while let Some(info) = self.signals.read_signal().context("read a signal")? {
            // Whoever ends the supervisor means the pod: a node that shuts down does so.
            if [Signal::SIGTERM as u32, Signal::SIGINT as u32].contains(&info.ssi_signo) {
                self.events.push_back(Event::Stop { grace_period: None });
            }
        }
        for running in self.running.iter_mut().flatten() {
            running.output.copy(buffer);
        }
        self.reaper.reap();
        self.take_exits(buffer);
        let now = now()?.monotonic;
        self.take_hooks(now);
        for request in self.server.receive() {
            match request {
                Request::Start => self.events.push_back(Event::Begin),
                Request::WaitFinished => {}
                Request::Stop { grace_period } => self.events.push_back(Event::Stop { grace_period }),
            }
        }
        if let Some(message) = self.volumes.check(now) {
            self.events.push_back(Event::Evict { message });
        }
        self.workshop.old_layers.borrow_mut().go_on();
        if self.machine.deadline().is_some_and(|due| due <= now) {
            self.events.push_back(Event::Tick);
        }
        Ok(())
    }

    /// The container of this index, if it runs.
    fn running(&self, index: usize) -> Option<(&ContainerSpec, &Running)> {
        self.workshop.record.spec.containers.get(index).zip(self.running.get(index)?.as_ref())
    }

    fn take_exits(&mut self, buffer: &mut [u8]) {
        // First: what ended with it is not to be started again.
        if self.reaper.take(self.sandbox.pid).is_some() {
            self.events.push_back(Event::SandboxEnded);
        }
        for index in 0..self.running.len() {
            let Some(place) = self.running.get_mut(index) else { continue };
            let Some(status) = place.as_ref().and_then(|running| self.reaper.take(running.process.pid))
            else {
                continue;
            };
            if let Some(running) = place.take() {
                let exit = self.workshop.end(index, running, status, buffer);
                self.events.push_back(Event::Ended(index, exit));
            }
        }
    }

    fn take_hooks(&mut self, now: Duration) {
        let mut ended = Vec::new();
        self.hooks.retain(|running| {
            let failure = match &running.what {
                What::Sleep(until) if *until <= now => None,
                What::Sleep(_) => return true,
                What::Program(program) => match self.reaper.take(program.pid) {
                    Some(status) => hooks::failure(status),
                    None => return true,
                },
            };
            ended.push(Event::HookEnded { container: running.container, hook: running.hook, failure });
            false
        });
        self.events.extend(ended);
    }

    /// Writes down what is known.
    fn save(&self) -> Result<()> {
        let report = PodReport {
            status: self.machine.status(),
            sandbox_pid: (!self.is_finished).then_some(self.sandbox.pid.as_raw()),
            is_begun: self.server.is_begun(),
            is_finished: self.is_finished,
        };
        Ok(self.workshop.pod.save_report(&report)?)
    }
}

fn timeout(left: Option<Duration>) -> PollTimeout {
    left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
}

/// What a request gets now; nothing while it has to wait.
fn reply(request: &Request, status: &PodStatus, is_finished: bool) -> Option<Reply> {
    let is_due = match request {
        Request::Start => {
            is_finished || status.phase != Phase::Pending || status.containers.iter().any(is_stuck)
        }
        Request::WaitFinished | Request::Stop { .. } => is_finished,
    };
    is_due.then(|| Reply::Status(status.clone()))
}

/// True when a container cannot be made, or fails, and is tried again and again.
fn is_stuck(container: &ContainerStatus) -> bool {
    matches!(&container.state, ContainerState::Waiting { reason, .. }
        if reason.ends_with("Error") || reason == "CrashLoopBackOff")
}

/// Signals that the loop takes; those of terminals and pipes must not end a supervisor.
fn take_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        set.add(signal);
    }
    set.thread_block().context("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("make a signalfd")
}

fn now() -> Result<Now> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).context("read the clock")?;
    Ok(Now { monotonic: Duration::from(time), wall: SystemTime::now() })
}
