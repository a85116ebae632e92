//! `process`: the program, its user and its limits.

use std::ffi::CString;
use std::path::PathBuf;

use oci_spec::runtime as oci;

use super::mounts::absolute;
use super::{CapabilitySpec, IoPriority, Scheduler, SpecError, capabilities, schedule};

/// A resource limit (getrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Name as written, for messages.
    pub name: &'static str,
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// The program of the container.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// Program and arguments, at least one.
    pub args: Vec<CString>,
    /// Environment, complete.
    pub env: Vec<CString>,
    /// Working directory in the container, absolute.
    pub cwd: PathBuf,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, complete.
    pub additional_gids: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets.
    pub capabilities: CapabilitySpec,
    /// No exec may give privileges (prctl(2) `PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// Limits.
    pub rlimits: Vec<Rlimit>,
    /// Preference of the OOM killer; `None` keeps the runtime's own.
    pub oom_score_adj: Option<i32>,
    /// The program gets a pseudoterminal for its standard streams.
    pub has_terminal: bool,
    /// Size that the terminal begins with.
    pub console_size: Option<ConsoleSize>,
    /// AppArmor profile of the program.
    pub apparmor_profile: Option<String>,
    /// I/O priority; `None` keeps the runtime's own.
    pub io_priority: Option<IoPriority>,
    /// Scheduling policy; `None` keeps the runtime's own.
    pub scheduler: Option<Scheduler>,
}

impl ProcessSpec {
    /// True when the environment has a `HOME` with something in it.
    #[must_use]
    pub fn has_home(&self) -> bool {
        self.env
            .iter()
            .any(|entry| entry.as_bytes().strip_prefix(b"HOME=").is_some_and(|home| !home.is_empty()))
    }

    /// `PATH` of the container's environment.
    #[must_use]
    pub fn search_path(&self) -> Option<&[u8]> {
        self.env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="))
    }
}

/// The umask of a program whose bundle does not name one: the customary value of OCI runtimes.
const DEFAULT_UMASK: u32 = 0o022;

/// Reads `process`.
///
/// # Errors
/// The field that is missing or has no meaning, by its path.
pub(super) fn read(process: &oci::Process) -> Result<ProcessSpec, SpecError> {
    let args = strings("process.args", process.args().as_deref().unwrap_or_default())?;
    if args.first().is_none_or(|program| program.is_empty()) {
        return Err(SpecError::Missing { path: "process.args" });
    }
    let env = strings("process.env", process.env().as_deref().unwrap_or_default())?;
    if let Some(index) = env.iter().position(|entry| !entry.as_bytes().contains(&b'=')) {
        return Err(SpecError::invalid(format!("process.env[{index}]"), "is not of the form NAME=value"));
    }
    if process.cwd().as_os_str().is_empty() {
        return Err(SpecError::Missing { path: "process.cwd" });
    }
    let oom_score_adj = process.oom_score_adj();
    if let Some(score) = oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(SpecError::invalid("process.oomScoreAdj", format!("{score} is outside -1000 to 1000")));
    }
    let umask = process.user().umask().unwrap_or(DEFAULT_UMASK);
    if umask > 0o777 {
        return Err(SpecError::invalid("process.user.umask", format!("{umask} is above 511 (0777)")));
    }
    Ok(ProcessSpec {
        args,
        env,
        cwd: absolute("process.cwd", process.cwd())?,
        uid: process.user().uid(),
        gid: process.user().gid(),
        additional_gids: process.user().additional_gids().clone().unwrap_or_default(),
        umask,
        capabilities: capabilities::read(process.capabilities().as_ref()),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        oom_score_adj,
        has_terminal: process.terminal().unwrap_or(false),
        console_size: process.console_size().map(console_size).transpose()?,
        apparmor_profile: process.apparmor_profile().clone().filter(|name| !name.is_empty()),
        io_priority: process.io_priority().as_ref().map(schedule::read_io_priority).transpose()?,
        scheduler: process.scheduler().as_ref().map(schedule::read).transpose()?,
    })
}

fn console_size(size: oci::Box) -> Result<ConsoleSize, SpecError> {
    let side = |field: &str, length: u64| {
        u16::try_from(length).map_err(|_above| {
            SpecError::invalid(format!("process.consoleSize.{field}"), format!("{length} is above 65535"))
        })
    };
    Ok(ConsoleSize { height: side("height", size.height())?, width: side("width", size.width())? })
}

fn strings(field: &str, list: &[String]) -> Result<Vec<CString>, SpecError> {
    list.iter()
        .enumerate()
        .map(|(index, text)| {
            CString::new(text.as_str())
                .map_err(|_nul| SpecError::invalid(format!("{field}[{index}]"), "has a NUL in it"))
        })
        .collect()
}

fn rlimits(list: &[oci::PosixRlimit]) -> Result<Vec<Rlimit>, SpecError> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let (name, resource) = resource(entry.typ());
        let path = format!("process.rlimits[{index}]");
        if limits.iter().any(|limit| limit.resource == resource) {
            return Err(SpecError::invalid(path, format!("{name} is listed twice")));
        }
        if entry.soft() > entry.hard() {
            return Err(SpecError::invalid(
                path,
                format!("{name}: the soft limit {} is above the hard limit {}", entry.soft(), entry.hard()),
            ));
        }
        limits.push(Rlimit { name, resource, soft: entry.soft(), hard: entry.hard() });
    }
    Ok(limits)
}

fn resource(kind: oci::PosixRlimitType) -> (&'static str, u32) {
    use oci::PosixRlimitType as R;
    match kind {
        R::RlimitCpu => ("RLIMIT_CPU", libc::RLIMIT_CPU),
        R::RlimitFsize => ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
        R::RlimitData => ("RLIMIT_DATA", libc::RLIMIT_DATA),
        R::RlimitStack => ("RLIMIT_STACK", libc::RLIMIT_STACK),
        R::RlimitCore => ("RLIMIT_CORE", libc::RLIMIT_CORE),
        R::RlimitRss => ("RLIMIT_RSS", libc::RLIMIT_RSS),
        R::RlimitNproc => ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
        R::RlimitNofile => ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
        R::RlimitMemlock => ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
        R::RlimitAs => ("RLIMIT_AS", libc::RLIMIT_AS),
        R::RlimitLocks => ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
        R::RlimitSigpending => ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
        R::RlimitMsgqueue => ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
        R::RlimitNice => ("RLIMIT_NICE", libc::RLIMIT_NICE),
        R::RlimitRtprio => ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
        R::RlimitRttime => ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    }
}
