//! System call filters: rules in, the program that the kernel runs before each system call out (seccomp(2)).
//!
//! The functions are pure. [`table`] knows the numbers of the system calls, [`filter`] sorts the rules by architecture and
//! number, [`assemble`] writes instructions. The result means what the same rules mean to libseccomp, for which the
//! profiles in use were written:
//!
//! * the native architecture is always in; a call by way of one that is not ends the calling thread;
//! * a rule with the default action, and a name that no system call has, change nothing;
//! * a rule without conditions goes before any with conditions; else the first that fits decides;
//! * a rule with two conditions on one argument means either, any other rule means all;
//! * on 32-bit architectures conditions see the low 32 bits of an argument;
//! * calls that x86 also reaches through `socketcall` and `ipc` are filtered there too, by their number alone.

pub mod assemble;
pub mod filter;
pub mod table;

pub use filter::compile;

/// An architecture of system calls that an x86-64 kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64 bits; the native one.
    X86_64,
    /// 32-bit pointers in 64-bit mode.
    X32,
    /// 32 bits.
    X86,
}

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// End the thread.
    KillThread,
    /// End the process.
    KillProcess,
    /// Send SIGSYS.
    Trap,
    /// Return an errno.
    Errno(u16),
    /// Ask the listener.
    Notify,
    /// Tell the tracer this value.
    Trace(u16),
    /// Write to the log, and do it.
    Log,
    /// Do it.
    Allow,
}

impl Action {
    /// The value that the program returns (`SECCOMP_RET_*`).
    #[must_use]
    pub fn value(self) -> u32 {
        match self {
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Trace(value) => libc::SECCOMP_RET_TRACE | u32::from(value),
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Equal.
    Eq,
    /// Greater or equal.
    Ge,
    /// Greater.
    Gt,
    /// Equal, of the bits of this mask.
    MaskedEq(u64),
}

/// A condition on an argument; numbers are unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Number of the argument, 0 to 5.
    pub index: u8,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// What is done with some system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names of the calls.
    pub names: Vec<String>,
    /// What is done.
    pub action: Action,
    /// All must hold; with two for one argument, one must.
    pub conditions: Vec<Condition>,
}

/// All rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// For calls without a rule.
    pub default: Action,
    /// Beside the native one.
    pub architectures: Vec<Arch>,
    /// Rules.
    pub rules: Vec<Rule>,
}

/// One instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions are left out when the comparison holds.
    pub jt: u8,
    /// And when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}
