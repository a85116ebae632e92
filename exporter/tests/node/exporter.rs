//! An exporter that runs, and its scrapes.

use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::privileges::{AS_NOBODY, NOBODY};
use crate::support;
use crate::{Res, expect};

/// First argument of this binary when it is to be the exporter.
pub(crate) const SERVE: &str = "serve";

const DEADLINE: Duration = Duration::from_secs(60);

/// Killed with the test.
pub(crate) struct Exporter {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It may have been stopped by the test.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Exporter {
    /// Starts one, and waits until it is ready.
    pub(crate) fn start(options: &[&str]) -> Res<Self> {
        Self::start_by(&[], tempfile::tempdir()?, options)
    }

    /// The same by a user without root, who has these capabilities only.
    pub(crate) fn start_as_nobody(capabilities: &str, options: &[&str]) -> Res<Self> {
        let dir = tempfile::tempdir()?;
        chown(dir.path(), Some(NOBODY), Some(NOBODY))?;
        Self::start_by(&[AS_NOBODY, capabilities], dir, options)
    }

    /// The same by this binary, which these arguments tell what to become first.
    pub(crate) fn start_by(starter: &[&str], dir: tempfile::TempDir, options: &[&str]) -> Res<Self> {
        let socket = format!("unix://{}", dir.path().join("socket").display());
        let mut command = Command::new(std::env::current_exe()?);
        // A warning would tear the lines of the tests.
        command
            .args(starter)
            .args([SERVE, "--log.level", "error", "--web.listen-address", &socket])
            .args(options);
        Self::start_command(&mut command, dir)
    }

    /// Starts this command, which answers on `socket` in the directory, and waits until it is ready.
    pub(crate) fn start_command(command: &mut Command, dir: tempfile::TempDir) -> Res<Self> {
        let exporter = Self { child: command.spawn()?, dir };
        until("the exporter to be ready", || {
            let answer = exporter.get("/-/ready");
            Ok(answer.is_ok_and(|(code, _)| code == 200).then_some(()))
        })?;
        Ok(exporter)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub(crate) fn pid(&self) -> Res<i32> {
        Ok(self.child.id().try_into()?)
    }

    /// A connection, as any client opens one.
    pub(crate) fn connect(&self) -> Res<UnixStream> {
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(stream)
    }

    /// Status code and body of a page.
    pub(crate) fn get(&self, path: &str) -> Res<(u16, String)> {
        let mut stream = self.connect()?;
        support::get(&mut stream, path)
    }

    /// All samples.
    pub(crate) fn scrape(&self) -> Res<BTreeMap<String, f64>> {
        let (code, text) = self.get("/metrics")?;
        if code != 200 {
            return Err(format!("the scrape is answered with {code}").into());
        }
        support::samples(&text)
    }

    /// Ends it as a service manager does; its exit code.
    pub(crate) fn stop(mut self) -> Res<Option<i32>> {
        let code = self.end()?;
        if self.socket().exists() { Err("the socket is left".into()) } else { Ok(code) }
    }

    /// The same, whatever becomes of the socket.
    pub(crate) fn end(&mut self) -> Res<Option<i32>> {
        self.signal()?;
        self.wait(DEADLINE)
    }

    /// Asks it to end.
    pub(crate) fn signal(&self) -> Res<()> {
        Ok(kill(Pid::from_raw(self.pid()?), Signal::SIGTERM)?)
    }

    /// Its exit code, if it ends within this time.
    pub(crate) fn wait(&mut self, patience: Duration) -> Res<Option<i32>> {
        support::until("the exporter to end", patience, || Ok(self.child.try_wait()?))
            .map(|status| status.code())
    }
}

/// Changes this process, and starts this binary again with these arguments. Tells why if it cannot.
pub(crate) fn again(arguments: &[String], change: impl FnOnce() -> Res<()>) -> ExitCode {
    let exec = || change().and_then(|()| Ok(Command::new(std::env::current_exe()?).args(arguments).exec()));
    let error = exec().map_or_else(|error| error.to_string(), |error| error.to_string());
    println!("{}: {error}", arguments.join(" "));
    ExitCode::FAILURE
}

/// Gives the machine its loopback interface, which nobody has done in one that has just booted.
pub(crate) fn raise_loopback() -> Res<()> {
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    expect("status of ip", status.code(), Some(0))
}

/// Tries until there is something, or a minute is over.
pub(crate) fn until<T>(what: &str, attempt: impl FnMut() -> Res<Option<T>>) -> Res<T> {
    support::until(what, DEADLINE, attempt)
}
