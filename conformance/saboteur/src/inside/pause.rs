//! Broken sandbox programs: a good one, of which each mode changes one thing.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

/// What a sandbox program does.
#[derive(Debug, Clone, Copy)]
struct Pause {
    /// Signals that end it. Those that are not listed have their default action, which PID 1 ignores.
    ends: &'static [Signal],
    on_child: fn(),
    /// Reads its own SIGCONT, and then takes no heed of a SIGCHLD that came with it.
    forgets_at_cont: bool,
    /// A SIGCHLD for a child that stops or continues, too.
    is_told_of_stops: bool,
    /// Reaps at SIGCHLD.
    heeds_children: bool,
    /// Wakes up this often by itself, milliseconds, and reaps.
    tick_ms: Option<u16>,
    /// What it does where it is not PID 1.
    elsewhere: Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    /// Says so and becomes a subreaper.
    Adopts,
    /// Says so and adopts nobody.
    AssumesInit,
    /// Ends with an error.
    Refuses,
}

const GOOD: Pause = Pause {
    ends: &[Signal::SIGTERM, Signal::SIGINT],
    on_child: reap_all,
    forgets_at_cont: false,
    is_told_of_stops: false,
    heeds_children: true,
    tick_ms: None,
    elsewhere: Elsewhere::Adopts,
};

/// Runs as PID 1 of a sandbox, with the defect that the first argument names.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    let mode = arguments.first().map(String::as_str);
    let pause = match mode {
        Some("deaf") => Pause { ends: &[], ..GOOD },
        Some("only-term") => Pause { ends: &[Signal::SIGTERM], ..GOOD },
        // The pod layer gives its sandbox program no arguments.
        None | Some("ends-on-hup") => {
            Pause { ends: &[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP], ..GOOD }
        }
        Some("never-reaps") => Pause { on_child: || {}, ..GOOD },
        Some("one-per-signal") => Pause { on_child: reap_one, ..GOOD },
        Some("own-group") => Pause { on_child: reap_own_group, ..GOOD },
        Some("gives-up") => Pause { on_child: reap_a_hundred, ..GOOD },
        Some("forgets-at-cont") => Pause { forgets_at_cont: true, ..GOOD },
        Some("told-of-stops") => Pause { is_told_of_stops: true, ..GOOD },
        Some("polls") => Pause { heeds_children: false, tick_ms: Some(1000), ..GOOD },
        Some("ticks") => Pause { tick_ms: Some(1000), ..GOOD },
        Some("refuses") => Pause { elsewhere: Elsewhere::Refuses, ..GOOD },
        Some("assumes-init") => Pause { elsewhere: Elsewhere::AssumesInit, ..GOOD },
        other => bail!("unknown mode {other:?} of a broken pause"),
    };
    pause.run()
}

impl Pause {
    fn run(self) -> Result<u8> {
        let mut mask = SigSet::empty();
        for signal in self.ends {
            mask.add(*signal);
        }
        if self.heeds_children {
            mask.add(Signal::SIGCHLD);
        }
        if self.forgets_at_cont {
            mask.add(Signal::SIGCONT);
        }
        mask.thread_block()?;
        if !self.is_told_of_stops {
            ignore_stops()?;
        }
        if getpid().as_raw() != 1 {
            match self.elsewhere {
                Elsewhere::Refuses => bail!("not PID 1"),
                Elsewhere::AssumesInit => {}
                Elsewhere::Adopts => set_child_subreaper(true)?,
            }
            eprintln!("pause: not PID 1");
        }
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let timeout = self.tick_ms.map_or(PollTimeout::NONE, PollTimeout::from);
        loop {
            if poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout) == Ok(0) {
                reap_all();
            }
            let mut taken = Vec::new();
            while let Ok(Some(signal)) = signals.read_signal() {
                taken.extend(
                    i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()),
                );
            }
            if taken.iter().any(|signal| self.ends.contains(signal)) {
                return Ok(0);
            }
            let is_forgotten = self.forgets_at_cont && taken.contains(&Signal::SIGCONT);
            if taken.contains(&Signal::SIGCHLD) && !is_forgotten {
                (self.on_child)();
            }
        }
    }
}

/// No SIGCHLD for a child that stops or continues.
#[expect(unsafe_code, reason = "a handler could be unsafe; this one is the default action")]
fn ignore_stops() -> Result<()> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::SA_NOCLDSTOP, SigSet::empty());
    // SAFETY: no handler is installed, so none can do what it must not.
    unsafe { sigaction(Signal::SIGCHLD, &action) }?;
    Ok(())
}

/// What a good pause does at SIGCHLD.
fn reap_all() {
    while reap_next(None) {}
}

/// What it must not do: several ends may share one SIGCHLD.
fn reap_one() {
    reap_next(None);
}

/// Nor this: an orphan is in the process group that it was born in.
fn reap_own_group() {
    while reap_next(Some(Pid::from_raw(0))) {}
}

/// Nor this.
fn reap_a_hundred() {
    static REAPED: AtomicU32 = AtomicU32::new(0);
    while REAPED.load(Ordering::Relaxed) < 100 && reap_next(None) {
        REAPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reaps a child that has ended; `false` when there is none.
fn reap_next(whom: Option<Pid>) -> bool {
    !matches!(waitpid(whom, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD))
}
