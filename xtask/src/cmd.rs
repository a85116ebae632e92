//! Runs child processes: every error carries the command line, and no child outlives us.
#![expect(unsafe_code, reason = "the parent-death signal can only be set between fork and exec")]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sys::prctl;
use nix::sys::signal::Signal;

/// A command to be run to its end.
#[derive(Debug)]
pub(crate) struct Cmd {
    inner: Command,
}

impl Cmd {
    /// A command that the kernel ends with SIGTERM when we die before it.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut inner = Command::new(program);
        // SAFETY: between fork and exec only async-signal-safe calls are sound; prctl is one bare system call.
        unsafe {
            inner.pre_exec(|| prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from));
        }
        Self { inner }
    }

    /// This very program.
    ///
    /// # Errors
    /// It cannot be found.
    pub(crate) fn ourselves() -> Result<Self> {
        Ok(Self::new(std::env::current_exe().context("cannot find this program")?))
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg);
        self
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.inner.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.inner.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// The command line as a user would type it.
    pub(crate) fn line(&self) -> String {
        let mut line = quoted(self.inner.get_program());
        for arg in self.inner.get_args() {
            let _infallible = write!(line, " {}", quoted(arg));
        }
        line
    }

    /// Runs it with our own output streams; tells whether it succeeded.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn succeeds(mut self) -> Result<bool> {
        let line = self.line();
        let status =
            self.inner.stdin(Stdio::null()).status().with_context(|| format!("cannot run `{line}`"))?;
        Ok(status.success())
    }

    /// Runs it with our own output streams.
    ///
    /// # Errors
    /// The program cannot be started, or fails.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        let status =
            self.inner.stdin(Stdio::null()).status().with_context(|| format!("cannot run `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed: {status}");
        }
        Ok(())
    }

    /// Starts it; both streams of its output go to a file without a name.
    ///
    /// # Errors
    /// There can be no such file, or the program cannot be started.
    pub(crate) fn spawn(mut self) -> Result<(Child, File)> {
        let line = self.line();
        let output = tempfile::tempfile().context("cannot make a file for the output")?;
        let stream = || output.try_clone().context("cannot share the file of the output");
        let command = self.inner.stdin(Stdio::null()).stdout(stream()?).stderr(stream()?);
        let child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
        Ok((child, output))
    }

    /// Runs it and returns what it wrote and how it ended, whatever that was.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn output(mut self) -> Result<Output> {
        let line = self.line();
        self.inner.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{line}`"))
    }

    /// Runs it and returns its standard output; what it wrote on standard error becomes part of the error.
    ///
    /// # Errors
    /// The program cannot be started, or fails.
    pub(crate) fn read(self) -> Result<String> {
        let line = self.line();
        let output = self.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{line}` failed: {}\n{}", output.status, said.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Its standard output when it can be started and succeeds: to find out what is there by trying.
    pub(crate) fn try_read(self) -> Option<String> {
        self.read().ok()
    }

    /// The command itself, for callers that watch it while it runs.
    pub(crate) fn into_inner(self) -> Command {
        self.inner
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%~^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_the_command_line_and_what_was_said() {
        let err = Cmd::new("sh").args(["-c", "echo no such thing >&2; exit 3"]).read().unwrap_err();
        let text = format!("{err:#}");
        assert!(text.contains("sh -c 'echo no such thing >&2; exit 3'"), "{text}");
        assert!(text.contains("exit status: 3") && text.ends_with("no such thing"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let err = Cmd::new("/nowhere/at-all").arg("x y").run().unwrap_err();
        assert!(format!("{err:#}").starts_with("cannot run `/nowhere/at-all 'x y'`"), "{err:#}");
    }
}
