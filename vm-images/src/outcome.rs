//! How a machine ended, judged from facts alone: [`judge`] is pure.

use std::fmt;
use std::time::Duration;

pub use crate::serial::OomVictim;

/// How it ended. Everything but the end of the command is a fault of the machine, not a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The command ended with this code.
    Exited {
        /// 0 to 255.
        code: u8,
    },
    /// A signal ended the command.
    Killed {
        /// Its number.
        signal: i32,
    },
    /// The command could not be executed.
    NotStarted {
        /// What was tried.
        program: String,
        /// errno of execve(2).
        errno: i32,
    },
    /// The guest kernel panicked.
    Panicked {
        /// The words after "Kernel panic - not syncing".
        reason: String,
    },
    /// A deadline passed.
    Hung(Hang),
    /// The guest had no memory left and its kernel killed a process.
    OutOfMemory {
        /// Which one.
        victim: OomVictim,
    },
    /// The guest powered off or restarted before the command had ended.
    PoweredOff {
        /// It wanted to start again, or its processor gave up (triple fault).
        is_reset: bool,
    },
    /// The guest's PID 1 could not prepare the machine.
    InitFailed,
    /// QEMU stopped the virtual processors (KVM cannot run this guest).
    Stopped,
    /// QEMU itself failed.
    QemuFailed {
        /// Its exit code, or the signal that ended it.
        status: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// The guest's reports are damaged.
    Garbled {
        /// How.
        detail: String,
    },
    /// The user ended the run.
    Interrupted {
        /// With this signal.
        signal: i32,
    },
}

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    /// PID 1 did not say hello.
    Boot(Duration),
    /// The command did not end.
    Command(Duration),
    /// PID 1 sent nothing, not even its beat.
    Silent(Duration),
    /// The command had ended, the machine did not.
    Ending(Duration),
}

/// Exit status for every fault of a machine: no result.
pub const STATUS_INCONCLUSIVE: u8 = 3;

impl Outcome {
    /// The status for a command line: that of the command (128 + signal when one ended it), 128 + signal after an
    /// interruption, and [`STATUS_INCONCLUSIVE`] for everything that is no result.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Exited { code } => *code,
            Self::Killed { signal } | Self::Interrupted { signal } => {
                u8::try_from(128 + signal).unwrap_or(u8::MAX)
            }
            _ => STATUS_INCONCLUSIVE,
        }
    }

    /// Whether the command itself ended, well or badly.
    #[must_use]
    pub fn is_result(&self) -> bool {
        matches!(self, Self::Exited { .. } | Self::Killed { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(out, "the command ended with exit code {code}"),
            Self::Killed { signal } => write!(out, "the command was ended by signal {signal}"),
            Self::NotStarted { program, errno } => {
                let cause = std::io::Error::from_raw_os_error(*errno);
                write!(
                    out,
                    "the guest could not execute {program}: {cause}; is it in the image, with its libraries?"
                )
            }
            Self::Panicked { reason } => write!(out, "the guest kernel panicked: {reason}"),
            Self::Hung(hang) => hang.fmt(out),
            Self::OutOfMemory { victim } => write!(
                out,
                "the guest ran out of memory and its kernel killed {} (process {}); give it more with --memory",
                victim.name, victim.pid
            ),
            Self::PoweredOff { is_reset: false } => {
                write!(out, "the guest powered off before the command had ended")
            }
            Self::PoweredOff { is_reset: true } => {
                write!(out, "the guest restarted before the command had ended, without a kernel panic")
            }
            Self::InitFailed => write!(
                out,
                "the guest's PID 1 could not prepare the machine; its last line says which step failed"
            ),
            Self::Stopped => {
                write!(out, "QEMU stopped the virtual processors: KVM cannot run this guest; use --accel tcg")
            }
            Self::QemuFailed { status, stderr } if stderr.is_empty() => write!(out, "QEMU failed ({status})"),
            Self::QemuFailed { status, stderr } => write!(out, "QEMU failed ({status}): {stderr}"),
            Self::Garbled { detail } => write!(out, "the guest's reports are damaged: {detail}"),
            Self::Interrupted { signal } => write!(out, "interrupted by signal {signal}"),
        }
    }
}

impl fmt::Display for Hang {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot(after) => write!(
                out,
                "the guest did not come up within {:.0} s: its PID 1 never said hello. The kernel needs an initramfs, \
                 a serial console, virtio_pci and virtio_console, built in or as modules in lib/modules/VERSION beside it",
                after.as_secs_f64()
            ),
            Self::Command(after) => {
                write!(out, "the command did not end within {:.0} s", after.as_secs_f64())
            }
            Self::Silent(after) => {
                write!(out, "the guest hangs: no sign of life for {:.0} s", after.as_secs_f64())
            }
            Self::Ending(after) => {
                write!(
                    out,
                    "the command had ended, but the machine did not within {:.0} s",
                    after.as_secs_f64()
                )
            }
        }
    }
}

/// What was seen of one boot.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    pub(crate) has_hello: bool,
    pub(crate) refused: Option<(String, i32)>,
    pub(crate) exit: Option<CommandEnd>,
    pub(crate) hang: Option<Hang>,
    pub(crate) is_stopped: bool,
    pub(crate) interrupted: Option<i32>,
    pub(crate) garbled: Option<String>,
    pub(crate) shutdown_reason: Option<String>,
    pub(crate) panic: Option<String>,
    pub(crate) oom_victim: Option<OomVictim>,
    /// Exit code of QEMU, unless a signal ended it.
    pub(crate) qemu_code: Option<i32>,
    pub(crate) qemu_status: String,
    pub(crate) qemu_stderr: String,
}

/// The exit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandEnd {
    Code(u8),
    Signal(i32),
}

impl CommandEnd {
    /// The seven bits that isa-debug-exit carries, as QEMU's exit code.
    fn qemu_code(self) -> i32 {
        let status = match self {
            Self::Code(code) => i32::from(code),
            Self::Signal(signal) => 128 + signal,
        };
        ((status & 0x7f) << 1) | 1
    }
}

/// Decides. The order matters: what ended the machine from outside comes first, then what makes a report of the
/// guest worthless, then its report, and last the ways to end without one.
pub(crate) fn judge(facts: Facts) -> Outcome {
    if let Some(signal) = facts.interrupted {
        return Outcome::Interrupted { signal };
    }
    if facts.is_stopped {
        return Outcome::Stopped;
    }
    if let Some(victim) = facts.oom_victim {
        return Outcome::OutOfMemory { victim };
    }
    if let Some(hang) = facts.hang {
        return Outcome::Hung(hang);
    }
    if let Some(reason) = facts.panic {
        return Outcome::Panicked { reason };
    }
    if let Some(detail) = facts.garbled {
        return Outcome::Garbled { detail };
    }
    if let Some((program, errno)) = facts.refused {
        return Outcome::NotStarted { program, errno };
    }
    let failed =
        || Outcome::QemuFailed { status: facts.qemu_status.clone(), stderr: facts.qemu_stderr.clone() };
    match (facts.exit, facts.qemu_code) {
        // Two ways to say the same: the record, and the machine's own status.
        (Some(end), Some(code)) if end.qemu_code() == code => match end {
            CommandEnd::Code(code) => Outcome::Exited { code },
            CommandEnd::Signal(signal) => Outcome::Killed { signal },
        },
        (Some(end), _) => Outcome::Garbled {
            detail: format!("the last record says {end:?}, but QEMU ended otherwise ({})", facts.qemu_status),
        },
        (None, code) => match facts.shutdown_reason.as_deref() {
            Some("guest-shutdown") => Outcome::PoweredOff { is_reset: false },
            Some("guest-reset") => Outcome::PoweredOff { is_reset: true },
            // Also 1, QEMU's own code for its errors, is odd: only this value is PID 1's.
            _ if code == Some((i32::from(vm_init::INIT_FAILED) << 1) | 1) && facts.qemu_stderr.is_empty() => {
                Outcome::InitFailed
            }
            _ => failed(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: u8, qemu_code: i32) -> Facts {
        Facts {
            has_hello: true,
            exit: Some(CommandEnd::Code(code)),
            qemu_code: Some(qemu_code),
            ..Facts::default()
        }
    }

    #[test]
    fn a_result_needs_record_and_status() {
        assert_eq!(judge(ended(0, 1)), Outcome::Exited { code: 0 });
        assert_eq!(judge(ended(42, 85)), Outcome::Exited { code: 42 });
        assert_eq!(judge(ended(255, 255)), Outcome::Exited { code: 255 });
        let killed =
            Facts { exit: Some(CommandEnd::Signal(9)), qemu_code: Some((9 << 1) | 1), ..Facts::default() };
        assert_eq!(judge(killed), Outcome::Killed { signal: 9 });
        assert!(matches!(judge(ended(0, 0)), Outcome::Garbled { .. }));
        assert!(matches!(judge(ended(0, 3)), Outcome::Garbled { .. }));
    }

    #[test]
    fn status_zero_or_one_of_qemu_alone_is_never_success() {
        for qemu_code in [Some(0), Some(1), None] {
            let facts = Facts { has_hello: true, qemu_code, ..Facts::default() };
            assert!(matches!(judge(facts), Outcome::QemuFailed { .. }));
        }
    }

    #[test]
    fn ends_without_a_record_are_told_apart() {
        let shutdown = |reason: &str| Facts {
            shutdown_reason: Some(reason.into()),
            qemu_code: Some(0),
            ..Facts::default()
        };
        assert_eq!(judge(shutdown("guest-shutdown")), Outcome::PoweredOff { is_reset: false });
        assert_eq!(judge(shutdown("guest-reset")), Outcome::PoweredOff { is_reset: true });
        let panicked = Facts { panic: Some("why".into()), ..shutdown("guest-reset") };
        assert_eq!(judge(panicked), Outcome::Panicked { reason: "why".into() });
        let init = Facts { qemu_code: Some(251), ..Facts::default() };
        assert_eq!(judge(init), Outcome::InitFailed);
    }

    #[test]
    fn a_panic_that_the_nmi_caused_is_still_the_hang() {
        let hang = Hang::Command(Duration::from_secs(5));
        let facts = Facts { hang: Some(hang), panic: Some("NMI: Not continuing".into()), ..Facts::default() };
        assert_eq!(judge(facts), Outcome::Hung(hang));
    }

    #[test]
    fn a_machine_out_of_memory_gives_no_result() {
        let victim = OomVictim { pid: 7, name: "tail".into() };
        let outcome = judge(Facts { oom_victim: Some(victim.clone()), ..ended(0, 1) });
        assert_eq!(outcome, Outcome::OutOfMemory { victim });
        assert_eq!(outcome.exit_status(), STATUS_INCONCLUSIVE);
    }

    #[test]
    fn statuses() {
        assert_eq!(Outcome::Exited { code: 7 }.exit_status(), 7);
        assert_eq!(Outcome::Killed { signal: 9 }.exit_status(), 137);
        assert_eq!(Outcome::Interrupted { signal: 2 }.exit_status(), 130);
        assert_eq!(Outcome::Panicked { reason: String::new() }.exit_status(), 3);
        assert!(!Outcome::Interrupted { signal: 2 }.is_result());
    }
}
