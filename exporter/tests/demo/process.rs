//! Programs that run beside the demo, and what they answer.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{self, Res, until};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A program that writes to a file; killed with the demo.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(program: &OsStr, arguments: &[&str], log: &Path) -> Res<Self> {
        let output = File::create(log)?;
        let errors = output.try_clone()?;
        let child = Command::new(program).args(arguments).stdout(output).stderr(errors).spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Fails when it has ended, with what it has said.
    pub(crate) fn check(&mut self) -> Res<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{status}: {}", fs::read_to_string(&self.log)?).into()),
        }
    }

    /// Fails unless it has said this.
    pub(crate) fn has_said(&self, text: &str) -> Res<()> {
        let said = fs::read_to_string(&self.log)?;
        if said.contains(text) { Ok(()) } else { Err(format!("no {text} in: {said}").into()) }
    }

    /// Ends it as a service manager does; fails when it does not say that all is well.
    pub(crate) fn end(mut self) -> Res<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let status = until("a program to end", ANSWER, || Ok(self.child.try_wait()?))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{status}: {}", fs::read_to_string(&self.log)?).into())
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Status code and body of a page.
pub(crate) fn get(address: &str, path: &str) -> Res<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    support::get(&mut stream, path)
}
