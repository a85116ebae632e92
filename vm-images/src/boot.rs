//! One machine from start to end: a poll(2) loop over QEMU's pidfd, its sockets, the signals and the deadlines.
//!
//! Nothing here decides what an end means; the loop collects [`Facts`], which `outcome::judge` turns into an
//! [`Outcome`]. After a deadline the guest gets an NMI, so that its log shows where it hung, then SIGKILL.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use vm_init::{Message, PROTOCOL, Record, RecordKind};

use crate::channel::Channel;
use crate::console::{self, Console};
use crate::observer::{Event, Observer};
use crate::outcome::{CommandEnd, Facts, Hang, Outcome, judge};
use crate::process::{QemuError, QemuGuard, numbers};
use crate::qemu::{self, Engine, Machine, Sockets};
use crate::qmp::{self, QmpCommand, QmpMessage};
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
                Source::Serial => self.serial()?,
                Source::Qmp => self.qmp()?,
                Source::Control => self.control()?,
                Source::Records => self.records()?,
                Source::Stderr => {
                    self.stderr.receive().map_err(io_error("read standard error"))?;
                }
                Source::Console => self.show()?,
                Source::Input => self.type_in()?,
            }
        }
        if self.deadline().is_some_and(|(at, _)| Instant::now() >= at) {
            self.expire()?;
        }
        Ok(true)
    }

    fn wait(&self, signals: &SignalGuard) -> Result<Vec<Source>, BootError> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Signals, signals.as_fd(), PollFlags::POLLIN),
            // Last of the fixed ones in effect: see `finish`, which reads what is left.
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

    fn expire(&mut self) -> Result<(), BootError> {
        match self.deadline() {
            Some((_, Some(hang))) => {
                self.facts.hang = Some(hang);
                self.phase = Phase::Nmi { since: Instant::now() };
                self.command(QmpCommand::QueryStatus)?;
                self.command(QmpCommand::InjectNmi)
            }
            _ => self.kill(),
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

    fn signals(&mut self, signals: &SignalGuard) -> Result<(), BootError> {
        while let Some(signal) = signals.next() {
            if signal != Signal::SIGWINCH {
                self.facts.interrupted = Some(signal as i32);
                self.kill()?;
            } else if self.console.is_some() && matches!(self.phase, Phase::Command { .. }) {
                self.tell(&Message::Resize(console::window_size()))?;
            }
        }
        Ok(())
    }

    fn serial(&mut self) -> Result<(), BootError> {
        self.serial.receive().map_err(io_error("read the serial line"))?;
        for line in self.serial.lines() {
            self.log.line(&line)?;
            self.observer.kernel_line(&line);
        }
        Ok(())
    }

    fn qmp(&mut self) -> Result<(), BootError> {
        self.qmp.receive().map_err(io_error("read the monitor"))?;
        for line in self.qmp.lines() {
            match qmp::parse(&line) {
                QmpMessage::Greeting => self.command(QmpCommand::Capabilities)?,
                QmpMessage::Shutdown { reason } => self.facts.shutdown_reason = Some(reason),
                QmpMessage::Stop => {
                    self.facts.is_stopped = true;
                    self.kill()?;
                }
                QmpMessage::Status(status) => {
                    self.log.line(format!("[host] QEMU's state: {status}").as_bytes())?
                }
                QmpMessage::Refused(why) => self.log.line(format!("[host] QEMU refused {why}").as_bytes())?,
                QmpMessage::Other => {}
            }
        }
        Ok(())
    }

    fn control(&mut self) -> Result<(), BootError> {
        self.control.receive().map_err(io_error("read the control port"))?;
        for line in self.control.lines() {
            self.last_sign = Instant::now();
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) if record.seq == self.next_seq => {
                    self.next_seq += 1;
                    self.control_record(record.kind)?;
                }
                Ok(record) => {
                    self.garbled(format!("record {} came after record {}", record.seq, self.next_seq))
                }
                Err(error) => self.garbled(format!("record {} cannot be read: {error}", self.next_seq)),
            }
        }
        if self.facts.garbled.is_some() && !matches!(self.phase, Phase::Dying) {
            self.kill()?;
        }
        Ok(())
    }

    fn garbled(&mut self, detail: String) {
        self.facts.garbled.get_or_insert(detail);
    }

    fn control_record(&mut self, record: RecordKind) -> Result<(), BootError> {
        match record {
            RecordKind::Hello { protocol, .. } if protocol != PROTOCOL => {
                self.garbled(format!(
                    "vm-init speaks version {protocol}, this program {PROTOCOL}; build both again"
                ));
            }
            RecordKind::Hello { kernel, controllers, degraded, .. } => {
                self.hello(kernel, controllers, degraded)?
            }
            RecordKind::Start { .. } | RecordKind::Beat { .. } => {}
            RecordKind::Refused { program, errno } => {
                self.facts.refused = Some((program, errno));
                self.phase = Phase::Ending { since: Instant::now() };
            }
            RecordKind::Out { stream, bytes } => match bytes.decode() {
                Some(bytes) => self.observer.output(stream, &bytes),
                None => self.garbled("output with damaged digits".to_owned()),
            },
            RecordKind::Exit { code, signal } => {
                match (code.map(u8::try_from), signal) {
                    (Some(Ok(code)), None) => self.facts.exit = Some(CommandEnd::Code(code)),
                    (None, Some(signal)) => self.facts.exit = Some(CommandEnd::Signal(signal)),
                    _ => self.garbled(format!("exit record with code {code:?} and signal {signal:?}")),
                }
                if matches!(self.phase, Phase::Command { .. }) {
                    self.phase = Phase::Ending { since: Instant::now() };
                }
            }
        }
        Ok(())
    }

    fn hello(
        &mut self,
        kernel: String,
        controllers: Vec<String>,
        degraded: Vec<String>,
    ) -> Result<(), BootError> {
        let after = self.started.elapsed();
        self.facts.has_hello = true;
        self.hello_after = Some(after);
        self.deadline_factor = (after.as_secs_f64() / REFERENCE_HELLO.as_secs_f64()).max(1.0);
        if matches!(self.phase, Phase::Boot) {
            self.phase = Phase::Command { since: Instant::now() };
        }
        self.kernel = Some(kernel.clone());
        let deadline_factor = self.deadline_factor;
        self.observer.event(&Event::Hello { kernel, after, deadline_factor, controllers, degraded });
        self.tell(&Message::Go { deadline_factor })
    }

    fn records(&mut self) -> Result<(), BootError> {
        self.records.receive().map_err(io_error("read the records port"))?;
        for line in self.records.lines() {
            self.n_records += 1;
            self.observer.record(&line);
        }
        Ok(())
    }

    fn show(&mut self) -> Result<(), BootError> {
        let Some(console) = &mut self.console else { return Ok(()) };
        console.flush().and_then(|()| console.show()).map_err(io_error("serve the console"))
    }

    fn type_in(&mut self) -> Result<(), BootError> {
        let Some(console) = &mut self.console else { return Ok(()) };
        if !console.type_in().map_err(io_error("read standard input for the console"))? {
            self.facts.interrupted = Some(Signal::SIGINT as i32);
            self.kill()?;
        }
        Ok(())
    }

    /// Reads what QEMU left in the sockets, reaps it, and judges.
    fn finish(mut self) -> Result<Booted, BootError> {
        let status = self.qemu.reap()?;
        self.phase = Phase::Dying;
        while self.serial.is_open() {
            self.serial()?;
        }
        while self.qmp.is_open() {
            self.qmp()?;
        }
        while self.records.is_open() {
            self.records()?;
        }
        while self.control.is_open() {
            self.control()?;
        }
        while self.stderr.is_open() {
            self.stderr.receive().map_err(io_error("read standard error"))?;
        }
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
