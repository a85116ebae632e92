//! Children, orphans and what `/proc` lists.
//!
//! The witness waits only for children that it made and that a command says to wait for: as PID 1 it never reaps
//! what it did not fork, because some checks need exactly such a PID 1.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{FileStat, Mode, stat};
use nix::sys::wait::WaitStatus;
use nix::unistd::{self, Pid, mkdir, setsid};
use podproof_witness::ListedProcess;
use serde_json::{Value, json};

use crate::failure::{During, Failure, errno_of};
use crate::sys::{self, SharedWords};
use crate::time::Deadline;

/// Within this time every child that was forked must have come as far as it is meant to, on an emulated machine too.
const START_MS: u64 = 120_000;
/// Between two looks at `/proc`; the kernel has no event for "a zombie was reaped by somebody else".
const LOOK_AGAIN_MS: u64 = 5;

/// The children that a later command, or the end of the witness, is to end.
#[derive(Debug, Default)]
pub(crate) struct Children {
    sleepers: Vec<Pid>,
    /// Write ends of the pipes that hold orphans; no other process has them.
    releases: Vec<OwnedFd>,
}

impl Children {
    /// `fork_sleepers`.
    pub(crate) fn fork_sleepers(&mut self, count: u32, sessions: bool) -> Result<Value, Failure> {
        let pids = fork_until_ready(count, |ready| sleeper(sessions, ready))?;
        self.sleepers.extend(&pids);
        Ok(numbers(&pids))
    }

    /// `fork_staying`.
    pub(crate) fn fork_staying(count: u32, for_ms: u64) -> Result<Value, Failure> {
        let body = |ready: BorrowedFd<'_>| {
            if setsid().is_err() || report_ready(ready).is_err() {
                return 1;
            }
            Deadline::in_ms(for_ms).wait_out();
            0
        };
        fork_until_ready(count, body).map(|pids| numbers(&pids))
    }

    /// `break_out`.
    pub(crate) fn break_out(&mut self, jail: &str, marker: &str) -> Result<Value, Failure> {
        let path =
            |text: &str| CString::new(text).map_err(|_nul| Failure::new("a NUL in a path", Errno::EINVAL));
        let (jail, marker) = (path(jail)?, path(marker)?);
        let told = SharedWords::<4>::new().during(|| "map shared memory".to_owned())?;
        let pids = fork_until_ready(1, |ready| {
            match out_of(&jail) {
                Ok(reached) => {
                    told[1].store(reached.st_dev, Ordering::SeqCst);
                    told[2].store(reached.st_ino, Ordering::SeqCst);
                    let is_found = stat(marker.as_c_str()).is_ok();
                    told[3].store(is_found.into(), Ordering::SeqCst);
                }
                Err(errno) => told[0].store((errno as i32).unsigned_abs().into(), Ordering::SeqCst),
            }
            sleeper(false, ready)
        })?;
        self.sleepers.extend(&pids);
        let [errno, dev, ino, found] = [0, 1, 2, 3].map(|word: usize| told[word].load(Ordering::SeqCst));
        let pid = pids.first().map(|pid| pid.as_raw());
        Ok(json!({ "pid": pid, "errno": errno, "dev": dev, "ino": ino, "found": found != 0 }))
    }

    /// `fork_nested`.
    pub(crate) fn fork_nested(&mut self) -> Result<Value, Failure> {
        let (ready, ready_in) = sys::pipe().during(|| "make a pipe".to_owned())?;
        let child = sys::fork_in_new_pid_ns(&[ready_in.as_raw_fd()], || sleeper(false, ready_in.as_fd()))
            .during(|| "clone a child into a new pid namespace".to_owned())?;
        drop(ready_in);
        self.sleepers.push(child);
        expect_ready(&ready, 1)?;
        Ok(json!(child.as_raw()))
    }

    /// `make_orphans`, and `make_daemons` where the intermediate process begins a session.
    pub(crate) fn make_orphans(&mut self, count: u32, session: bool) -> Result<Value, Failure> {
        let (held, release) = sys::pipe().during(|| "make the pipe that holds orphans".to_owned())?;
        let (ready, ready_in) = sys::pipe().during(|| "make a pipe".to_owned())?;
        let orphan = || {
            // The intermediate closed everything else; its descriptors are ours.
            if report_ready(ready_in.as_fd()).is_err() {
                return 1;
            }
            wait_for_end(held.as_fd());
            0
        };
        let keep = [held.as_raw_fd(), ready_in.as_raw_fd()];
        let intermediate = sys::fork(&keep, || {
            if session && let Err(errno) = setsid() {
                return errno as i32;
            }
            let forked = (0..count).try_for_each(|_| sys::fork(&keep, orphan).map(|_pid| ()));
            forked.map_or_else(|errno| errno as i32, |()| 0)
        })
        .during(|| "fork the parent of the orphans".to_owned())?;
        drop((held, ready_in));
        let pids = read_ready(&ready);
        // It must be reaped before anything is returned; its status tells which error stopped it.
        match sys::wait_for(intermediate) {
            Ok(status) if !exited_with_zero(intermediate, status) => {
                let errno = Errno::from_raw(exit_code(intermediate, status).unwrap_or(libc::ECHILD));
                return Err(Failure::new(format!("fork {count} orphans"), errno));
            }
            // Where SIGCHLD is ignored the kernel reaped it.
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(errno) => return Err(Failure::new("wait for the parent of the orphans", errno)),
        }
        let mut pids = pids?;
        if pids.len() != count as usize {
            return Err(Failure::new(
                format!("wait for {count} orphans, {} came", pids.len()),
                Errno::ECHILD,
            ));
        }
        pids.sort_unstable();
        self.releases.push(release);
        Ok(json!(pids))
    }

    /// `fork_exiting`.
    pub(crate) fn fork_exiting(code: i32) -> Result<Value, Failure> {
        let child = sys::fork(&[], || code).during(|| "fork a child that exits".to_owned())?;
        Ok(json!(child.as_raw()))
    }

    /// `release_orphans`: the pipes have no other writer, so to close them wakes every orphan at once.
    pub(crate) fn release_orphans(&mut self) -> Value {
        self.releases.clear();
        Value::Null
    }

    /// Kills what sleeps, without waiting. For the end of the witness.
    pub(crate) fn abandon(&mut self) {
        for child in self.sleepers.drain(..).filter(|child| sys::is_running_child(*child)) {
            // It may have ended since; then there is nothing left to do.
            kill(child, Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// `fork_until_refused`.
pub(crate) fn fork_until_refused(at_most: u32) -> Result<Value, Failure> {
    // Nobody reads the pipe: as long as it is there the sleepers can tell that the witness is.
    let (_ready, ready_in) = sys::pipe().during(|| "make a pipe".to_owned())?;
    let mut made = Vec::new();
    let mut refused = 0;
    while made.len() < at_most as usize {
        match sys::fork(&[ready_in.as_raw_fd()], || sleeper(false, ready_in.as_fd())) {
            Ok(child) => made.push(child),
            Err(errno) => {
                refused = errno as i32;
                break;
            }
        }
    }
    for child in &made {
        kill(*child, Signal::SIGKILL).during(|| format!("kill sleeper {child}"))?;
    }
    for child in &made {
        match sys::wait_for(*child) {
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(errno) => return Err(Failure::new(format!("wait for sleeper {child}"), errno)),
        }
    }
    Ok(json!({ "made": made.len(), "errno": refused }))
}

/// `signal_from_child`.
pub(crate) fn signal_from_child(receiver: i32, signal: i32) -> Result<Value, Failure> {
    let op = || format!("send signal {signal} to process {receiver}");
    // Zero and negative numbers name groups and "everybody", which may reach beyond the container.
    if receiver <= 0 || !sys::SIGNALS.contains(&signal) {
        return Err(Failure::new(op(), Errno::EINVAL));
    }
    let answer = SharedWords::<2>::new().during(|| "map memory shared with a child".to_owned())?;
    let child = sys::fork(&[], || {
        let errno = sys::kill(receiver, signal).map_or_else(|errno| errno as i32, |()| 0);
        answer[0].store(u64::from(errno.unsigned_abs()), Ordering::SeqCst);
        answer[1].store(1, Ordering::SeqCst);
        0
    })
    .during(|| "fork a child that sends a signal".to_owned())?;
    reap(child)?;
    if answer[1].load(Ordering::SeqCst) == 0 {
        return Err(Failure::new(format!("{}: the child ended before it could", op()), Errno::ECHILD));
    }
    Ok(json!(answer[0].load(Ordering::SeqCst)))
}

/// `wait_child`.
pub(crate) fn wait_child(child: i32) -> Value {
    match sys::wait_for(Pid::from_raw(child)) {
        Ok(status) => json!({ "status": status, "errno": 0 }),
        Err(errno) => json!({ "errno": errno as i32 }),
    }
}

/// How many numbers `find_from_nested` takes.
const FOUND: usize = 8;

/// `find_from_nested`.
pub(crate) fn find_from_nested(pids: &[i32]) -> Result<Value, Failure> {
    // 1 would be the child itself; zero and negative numbers name groups.
    if pids.len() > FOUND || pids.iter().any(|pid| *pid <= 1) {
        return Err(Failure::new(format!("look for {pids:?}"), Errno::EINVAL));
    }
    let answers =
        SharedWords::<{ FOUND + 1 }>::new().during(|| "map memory shared with a child".to_owned())?;
    let child = sys::fork_in_new_pid_ns(&[], || {
        for (answer, pid) in answers.iter().zip(pids) {
            let errno = sys::kill(*pid, 0).map_or_else(|errno| errno as i32, |()| 0);
            answer.store(u64::from(errno.unsigned_abs()), Ordering::SeqCst);
        }
        answers[FOUND].store(1, Ordering::SeqCst);
        0
    })
    .during(|| "clone a child into a new pid namespace".to_owned())?;
    reap(child)?;
    if answers[FOUND].load(Ordering::SeqCst) == 0 {
        return Err(Failure::new("look for processes: the child ended before it could", Errno::ECHILD));
    }
    Ok(answers.iter().take(pids.len()).map(|answer| answer.load(Ordering::SeqCst)).collect())
}

/// `become_subreaper`.
pub(crate) fn become_subreaper() -> Result<Value, Failure> {
    prctl::set_child_subreaper(true).during(|| "become a subreaper".to_owned())?;
    Ok(Value::Null)
}

/// `reboot`.
pub(crate) fn reboot() -> Result<Value, Failure> {
    if unistd::getpid().as_raw() != 1 {
        return Err(Failure::new("reboot without being PID 1", Errno::EPERM));
    }
    match nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT) {
        Ok(never) => match never {},
        Err(errno) => Err(Failure::new("reboot", errno)),
    }
}

/// Waits for one child, also where the kernel reaps it because SIGCHLD is ignored.
pub(crate) fn reap(child: Pid) -> Result<Option<i32>, Failure> {
    match sys::wait_for(child) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::ECHILD) => Ok(None),
        Err(errno) => Err(Failure::new(format!("wait for child {child}"), errno)),
    }
}

/// Forks `count` children, each of which tells through the pipe that it has come as far as it should.
fn fork_until_ready(count: u32, body: impl Fn(BorrowedFd<'_>) -> i32) -> Result<Vec<Pid>, Failure> {
    let (ready, ready_in) = sys::pipe().during(|| "make a pipe".to_owned())?;
    let mut pids = Vec::new();
    for nth in 1..=count {
        match sys::fork(&[ready_in.as_raw_fd()], || body(ready_in.as_fd())) {
            Ok(child) => pids.push(child),
            Err(errno) => {
                // All or none: those made so far have no use.
                for child in &pids {
                    kill(*child, Signal::SIGKILL).unwrap_or_default();
                    reap(*child)?;
                }
                return Err(Failure::new(format!("fork child {nth} of {count}"), errno));
            }
        }
    }
    drop(ready_in);
    expect_ready(&ready, count)?;
    Ok(pids)
}

/// Deeper than any root file system lies on a node.
const LEVELS: usize = 64;

/// Goes the classic way out of a chroot(2); where it came to. Async-signal-safe.
fn out_of(jail: &CStr) -> Result<FileStat, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let kept = open(c"/", flags, Mode::empty())?;
    match mkdir(jail, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    unistd::chroot(jail)?;
    unistd::fchdir(&kept)?;
    for _level in 0..LEVELS {
        unistd::chdir(c"..")?;
    }
    stat(c".")
}

/// Body of a child that sleeps as long as the witness lives. Async-signal-safe.
fn sleeper(session: bool, ready: BorrowedFd<'_>) -> i32 {
    if prctl::set_pdeathsig(Signal::SIGKILL).is_err() || (session && setsid().is_err()) {
        return 1;
    }
    // After the request: when the witness has died before it, the pipe has no reader and this ends the child.
    if report_ready(ready).is_err() {
        return 1;
    }
    sys::sleep_until_killed()
}

/// Writes the caller's pid and closes the pipe. Writes of this size are whole (pipe(7)). Async-signal-safe.
fn report_ready(ready: BorrowedFd<'_>) -> Result<(), Errno> {
    while let Err(errno) = unistd::write(ready, &unistd::getpid().as_raw().to_ne_bytes()) {
        if errno != Errno::EINTR {
            return Err(errno);
        }
    }
    unistd::close(ready.as_raw_fd())
}

/// Reads until no process has the write end any more. Async-signal-safe.
pub(crate) fn wait_for_end(held: BorrowedFd<'_>) {
    // Nothing is ever written: a result other than an interruption is the end.
    while unistd::read(held, &mut [0; 1]) == Err(Errno::EINTR) {}
}

/// The pids that children wrote until all of them had closed the pipe.
fn read_ready(ready: &OwnedFd) -> Result<Vec<i32>, Failure> {
    let deadline = Deadline::in_ms(START_MS);
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        deadline.wait_readable(ready.as_fd()).during(|| "wait for children to be ready".to_owned())?;
        match unistd::read(ready, &mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new("read from the pipe of the children", errno)),
        }
    }
    let (pids, _rest) = bytes.as_chunks();
    Ok(pids.iter().map(|pid| i32::from_ne_bytes(*pid)).collect())
}

fn expect_ready(ready: &OwnedFd, count: u32) -> Result<(), Failure> {
    let came = read_ready(ready)?.len();
    if came == count as usize {
        Ok(())
    } else {
        Err(Failure::new(format!("wait for {count} children to be ready, {came} were"), Errno::ECHILD))
    }
}

fn exit_code(child: Pid, status: i32) -> Option<i32> {
    match WaitStatus::from_raw(child, status) {
        Ok(WaitStatus::Exited(_, code)) => Some(code),
        _ => None,
    }
}

fn exited_with_zero(child: Pid, status: i32) -> bool {
    exit_code(child, status) == Some(0)
}

fn numbers(pids: &[Pid]) -> Value {
    pids.iter().map(|pid| pid.as_raw()).collect()
}

/// Parses `/proc/PID/stat`, as far as it is needed: `pid (comm) state ppid ...`; the command name may contain anything, so it ends
/// at the last parenthesis.
fn parse_stat(stat: &str) -> Option<ListedProcess> {
    let (pid, rest) = stat.split_once(" (")?;
    let (comm, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some(ListedProcess {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        state: fields.next()?.parse().ok()?,
        ppid: fields.next()?.parse().ok()?,
    })
}

fn listed() -> Result<Vec<ListedProcess>, Failure> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").during(|| "list /proc".to_owned())? {
        let entry = entry.during(|| "list /proc".to_owned())?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        match fs::read(entry.path().join("stat")) {
            Ok(stat) => processes.push(parse_stat(&String::from_utf8_lossy(&stat)).ok_or_else(|| {
                Failure::new(format!("parse {}/stat", entry.path().display()), Errno::EPROTO)
            })?),
            // Reaped between the listing and the reading.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                return Err(Failure::new(format!("read {}/stat", entry.path().display()), errno_of(&error)));
            }
        }
    }
    Ok(processes)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(errno_of(error), Errno::ENOENT | Errno::ESRCH)
}

/// State letter of one thread of this process, `None` when it is gone.
pub(crate) fn thread_state(tid: Pid) -> Result<Option<char>, Failure> {
    let path = format!("/proc/self/task/{tid}/stat");
    match fs::read(&path) {
        Ok(stat) => parse_stat(&String::from_utf8_lossy(&stat))
            .map(|thread| Some(thread.state))
            .ok_or_else(|| Failure::new(format!("parse {path}"), Errno::EPROTO)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(Failure::new(format!("read {path}"), errno_of(&error))),
    }
}

/// `processes`.
pub(crate) fn processes() -> Result<Value, Failure> {
    listed().map(|listed| json!(listed))
}

/// One that is being released is dead (X) for a moment.
fn n_zombies() -> Result<u32, Failure> {
    let zombies = listed()?.into_iter().filter(|process| matches!(process.state, 'Z' | 'X')).count();
    Ok(u32::try_from(zombies).unwrap_or(u32::MAX))
}

/// `count_zombies`.
pub(crate) fn count_zombies() -> Result<Value, Failure> {
    n_zombies().map(Value::from)
}

/// `wait_zombies` and `wait_zombies_reach`.
pub(crate) fn wait_zombies(is_enough: impl Fn(u32) -> bool, timeout_ms: u64) -> Result<Value, Failure> {
    let deadline = Deadline::in_ms(timeout_ms);
    loop {
        let count = n_zombies()?;
        if is_enough(count) || deadline.is_over() {
            return Ok(json!(count));
        }
        Deadline::in_ms(LOOK_AGAIN_MS).wait_out();
    }
}
