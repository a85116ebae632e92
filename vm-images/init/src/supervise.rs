//! Runs the command: one thread, one poll(2) loop over its output, the children, the clock and the host.
//!
//! Everything is written from here, so records keep the order in which things happened. When the command has
//! ended, what it left in its pipes is sent first; what its surviving children write later is not waited for.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::clock_gettime;
use nix::unistd::{Pid, read};
use vm_init::{Bytes, InitConfig, Message, RecordKind, Stream};

use crate::command::{self, StartError, Started};
use crate::control::Control;
use crate::step::{Failure, Step};

/// Below the 32 KiB that one write to a virtio-serial port takes, with room for JSON around it.
const CHUNK_BYTES: usize = 16 * 1024;

/// A pipe holds 64 KiB unless its owner enlarges it, to 1 MiB at most by default (pipe(7)).
const MAX_CHUNKS: usize = 64;

/// What a machine whose command never ran ends with; the host knows the cause from the record.
const REFUSED: u8 = 0x7f;

pub(crate) fn run(config: &InitConfig, deadline_factor: f64, mut control: Control) -> Result<u8, Failure> {
    // Before the command: no child can end unseen. The standard library gives the command an empty mask.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().step("block", "SIGCHLD")?;
    let children = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .step("open", "signalfd")?;
    let clock = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
        .step("open", "timerfd")?;
    clock
        .set(Expiration::Interval(TimeSpec::new(1, 0)), TimerSetTimeFlags::empty())
        .step("set", "timerfd")?;

    let mut started = match command::start(config, deadline_factor) {
        Ok(started) => started,
        Err(StartError::Refused { program, errno }) => {
            control.send(RecordKind::Refused { program, errno })?;
            return Ok(REFUSED);
        }
        Err(StartError::Failed(failure)) => return Err(failure),
    };
    let pid = Pid::from_raw(i32::try_from(started.child.id()).step("convert", "pid")?);
    control.send(RecordKind::Start { pid: pid.as_raw() })?;

    let status = loop {
        let ready = wait(&control, &children, &clock, &started.outputs)?;
        if ready.clock {
            // Reading rearms it; how often it expired does not matter.
            clock.wait().step("read", "timerfd")?;
            control.send(RecordKind::Beat { uptime_s: uptime_s()? })?;
        }
        forward(&mut started.outputs, &ready.outputs, &mut control)?;
        if ready.control {
            follow(control.receive()?, &started)?;
        }
        if ready.children {
            while matches!(children.read_signal(), Ok(Some(_))) {}
            if let Some(status) = reap(pid)? {
                break status;
            }
        }
    };
    let all = vec![true; started.outputs.len()];
    forward(&mut started.outputs, &all, &mut control)?;
    control.send(RecordKind::Exit { code: status.code(), signal: status.signal() })?;
    Ok(debug_exit_value(status))
}

/// Seven bits arrive at the host: it compares them with the same bits of the exit record.
fn debug_exit_value(status: ExitStatus) -> u8 {
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(status & 0x7f).unwrap_or(0x7f)
}

struct Ready {
    control: bool,
    children: bool,
    clock: bool,
    outputs: Vec<bool>,
}

fn wait(
    control: &Control,
    children: &SignalFd,
    clock: &TimerFd,
    outputs: &[(Stream, OwnedFd)],
) -> Result<Ready, Failure> {
    let fixed = [control.as_fd(), children.as_fd(), clock.as_fd()];
    let mut fds: Vec<_> = fixed
        .into_iter()
        .chain(outputs.iter().map(|(_, fd)| fd.as_fd()))
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Failure::new("poll", "command", errno)),
    }
    let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
    Ok(Ready {
        control: fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)),
        children: ready(&fds[1]),
        clock: ready(&fds[2]),
        outputs: fds[3..].iter().map(ready).collect(),
    })
}

/// Sends what the ready pipes hold; a pipe at its end is closed.
fn forward(
    outputs: &mut Vec<(Stream, OwnedFd)>,
    ready: &[bool],
    control: &mut Control,
) -> Result<(), Failure> {
    let mut open = Vec::with_capacity(outputs.len());
    for ((stream, fd), ready) in outputs.drain(..).zip(ready) {
        if !ready || drain(stream, &fd, control)? {
            open.push((stream, fd));
        }
    }
    *outputs = open;
    Ok(())
}

/// Reads what a pipe can hold at most; `false` at its end.
fn drain(stream: Stream, fd: &OwnedFd, control: &mut Control) -> Result<bool, Failure> {
    let mut chunk = [0; CHUNK_BYTES];
    // Bounded: a writer that never stops must not keep the clock and the other descriptors waiting.
    for _ in 0..MAX_CHUNKS {
        match read(fd, &mut chunk) {
            Ok(0) => return Ok(false),
            Ok(n_read) => control.send(RecordKind::Out { stream, bytes: Bytes::new(&chunk[..n_read]) })?,
            Err(Errno::EAGAIN) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new("read", format!("descriptor {}", fd.as_raw_fd()), errno)),
        }
    }
    Ok(true)
}

fn follow(message: Message, started: &Started) -> Result<(), Failure> {
    match (message, &started.console) {
        (Message::Resize(size), Some(terminal)) => command::resize(terminal, size),
        // Without a console there is nothing to resize; a second go changes nothing.
        (Message::Resize(_) | Message::Go { .. }, _) => Ok(()),
    }
}

/// Collects every dead child, orphans too; gives the command's status when it is among them.
fn reap(command: Pid) -> Result<Option<ExitStatus>, Failure> {
    let mut ended = None;
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus::from_raw((code & 0xff) << 8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitStatus::from_raw(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(ended),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Failure::new("wait for", "children", errno)),
        };
        if status.0 == command {
            ended = Some(status.1);
        }
    }
}

fn uptime_s() -> Result<u64, Failure> {
    let now = clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).step("read", "clock")?;
    u64::try_from(now.tv_sec()).step("convert", "clock")
}
