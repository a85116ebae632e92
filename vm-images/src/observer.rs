//! What a caller sees while a machine runs.

use std::fmt;
use std::time::Duration;

pub use vm_init::Stream;

use crate::qemu::Engine;

/// Takes what comes out of a machine, in the order in which it arrives. All methods do nothing unless they are
/// written.
pub trait Observer {
    /// Bytes that the command wrote to its standard output or error.
    fn output(&mut self, _stream: Stream, _bytes: &[u8]) {}

    /// One whole line, without its newline, that the command wrote to the records port.
    fn record(&mut self, _line: &[u8]) {}

    /// A line of the kernel's log.
    fn kernel_line(&mut self, _line: &[u8]) {}

    /// A turn in the life of the machine, worth a line for people.
    fn event(&mut self, _event: &Event) {}
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// A turn in the life of a machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What executes the guest, and why it is not KVM.
    Engine {
        /// The choice.
        engine: Engine,
        /// Why KVM is not used, when it was asked.
        reason: Option<String>,
    },
    /// PID 1 is ready.
    Hello {
        /// `uname -r` of the guest.
        kernel: String,
        /// Time since QEMU was started.
        after: Duration,
        /// See [`crate::Report::deadline_factor`].
        deadline_factor: f64,
        /// Controllers of the guest's cgroup hierarchy.
        controllers: Vec<String>,
        /// Optional steps that this kernel refused.
        degraded: Vec<String>,
    },
    /// The machine died before it was ready and is started again.
    Retry {
        /// How it died.
        reason: String,
    },
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine { engine, reason: None } => write!(out, "the machine runs by {engine}"),
            Self::Engine { engine, reason: Some(reason) } => {
                write!(out, "the machine runs by {engine}: {reason}")
            }
            Self::Hello { kernel, after, .. } => {
                write!(out, "kernel {kernel} is up after {:.1} s", after.as_secs_f64())
            }
            Self::Retry { reason } => {
                write!(out, "the machine died before it was up and is started again: {reason}")
            }
        }
    }
}
