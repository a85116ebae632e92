//! A program that is scraped.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::measure::{Res, memory};

/// How long it may take to begin, to answer and to come to rest.
const DEADLINE: Duration = Duration::from_secs(300);
/// Who has used no CPU for so long rests.
const REST: Duration = Duration::from_millis(30);

/// Killed at the end.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    address: &'static str,
    child: Child,
}

/// What a scrape took.
pub(crate) struct Cost {
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) n_samples: u64,
    pub(crate) n_bytes: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have failed by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Server {
    /// Starts it, and waits until it answers and rests.
    pub(crate) fn start(command: &mut Command, name: &'static str, address: &'static str) -> Res<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut server = Self { name, address, child };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{name} ended: {status}").into());
            }
            if began.elapsed() > DEADLINE {
                return Err(format!("{name} does not listen on {address}").into());
            }
            rest(REST)?;
        }
        // The exporter listens before it is ready.
        server.get("/")?;
        server.settle()?;
        Ok(server)
    }

    /// Scrapes it once.
    pub(crate) fn scrape(&self) -> Res<Cost> {
        let (before, began) = (self.cpu_ns()?, Instant::now());
        let answer = self.get("/metrics")?;
        let wall_ns = u64::try_from(began.elapsed().as_nanos())?;
        // It tidies up when the answer is sent.
        let cpu_ns = self.settle()? - before;
        let n_samples = answer.split(|byte| *byte == b'\n').filter(|line| is_sample(line)).count();
        if n_samples == 0 {
            return Err(format!("{} answers without samples", self.name).into());
        }
        Ok(Cost {
            wall_ns,
            cpu_ns,
            n_samples: u64::try_from(n_samples)?,
            n_bytes: u64::try_from(answer.len())?,
        })
    }

    /// CPU time of all its threads so far, also of those that have ended.
    pub(crate) fn cpu_ns(&self) -> Res<u64> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.child.id().try_into()?))?;
        Ok(u64::try_from(Duration::from(clock_gettime(clock)?).as_nanos())?)
    }

    /// Bytes that are resident, and the most that ever were.
    pub(crate) fn memory(&self) -> Res<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        let peak_kib: u64 = peak.ok_or("no VmHWM in the status of a process")?.parse()?;
        Ok((memory(self.child.id(), &["Rss"])?, peak_kib << 10))
    }

    /// The body of a page.
    fn get(&self, path: &str) -> Res<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer.split(|byte| *byte == b' ').nth(1) != Some(b"200") {
            let head: Vec<u8> = answer.into_iter().take(100).collect();
            return Err(format!("{} answers {:?}", self.name, String::from_utf8_lossy(&head)).into());
        }
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").ok_or("an answer without a head")?;
        answer.drain(..head + 4);
        Ok(answer)
    }

    /// Waits until it rests; its CPU time then.
    fn settle(&self) -> Res<u64> {
        let began = Instant::now();
        let mut last = self.cpu_ns()?;
        loop {
            rest(REST)?;
            let now = self.cpu_ns()?;
            if now == last {
                return Ok(now);
            }
            if began.elapsed() > DEADLINE {
                return Err(format!("{} does not come to rest", self.name).into());
            }
            last = now;
        }
    }
}

fn is_sample(line: &[u8]) -> bool {
    !line.is_empty() && line[0] != b'#'
}

/// Lets time pass.
pub(crate) fn rest(duration: Duration) -> Res<()> {
    poll(&mut [], PollTimeout::try_from(duration)?)?;
    Ok(())
}
