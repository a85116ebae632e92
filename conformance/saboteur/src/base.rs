//! The good runtime below a defect.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{getpid, getppid};
use serde_json::Value;

use crate::call::Call;

/// Names the good runtime.
const BASE_ENV: &str = "PODPROOF_SABOTEUR_BASE";

/// A good runtime.
#[derive(Debug)]
pub(crate) struct Base {
    path: PathBuf,
    ignores_children: bool,
}

impl Base {
    pub(crate) fn from_environment() -> Result<Self> {
        let path = std::env::var_os(BASE_ENV)
            .with_context(|| format!("{BASE_ENV} is not set; it names the good runtime to spoil"))?;
        Ok(Self { path: path.into(), ignores_children: stop_ignoring_children()? })
    }

    /// Whether the saboteur was called with SIGCHLD ignored. It then takes the default action itself, as it waits for what it
    /// starts.
    pub(crate) fn ignores_children(&self) -> bool {
        self.ignores_children
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn own_command(&self, call: &Call) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&call.arguments);
        command
    }

    fn command(&self, call: &Call) -> Command {
        let mut command = self.own_command(call);
        die_together(&mut command);
        command
    }

    /// Passes the call on; the exit code of the good runtime.
    pub(crate) fn pass(&self, call: &Call) -> Result<u8> {
        run(self.command(call))
    }

    /// Becomes the good runtime: whoever counts the system calls of this process sees those of the call, and nothing is left to do
    /// for a defect when it ends. Returns only when it fails.
    pub(crate) fn become_it(&self, call: &Call) -> Result<u8> {
        let error = self.own_command(call).exec();
        Err(error).with_context(|| format!("execute {}", self.path.display()))
    }

    /// Passes a `state` call on and prints its answer with this change; the exit code.
    pub(crate) fn answer(&self, call: &Call, change: impl FnOnce(&mut Value)) -> Result<u8> {
        let output = self.ask(call)?;
        if !output.status.success() {
            return Ok(1);
        }
        let mut state = serde_json::from_slice(&output.stdout).context("parse the state")?;
        change(&mut state);
        println!("{state}");
        Ok(0)
    }

    /// What the good runtime tells of the container of a call; `None` when it does not know it.
    pub(crate) fn state(&self, call: &Call) -> Result<Option<Value>> {
        let output = self.ask(&call.other(&["state", call.id()]))?;
        if !output.status.success() {
            return Ok(None);
        }
        serde_json::from_slice(&output.stdout).context("parse the state").map(Some)
    }

    /// Passes the call on and keeps what it prints.
    pub(crate) fn ask(&self, call: &Call) -> Result<Output> {
        let mut command = self.command(call);
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        command.output().with_context(|| format!("run {}", self.path.display()))
    }
}

/// Who kills the saboteur means the runtime that it is for: both end at once, as one process would (prctl(2), `PR_SET_PDEATHSIG`).
#[expect(
    unsafe_code,
    reason = "what runs between fork and exec must be async-signal-safe; both are system calls only"
)]
fn die_together(command: &mut Command) {
    let saboteur = getpid();
    let tie = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // It may have ended before.
        if getppid() == saboteur { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: it allocates nothing and takes no lock.
    unsafe { command.pre_exec(tie) };
}

/// Gives SIGCHLD its default action; whether it was ignored before.
#[expect(unsafe_code, reason = "a handler could be unsafe; this one is the default action")]
fn stop_ignoring_children() -> Result<bool> {
    // SAFETY: no handler is installed, so none can do what it must not.
    let before = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }
        .context("take the default action of SIGCHLD")?;
    Ok(matches!(before, SigHandler::SigIgn))
}

fn run(mut command: Command) -> Result<u8> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("run {program}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
