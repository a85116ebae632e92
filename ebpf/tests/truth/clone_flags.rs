//! Births with other flags and exit signals than a fork has.

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::observe::{Case, Observed, equal, truth};
use crate::report::{say_number, say_task};
use crate::sys;
use crate::sys::program::send;
use crate::sys::timing::is_readable;
use crate::sys::waiting::{wait_for_all, wait_status};

pub(crate) const CASES: &[Case] = &[
    Case { name: "clone::flags_and_exit_signals", scenario: many, check: check_many },
    Case { name: "clone::parent", scenario: parent, check: check_parent },
    Case { name: "clone::begun_again_after_a_signal", scenario: begun_again, check: check_begun_again },
];

const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_SYSVSEM: u64 = 0x4_0000;
const CLONE_UNTRACED: u64 = 0x80_0000;
const CLONE_IO: u64 = 0x8000_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const SIGRTMIN: i32 = 34;

/// Flags, exit signal.
const BIRTHS: [(u64, i32); 14] = [
    (0, libc::SIGCHLD),
    (0, 0),
    (0, libc::SIGUSR1),
    (0, libc::SIGWINCH),
    (0, SIGRTMIN),
    (CLONE_FS, libc::SIGCHLD),
    (CLONE_FILES, libc::SIGCHLD),
    (CLONE_VFORK, libc::SIGCHLD),
    (CLONE_SYSVSEM, 0),
    (CLONE_UNTRACED, libc::SIGUSR2),
    (CLONE_IO, libc::SIGCHLD),
    (CLONE_CLEAR_SIGHAND, libc::SIGCHLD),
    (CLONE_FILES | CLONE_FS | CLONE_IO | CLONE_SYSVSEM, libc::SIGCHLD),
    (CLONE_VFORK | CLONE_UNTRACED | CLONE_CLEAR_SIGHAND, libc::SIGUSR1),
];

fn many() -> Res<()> {
    say_task("parent")?;
    for signal in [libc::SIGUSR1, libc::SIGUSR2, SIGRTMIN] {
        sys::handle(signal)?;
    }
    for (n, (flags, exit_signal)) in BIRTHS.into_iter().enumerate() {
        let code = i32::try_from(n)?;
        let child = sys::clone3(flags, exit_signal, None, || say_task(&format!("child {n}")).map(|_| code))?;
        equal("wait status", &wait_status(child)?, &(code.cast_unsigned() << 8))?;
    }
    Ok(())
}

fn check_many(seen: &Observed) -> Res<()> {
    let parent = seen.task("parent")?;
    let births = seen.all(|event| matches!(event.kind, EventKind::NewTask { .. }).then_some(()));
    equal("births", &births.len(), &BIRTHS.len())?;
    for (n, said) in BIRTHS.into_iter().enumerate() {
        let child = seen.task(&format!("child {n}"))?;
        let (born, view, flags, exit_signal) = seen.birth(child)?;
        equal("flags and exit signal", &(flags, exit_signal), &said)?;
        truth("the parent called clone", parent.is(&born.current) && parent.is(&view.parent))?;
        equal("wait status", &seen.death(child)?.2, &(u32::try_from(n)? << 8))?;
        // The parent is told by the signal of the birth, and by that alone.
        let told = seen.all(|event| match event.kind {
            EventKind::SignalGenerate { signal, si_code: 1, target, .. }
                if child.is(&event.current) && parent.is(&target) =>
            {
                Some(signal.cast_signed())
            }
            _ => None,
        });
        equal("signals of its end", &told, &if said.1 == 0 { vec![] } else { vec![said.1] })?;
        seen.reaped_by(child, parent)?;
    }
    Ok(())
}

/// The caller makes a sibling: a child of its own parent, with its own exit signal.
fn parent() -> Res<()> {
    say_task("parent")?;
    let caller = sys::fork(|| {
        say_task("caller")?;
        let sibling = sys::clone3(CLONE_PARENT, 0, None, || say_task("sibling").map(|_| 3))?;
        say_number("sibling", sibling.as_raw())?;
        let not_mine = waitpid(sibling, None).err();
        equal("waiting for a sibling", &not_mine, &Some(nix::errno::Errno::ECHILD))?;
        Ok(2)
    })?;
    equal("exit code of the caller", &sys::wait(caller)?, &2)?;
    equal("exit code of the sibling", &sys::wait(Pid::from_raw(-1))?, &3)?;
    wait_for_all()
}

fn check_parent(seen: &Observed) -> Res<()> {
    let (parent, caller, sibling) = (seen.task("parent")?, seen.task("caller")?, seen.task("sibling")?);
    equal("number", &i64::from(sibling.tid), &seen.number("sibling")?)?;
    let (born, view, flags, exit_signal) = seen.birth(sibling)?;
    equal("flags and exit signal", &(flags, exit_signal), &(CLONE_PARENT, libc::SIGCHLD))?;
    truth("the caller called clone", caller.is(&born.current))?;
    truth("the parent of both", parent.is(&view.parent))?;
    truth("and at its end", parent.is(&seen.death(sibling)?.1.parent))?;
    let [(_, told, 1)] = seen.zombies(sibling)[..] else { return Err("not one zombie".into()) };
    truth("the parent was told", parent.is(&told))?;
    let moved = seen.all(|event| matches!(event.kind, EventKind::Reparent { .. }).then_some(event));
    truth("nobody was handed on", moved.is_empty())?;
    seen.reaped_by(caller, parent)?;
    seen.reaped_by(sibling, parent).map(drop)
}

const FORKS: u32 = 300;
/// Turns of a loop between two signals: about as long as a fork takes.
const PAUSE: u32 = 5000;

/// A signal in the middle of a fork makes the kernel give up, and begin the call again: the caller sees nothing of it.
fn begun_again() -> Res<()> {
    say_task("parent")?;
    sys::handle(libc::SIGUSR1)?;
    let parent = nix::unistd::getpid();
    let (stopped, stop) = std::io::pipe()?;
    let sender = sys::fork(|| {
        while !is_readable(&stopped)? {
            send(parent, libc::SIGUSR1)?;
            for _ in 0..PAUSE {
                std::hint::spin_loop();
            }
        }
        Ok(0)
    })?;
    for _ in 0..FORKS {
        equal("exit code", &sys::wait(sys::fork(|| Ok(0))?)?, &0)?;
    }
    std::io::Write::write_all(&mut &stop, b"!")?;
    equal("exit code of the sender", &sys::wait(sender)?, &0)?;
    say_number("births", FORKS + 1)
}

fn check_begun_again(seen: &Observed) -> Res<()> {
    let births = seen.all(|event| matches!(event.kind, EventKind::NewTask { .. }).then_some(()));
    equal("births", &i64::try_from(births.len())?, &seen.number("births")?)?;
    let failed = seen.all(|event| match event.kind {
        EventKind::CloneFailed { errno, .. } => Some(errno),
        _ => None,
    });
    equal("no clone failed", &failed, &vec![])
}
