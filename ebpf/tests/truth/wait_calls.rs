//! Every call of wait4 and waitid, with whatever it brought.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::observe::{Case, Observed, equal, in_order, truth};
use crate::report::{say_task, say_text};
use crate::sys;
use crate::sys::program::{handle_with_interruption, wait_to_be_killed};
use crate::sys::timing::alarm_every;
use crate::sys::waiting::{Waited, wait4, waitid};
use crate::waits::wait_for_end;

pub(crate) const CASES: &[Case] = &[
    Case { name: "waitcall::wait4", scenario: wait4_calls, check: |seen| check_calls(seen, 8) },
    Case { name: "waitcall::waitid", scenario: waitid_calls, check: |seen| check_calls(seen, 9) },
    Case { name: "waitcall::waitid_that_tells_nothing", scenario: tells_nothing, check: check_tells_nothing },
    Case { name: "waitcall::interrupted", scenario: interrupted, check: check_interrupted },
    Case { name: "waitcall::in_a_pid_namespace", scenario: inside, check: |seen| check_calls(seen, 2) },
];

/// A call, said and held against what it must have brought.
fn called(waited: &Waited, ret: i64, status: Option<u32>) -> Res<()> {
    say_text("call", &serde_json::to_string(waited)?)?;
    equal(&format!("{waited:?}"), &(waited.ret, waited.status), &(ret, status))
}

/// A child that waits for a signal.
fn sleeper() -> Res<i32> {
    let (ready, tell) = std::io::pipe()?;
    let child = sys::fork(move || {
        drop(tell);
        wait_to_be_killed()
    })?;
    wait_for_end(ready)?;
    Ok(child.as_raw())
}

const ECHILD: i64 = -(libc::ECHILD as i64);
const EINVAL: i64 = -(libc::EINVAL as i64);
const CONTINUED: u32 = 0xffff;

fn wait4_calls() -> Res<()> {
    say_task("parent")?;
    called(&wait4(-1, 0, true), ECHILD, None)?;
    let child = sleeper()?;
    let pid = Pid::from_raw(child);
    called(&wait4(child, libc::WNOHANG, true), 0, None)?;
    called(&wait4(child, 0x4000, true), EINVAL, None)?;
    kill(pid, Signal::SIGSTOP)?;
    called(&wait4(child, libc::WUNTRACED, true), child.into(), Some(0x137f))?;
    kill(pid, Signal::SIGCONT)?;
    called(&wait4(-1, libc::WCONTINUED, true), child.into(), Some(CONTINUED))?;
    kill(pid, Signal::SIGKILL)?;
    called(&wait4(child, libc::__WALL, true), child.into(), Some(9))?;
    let second = sys::fork(|| Ok(3))?.as_raw();
    called(&wait4(second, 0, false), second.into(), None)?;
    called(&wait4(second, libc::WNOHANG, true), ECHILD, None)
}

fn waitid_calls() -> Res<()> {
    say_task("parent")?;
    called(&waitid(1, libc::WEXITED, true), ECHILD, None)?;
    let child = sleeper()?;
    let pid = Pid::from_raw(child);
    called(&waitid(child, libc::WEXITED | libc::WNOHANG, true), 0, None)?;
    called(&waitid(child, libc::WNOHANG, true), EINVAL, None)?;
    kill(pid, Signal::SIGSTOP)?;
    called(&waitid(child, libc::WSTOPPED | libc::WNOWAIT, true), 0, Some(5))?;
    called(&waitid(child, libc::WSTOPPED, true), 0, Some(5))?;
    kill(pid, Signal::SIGCONT)?;
    called(&waitid(child, libc::WCONTINUED, true), 0, Some(6))?;
    kill(pid, Signal::SIGKILL)?;
    called(&waitid(child, libc::WEXITED | libc::WNOWAIT, true), 0, Some(2))?;
    called(&waitid(child, libc::WEXITED, true), 0, Some(2))?;
    let second = sys::fork(|| Ok(3))?.as_raw();
    called(&waitid(second, libc::WEXITED, false), 0, None)
}

/// Without a place for the result, and without waiting: first there is nobody to take, then there is.
fn tells_nothing() -> Res<()> {
    say_task("parent")?;
    let (ready, tell) = std::io::pipe()?;
    let child = sys::fork(move || {
        say_task("child")?;
        drop(tell);
        wait_to_be_killed()
    })?;
    wait_for_end(ready)?;
    let nobody = || called(&waitid(child.as_raw(), libc::WEXITED | libc::WNOHANG, false), 0, None);
    nobody()?;
    kill(child, Signal::SIGSTOP)?;
    called(&waitid(child.as_raw(), libc::WSTOPPED, true), 0, Some(5))?;
    nobody()?;
    kill(child, Signal::SIGKILL)?;
    called(&waitid(child.as_raw(), libc::WEXITED | libc::WNOWAIT, true), 0, Some(2))?;
    called(&waitid(child.as_raw(), libc::WEXITED | libc::WNOHANG, false), 0, None)
}

fn check_tells_nothing(seen: &Observed) -> Res<()> {
    check_calls(seen, 5)?;
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    in_order(&[seen.death(child)?.0, seen.reaped_by(child, parent)?])
}

/// The calls of the task that named itself "parent", one by one.
fn check_calls(seen: &Observed, n: usize) -> Res<()> {
    let parent = seen.task("parent")?;
    let said: Vec<Waited> =
        seen.texts("call").into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?;
    equal("calls", &said.len(), &n)?;
    equal("waits", &waits(seen, parent.tid), &said)
}

fn waits(seen: &Observed, caller: u32) -> Vec<Waited> {
    seen.all(|event| match event.kind {
        EventKind::Wait { call, options, ret, child, status } if event.current.tid == caller => {
            Some(Waited { call, options, ret, child, status })
        }
        _ => None,
    })
}

/// A timer interrupts the call; it goes on until it hits, for it may run off before the call.
fn interrupted() -> Res<()> {
    say_task("parent")?;
    let child = sleeper()?;
    handle_with_interruption(libc::SIGALRM)?;
    alarm_every(Duration::from_millis(20))?;
    called(&wait4(child, 0, true), -i64::from(libc::EINTR), None)?;
    called(&waitid(child, libc::WEXITED, true), -i64::from(libc::EINTR), None)?;
    alarm_every(Duration::ZERO)?;
    kill(Pid::from_raw(child), Signal::SIGKILL)?;
    called(&wait4(child, 0, true), child.into(), Some(9))
}

/// At the return the kernel does not know yet whether the caller will see EINTR or make the call again: it holds its own
/// ERESTARTSYS.
fn check_interrupted(seen: &Observed) -> Res<()> {
    const ERESTARTSYS: i64 = -512;
    let said = seen.texts("call").into_iter().map(serde_json::from_str::<Waited>);
    let said: Vec<Waited> = said
        .map(|waited| {
            waited.map(|waited| if waited.ret == -4 { Waited { ret: ERESTARTSYS, ..waited } } else { waited })
        })
        .collect::<Result<_, _>>()?;
    equal("waits", &waits(seen, seen.task("parent")?.tid), &said)?;
    let reaps = seen.all(|event| match event.kind {
        EventKind::Reap { task, .. } if seen.task("parent").is_ok_and(|parent| !parent.is(&task)) => {
            Some(task)
        }
        _ => None,
    });
    truth("one reap", reaps.len() == 1)
}

/// The child's number is the one that the caller knows.
fn inside() -> Res<()> {
    let init = sys::clone3(0x2000_0000, libc::SIGCHLD, None, || {
        say_task("parent")?;
        let child = sys::fork(|| Ok(5))?.as_raw();
        called(&waitid(child, libc::WEXITED | libc::WNOWAIT, true), 0, Some(1))?;
        called(&wait4(child, 0, true), 2, Some(5 << 8))?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(init)?, &0)
}
