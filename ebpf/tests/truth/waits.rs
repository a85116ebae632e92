//! How a child is taken: every form of wait(2), and the forms that take nothing.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use podproof_ebpf::event::{EventKind, Reaper};

use crate::Res;
use crate::observe::{Case, Observed, equal, in_order, truth};
use crate::report::say_task;
use crate::sys;
use crate::zombies::reaped_as;

pub(crate) const CASES: &[Case] = &[
    Case { name: "wait::wait4_without_status", scenario: wait4_null, check: check_exited },
    Case { name: "wait::waitid", scenario: waitid, check: check_exited },
    Case { name: "wait::waitid_without_info", scenario: waitid_null, check: check_exited },
    Case { name: "wait::wnowait_takes_nothing", scenario: look_and_take, check: check_exited },
    Case { name: "wait::stop_and_continue_take_nothing", scenario: stop_and_continue, check: check_killed },
    Case { name: "wait::killed", scenario: killed, check: check_killed },
    Case { name: "wait::sigchld_ignored", scenario: sigchld_ignored, check: check_sigchld_ignored },
    Case { name: "wait::sa_nocldwait", scenario: no_child_wait, check: check_no_child_wait },
    Case { name: "wait::in_a_pid_namespace", scenario: wait_inside, check: check_wait_inside },
];

fn child() -> Res<nix::unistd::Pid> {
    say_task("parent")?;
    sys::fork(|| say_task("child").map(|_| 5))
}

fn wait4_null() -> Res<()> {
    sys::wait4_without_status(child()?)
}

fn waitid() -> Res<()> {
    sys::waitid(child()?, libc::WEXITED)
}

fn waitid_null() -> Res<()> {
    sys::waitid_without_info(child()?)
}

fn look_and_take() -> Res<()> {
    let child = child()?;
    sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
    sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
    equal("exit code", &sys::wait(child)?, &5)
}

fn check_exited(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let (died, _, status) = seen.death(child)?;
    equal("wait status", &status, &(5 << 8))?;
    let [(zombie, told, si_code)] = seen.zombies(child)[..] else { return Err("not one zombie".into()) };
    truth("the parent was told", parent.is(&told))?;
    equal("si_code", &si_code, &1)?;
    let reap = seen.reaped_by(child, parent)?;
    seen.not_freed_before(child, reap)?;
    in_order(&[died, zombie, reap])
}

/// A child that waits for a signal.
fn sleeper() -> Res<nix::unistd::Pid> {
    say_task("parent")?;
    let (ready, tell) = std::io::pipe()?;
    let child = sys::fork(move || {
        say_task("child")?;
        drop(tell);
        loop {
            nix::unistd::pause();
        }
    })?;
    wait_for_end(ready)?;
    Ok(child)
}

/// Waits until every writer of a pipe is gone.
pub(crate) fn wait_for_end(mut pipe: std::io::PipeReader) -> Res<()> {
    std::io::copy(&mut pipe, &mut std::io::sink())?;
    Ok(())
}

fn stop_and_continue() -> Res<()> {
    let child = sleeper()?;
    kill(child, Signal::SIGSTOP)?;
    let stopped = waitpid(child, Some(WaitPidFlag::WUNTRACED))?;
    equal("stopped", &stopped, &WaitStatus::Stopped(child, Signal::SIGSTOP))?;
    kill(child, Signal::SIGCONT)?;
    equal("continued", &waitpid(child, Some(WaitPidFlag::WCONTINUED))?, &WaitStatus::Continued(child))?;
    kill(child, Signal::SIGSTOP)?;
    sys::waitid(child, libc::WSTOPPED)?;
    kill(child, Signal::SIGKILL)?;
    equal("killed", &sys::wait(child)?, &-9)
}

fn killed() -> Res<()> {
    let child = sleeper()?;
    kill(child, Signal::SIGKILL)?;
    equal("killed", &sys::wait(child)?, &-9)
}

fn check_killed(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let (died, _, status) = seen.death(child)?;
    equal("wait status", &status, &9)?;
    let [(zombie, told, si_code)] = seen.zombies(child)[..] else { return Err("not one zombie".into()) };
    truth("the parent was told", parent.is(&told))?;
    equal("si_code", &si_code, &2)?;
    let reap = seen.reaped_by(child, parent)?;
    seen.not_freed_before(child, reap)?;
    in_order(&[died, zombie, reap])
}

fn sigchld_ignored() -> Res<()> {
    sys::set_sigchld(true, false)?;
    let child = child()?;
    let gone = waitpid(child, None);
    equal("there is nothing to wait for", &gone.err(), &Some(nix::errno::Errno::ECHILD))
}

fn no_child_wait() -> Res<()> {
    sys::set_sigchld(false, true)?;
    let child = child()?;
    let gone = waitpid(child, None);
    equal("there is nothing to wait for", &gone.err(), &Some(nix::errno::Errno::ECHILD))
}

/// With fentry the kernel itself is seen to reap, else only the end and the release of memory.
fn check_reaped_by_itself(seen: &Observed) -> Res<()> {
    let child = seen.task("child")?;
    equal("wait status", &seen.death(child)?.2, &(5 << 8))?;
    if seen.has_release_task() {
        seen.reaped_by(child, child)?;
        reaped_as(seen, child, Reaper::Auto)?;
    } else {
        truth("nobody reaped it", seen.reaps(child).is_empty())?;
    }
    seen.not_freed_before(child, seen.death(child)?.0)
}

fn check_sigchld_ignored(seen: &Observed) -> Res<()> {
    truth("no zombie", seen.zombies(seen.task("child")?).is_empty())?;
    check_reaped_by_itself(seen)
}

/// The signal is sent all the same, so the start of a zombie is seen that nobody ends.
fn check_no_child_wait(seen: &Observed) -> Res<()> {
    equal("the parent was told", &seen.zombies(seen.task("child")?).len(), &1)?;
    check_reaped_by_itself(seen)
}

/// PID 1 of a namespace takes a child, whose number there is not its outer one.
fn wait_inside() -> Res<()> {
    say_task("outer")?;
    let init = sys::clone3(0x2000_0000, libc::SIGCHLD, None, || {
        say_task("parent")?;
        let child = sys::fork(|| say_task("child").map(|_| 5))?;
        equal("exit code", &sys::wait(child)?, &5)?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(init)?, &0)
}

fn check_wait_inside(seen: &Observed) -> Res<()> {
    check_exited(seen)?;
    let (outer, init, child) = (seen.task("outer")?, seen.task("parent")?, seen.task("child")?);
    equal("numbers inside", &(init.ns_pids.last(), child.ns_pids.last()), &(Some(&1), Some(&2)))?;
    equal("numbers", &seen.birth(child)?.1.ns_pids, &child.ns_pids)?;
    seen.reaped_by(init, outer)?;
    let told = seen.one("SIGCHLD inside", |event| match &event.kind {
        EventKind::SignalGenerate { signal: 17, target, target_ns_pids, .. } if init.is(target) => {
            Some(target_ns_pids)
        }
        _ => None,
    })?;
    equal("numbers of the target", told, &init.ns_pids)
}
