//! Signals: sent with their result, taken with what they ran.

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::{EventKind, SignalAction, SignalResult};

use crate::Res;
use crate::observe::{Case, Observed, equal, truth};
use crate::report::{TaskTruth, say_task};
use crate::sys;
use crate::waits::wait_for_end;

pub(crate) const CASES: &[Case] = &[
    Case { name: "signal::handled", scenario: handled, check: check_handled },
    Case { name: "signal::ignored", scenario: ignored, check: check_ignored },
    Case { name: "signal::already_pending", scenario: pending, check: check_pending },
    Case { name: "signal::queue_is_full", scenario: overflow, check: check_overflow },
    Case { name: "signal::fatal", scenario: fatal, check: check_fatal },
];

const SI_TKILL: i32 = -6;
const SI_QUEUE: i32 = -1;
const SIGRTMIN: i32 = 34;

/// What was generated for a task, SIGCHLD apart: number, code, group, result.
fn generated(seen: &Observed, target: &TaskTruth) -> Vec<(u32, i32, bool, SignalResult)> {
    seen.all(|event| match event.kind {
        EventKind::SignalGenerate { signal, si_code, target: task, group, result, .. }
            if target.is(&task) && signal != 17 =>
        {
            Some((signal, si_code, group, result))
        }
        _ => None,
    })
}

/// What a task took.
fn delivered(seen: &Observed, target: &TaskTruth) -> Vec<(u32, i32, SignalAction)> {
    seen.all(|event| match event.kind {
        EventKind::SignalDeliver { signal, si_code, action } if target.is(&event.current) => {
            Some((signal, si_code, action))
        }
        _ => None,
    })
}

fn handled() -> Res<()> {
    let me = say_task("self")?;
    sys::handle(libc::SIGUSR1)?;
    sys::handle(libc::SIGUSR2)?;
    kill(Pid::this(), Signal::SIGUSR1)?;
    sys::tgkill(me.tgid.cast_signed(), me.tid.cast_signed(), libc::SIGUSR2)
}

fn check_handled(seen: &Observed) -> Res<()> {
    let me = seen.task("self")?;
    let sent = vec![(10, 0, true, SignalResult::Delivered), (12, SI_TKILL, false, SignalResult::Delivered)];
    equal("sent", &generated(seen, me), &sent)?;
    let taken = vec![(10, 0, SignalAction::Handler), (12, SI_TKILL, SignalAction::Handler)];
    equal("taken", &delivered(seen, me), &taken)
}

fn ignored() -> Res<()> {
    say_task("self")?;
    // By default, and because a Rust program ignores it from its start.
    kill(Pid::this(), Signal::SIGWINCH)?;
    kill(Pid::this(), Signal::SIGPIPE)?;
    Ok(())
}

fn check_ignored(seen: &Observed) -> Res<()> {
    let me = seen.task("self")?;
    let sent = vec![(28, 0, true, SignalResult::Ignored), (13, 0, true, SignalResult::Ignored)];
    equal("sent", &generated(seen, me), &sent)?;
    equal("taken", &delivered(seen, me), &vec![])
}

fn pending() -> Res<()> {
    say_task("self")?;
    sys::handle(libc::SIGUSR1)?;
    let set = SigSet::from(Signal::SIGUSR1);
    set.thread_block()?;
    kill(Pid::this(), Signal::SIGUSR1)?;
    kill(Pid::this(), Signal::SIGUSR1)?;
    set.thread_unblock()?;
    Ok(())
}

fn check_pending(seen: &Observed) -> Res<()> {
    let me = seen.task("self")?;
    let sent = vec![(10, 0, true, SignalResult::Delivered), (10, 0, true, SignalResult::AlreadyPending)];
    equal("sent", &generated(seen, me), &sent)?;
    equal("taken", &delivered(seen, me), &vec![(10, 0, SignalAction::Handler)])
}

fn overflow() -> Res<()> {
    say_task("self")?;
    sys::block(SIGRTMIN)?;
    setrlimit(Resource::RLIMIT_SIGPENDING, 0, 0)?;
    let refused = sys::queue_to_self(SIGRTMIN).err().ok_or("a full queue took a signal")?;
    equal("refusal", &refused, &nix::errno::Errno::EAGAIN)?;
    // kill(2) may go without its siginfo.
    sys::kill_self(SIGRTMIN)
}

fn check_overflow(seen: &Observed) -> Res<()> {
    let number = SIGRTMIN.cast_unsigned();
    let sent =
        vec![(number, SI_QUEUE, true, SignalResult::OverflowFail), (number, 0, true, SignalResult::LoseInfo)];
    equal("sent", &generated(seen, seen.task("self")?), &sent)
}

fn fatal() -> Res<()> {
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
    kill(child, Signal::SIGTERM)?;
    equal("killed", &sys::wait(child)?, &-15)
}

fn check_fatal(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    equal("sent", &generated(seen, child), &vec![(15, 0, true, SignalResult::Delivered)])?;
    let sender = seen.one("SIGTERM", |event| match event.kind {
        EventKind::SignalGenerate { signal: 15, .. } => Some(event.current),
        _ => None,
    })?;
    truth("the parent sent it", parent.is(&sender))?;
    // The kernel kills the group in place of running the default action.
    equal("taken", &delivered(seen, child), &vec![(9, 0, SignalAction::Default)])?;
    equal("wait status", &seen.death(child)?.2, &15)
}
