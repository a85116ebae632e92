//! One machine from start to end: a poll(2) loop over QEMU's pidfd, its sockets, the signals and the deadlines.
//!
//! Nothing here decides what an end means; the loop collects [`Facts`], which `outcome::judge` turns into an
//! [`Outcome`]. After a deadline the guest gets an NMI, so that its log shows where it hung, then SIGKILL.

mod receive;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vm_init::Message;

use crate::channel::Channel;
use crate::console::Console;
use crate::observer::Observer;
use crate::outcome::{Facts, Hang, Outcome, judge};
use crate::process::{QemuError, QemuGuard, numbers};
use crate::qemu::{self, Engine, Machine, Sockets};
use crate::qmp::QmpCommand;
use crate::serial::{LogError, SerialLog};
use crate::signals::SignalGuard;

/// Time from start to hello on the machine that deadlines are chosen for.
const REFERENCE_HELLO: Duration = Duration::from_millis(2500);

/// After the exit record the machine needs one port write to end.
const ENDING: Duration = Duration::from_secs(10);

/// From the NMI to SIGKILL; the trace takes some hundredths of a second.
const NMI_TRACE: Duration = Duration::from_secs(2);

/// How long a machine may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the start of QEMU to hello.
    pub hello: Duration,
    /// From hello to the end of the command; `None` for a command that a person ends. Not scaled: it is
    /// wall-clock time.
    pub command: Option<Duration>,
    /// Longest silence after hello, scaled by the measured factor.
    pub beat: Duration,
}

impl Default for Deadlines {
    /// 60 s to hello (the slowest of some hundred boots under load took 7 s), 10 minutes, 30 s.
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(60),
            command: Some(Duration::from_secs(600)),
            beat: Duration::from_secs(30),
        }
    }
}

/// What to boot.
#[derive(Debug)]
pub(crate) struct BootPlan<'a> {
    pub(crate) program: &'a Path,
    pub(crate) engine: Engine,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: &'a OwnedFd,
    pub(crate) disk: Option<&'a Path>,
    pub(crate) deadlines: Deadlines,
    pub(crate) log_path: &'a Path,
    pub(crate) is_interactive: bool,
}

/// One boot, over.
#[derive(Debug)]
pub(crate) struct Booted {
    pub(crate) outcome: Outcome,
    pub(crate) kernel: Option<String>,
    pub(crate) hello_after: Option<Duration>,
    pub(crate) deadline_factor: f64,
    pub(crate) last_lines: Vec<String>,
    pub(crate) n_records: u64,
    pub(crate) has_torn_record: bool,
}

/// The machine could not be run or watched.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// QEMU.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// The kernel's log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A descriptor of this side.
    #[error("{op} of the virtual machine")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The cause.
        source: io::Error,
    },
}

fn io_error(op: &'static str) -> impl FnOnce(io::Error) -> BootError {
    move |source| BootError::Io { op, source }
}

/// What the loop waits for next.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Boot,
    Command { since: Instant },
    Ending { since: Instant },
    Nmi { since: Instant },
    Dying,
}

/// A descriptor of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Exit,
    Serial,
    Qmp,
    Control,
    Records,
    Stderr,
    Console,
    Input,
}

/// A machine that runs, and what was seen of it so far.
struct Session<'a> {
    plan: &'a BootPlan<'a>,
    observer: &'a mut dyn Observer,
    qemu: QemuGuard,
    serial: Channel,
    qmp: Channel,
    control: Channel,
    records: Channel,
    stderr: Channel,
    console: Option<Console>,
    log: SerialLog,
    facts: Facts,
    phase: Phase,
    started: Instant,
    last_sign: Instant,
    next_seq: u64,
    kernel: Option<String>,
    hello_after: Option<Duration>,
    deadline_factor: f64,
    n_records: u64,
}

/// Boots a machine and follows it to its end.
pub(crate) fn boot(
    plan: &BootPlan<'_>,
    signals: &SignalGuard,
    observer: &mut dyn Observer,
) -> Result<Booted, BootError> {
    let mut session = Session::start(plan, observer)?;
    while session.turn(signals)? {}
    session.finish()
}

impl<'a> Session<'a> {
    fn start(plan: &'a BootPlan<'a>, observer: &'a mut dyn Observer) -> Result<Self, BootError> {
        let log = SerialLog::create(plan.log_path)?;
        let pair = || Channel::pair().map_err(io_error("create the sockets"));
        let (serial, serial_end) = pair()?;
        let (qmp, qmp_end) = pair()?;
        let (control, control_end) = pair()?;
        let (records, records_end) = pair()?;
        let (stderr, stderr_end) = pair()?;
        let (console, console_end) =
            if plan.is_interactive { pair().map(|(a, b)| (Some(a), Some(b)))? } else { (None, None) };
        let initrd = plan.initrd.as_raw_fd();
        let machine = Machine {
            engine: plan.engine,
            memory_mib: plan.memory_mib,
            cpus: plan.cpus,
            kernel: plan.kernel.to_owned(),
            initrd: PathBuf::from(format!("/dev/fd/{initrd}")),
            disk: plan.disk.map(Path::to_owned),
            sockets: Sockets {
                serial: serial_end.as_raw_fd(),
                qmp: qmp_end.as_raw_fd(),
                control: control_end.as_raw_fd(),
                records: records_end.as_raw_fd(),
                console: console_end.as_ref().map(AsRawFd::as_raw_fd),
            },
        };
        let ends: Vec<OwnedFd> =
            [serial_end, qmp_end, control_end, records_end].into_iter().chain(console_end).collect();
        let inherited = numbers(ends.iter().chain([plan.initrd]));
        let started = Instant::now();
        // The ends for QEMU are closed here afterwards: end of file then means that QEMU is gone.
        let qemu = QemuGuard::start(plan.program, qemu::arguments(&machine), inherited, stderr_end)?;
        drop(ends);
        let console = console.map(Console::attach).transpose().map_err(io_error("attach the console"))?;
        Ok(Self {
            plan,
            observer,
            qemu,
            serial,
            qmp,
            control,
            records,
            stderr,
            console,
            log,
            facts: Facts::default(),
            phase: Phase::Boot,
            started,
            last_sign: started,
            next_seq: 0,
            kernel: None,
            hello_after: None,
            deadline_factor: 1.0,
            n_records: 0,
        })
    }

    /// Waits once and does what is due; `false` when QEMU has ended.
    fn turn(&mut self, signals: &SignalGuard) -> Result<bool, BootError> {
        let ready = self.wait(signals)?;
        for source in &ready {
            match source {
                Source::Signals => self.signals(signals)?,
                Source::Exit => return Ok(false),
                Source::Serial => drop(self.serial()?),
                Source::Qmp => drop(self.qmp()?),
                Source::Control => drop(self.control()?),
                Source::Records => drop(self.records()?),
                Source::Stderr => drop(self.stderr.receive().map_err(io_error("read standard error"))?),
                Source::Console => self.show()?,
                Source::Input => self.type_in()?,
            }
        }
        match self.deadline() {
            // An observer that took long kept this loop from listening: the guest may not have been silent.
            Some((_, Some(Hang::Silent(_)))) if !ready.is_empty() => {}
            Some((at, hang)) if Instant::now() >= at => self.expire(hang)?,
            _ => {}
        }
        Ok(true)
    }

    fn wait(&self, signals: &SignalGuard) -> Result<Vec<Source>, BootError> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Signals, signals.as_fd(), PollFlags::POLLIN),
            // Ends the loop before the sockets are read: `finish` takes what is left in them.
            (Source::Exit, self.qemu.as_fd(), PollFlags::POLLIN),
        ];
        let channels = [
            (Source::Serial, &self.serial),
            (Source::Qmp, &self.qmp),
            (Source::Control, &self.control),
            (Source::Records, &self.records),
            (Source::Stderr, &self.stderr),
        ];
        for (source, channel) in channels {
            if channel.is_open() {
                sources.push((source, channel.as_fd(), PollFlags::POLLIN));
            }
        }
        if let Some(console) = &self.console {
            if console.channel.is_open() {
                let out = if console.has_backlog() { PollFlags::POLLOUT } else { PollFlags::empty() };
                sources.push((Source::Console, console.channel.as_fd(), PollFlags::POLLIN | out));
            }
            if let Some(input) = console.input() {
                sources.push((Source::Input, input, PollFlags::POLLIN));
            }
        }
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let timeout = self.deadline().map_or(PollTimeout::NONE, |(at, _)| {
            // Rounded up: a timeout of 0 just before the deadline would spin.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(io_error("wait for events")(errno.into())),
        }
        let ready = fds
            .iter()
            .zip(&sources)
            .filter(|(fd, _)| fd.any().unwrap_or(true))
            .map(|(_, (source, ..))| *source);
        Ok(ready.collect())
    }

    /// The next deadline, and what it means when it passes.
    fn deadline(&self) -> Option<(Instant, Option<Hang>)> {
        let Deadlines { hello, command, beat } = self.plan.deadlines;
        match self.phase {
            Phase::Boot => Some((self.started + hello, Some(Hang::Boot(hello)))),
            Phase::Command { since } => {
                let beat = beat.mul_f64(self.deadline_factor);
                let silent = (self.last_sign + beat, Some(Hang::Silent(beat)));
                let over = command.map(|command| (since + command, Some(Hang::Command(command))));
                over.into_iter().chain([silent]).min_by_key(|(at, _)| *at)
            }
            Phase::Ending { since } => Some((since + ENDING, Some(Hang::Ending(ENDING)))),
            Phase::Nmi { since } => Some((since + NMI_TRACE, None)),
            Phase::Dying => None,
        }
    }

    fn expire(&mut self, hang: Option<Hang>) -> Result<(), BootError> {
        match hang {
            Some(hang) => {
                self.facts.hang = Some(hang);
                self.phase = Phase::Nmi { since: Instant::now() };
                self.command(QmpCommand::QueryStatus)?;
                self.command(QmpCommand::InjectNmi)
            }
            None => self.kill(),
        }
    }

    fn kill(&mut self) -> Result<(), BootError> {
        self.phase = Phase::Dying;
        Ok(self.qemu.kill()?)
    }

    fn command(&mut self, command: QmpCommand) -> Result<(), BootError> {
        self.qmp.send(&command.line()).map_err(io_error("send a command to the monitor"))
    }

    fn tell(&mut self, message: &Message) -> Result<(), BootError> {
        let mut line =
            serde_json::to_vec(message).map_err(|error| io_error("encode a message")(error.into()))?;
        line.push(b'\n');
        self.control.send(&line).map_err(io_error("send a message to PID 1"))
    }

    /// Reads what QEMU left in the sockets, reaps it, and judges.
    fn finish(mut self) -> Result<Booted, BootError> {
        let status = self.qemu.reap()?;
        self.phase = Phase::Dying;
        while self.serial()? {}
        while self.qmp()? {}
        while self.records()? {}
        while self.control()? {}
        while self.stderr.receive().map_err(io_error("read standard error"))? {}
        self.show()?;
        // A line that a dying guest did not finish is still worth reading.
        let rest = self.serial.take_bytes();
        if !rest.is_empty() {
            self.log.line(&rest)?;
        }
        self.facts.qemu_code = status.code();
        self.facts.qemu_status = match status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => format!("status {}", status.code().unwrap_or(-1)),
        };
        self.facts.qemu_stderr = String::from_utf8_lossy(&self.stderr.take_bytes()).trim().to_owned();
        self.facts.panic = self.log.panic().map(str::to_owned);
        self.facts.oom_victim = self.log.oom_victim().cloned();
        Ok(Booted {
            outcome: judge(self.facts),
            kernel: self.kernel,
            hello_after: self.hello_after,
            deadline_factor: self.deadline_factor,
            last_lines: self.log.into_last_lines(),
            n_records: self.n_records,
            has_torn_record: !self.records.take_bytes().is_empty(),
        })
    }
}
