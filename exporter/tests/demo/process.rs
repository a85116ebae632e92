//! Programs that run beside the demo, and waiting for what they do.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use crate::Res;

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
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Tries until there is something, or the time is over.
pub(crate) fn until<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Res<Option<T>>,
) -> Res<T> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        poll(&mut [], PollTimeout::from(200u8))?;
    }
    Err(format!("waited for {what} in vain").into())
}

/// Status code and body of a page.
pub(crate) fn get(address: &str, path: &str) -> Res<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("an answer without a code")?;
    Ok((code, body.to_owned()))
}
