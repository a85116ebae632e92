//! Calls that the counters could take for others: a clone that begins again, and setns by the 32-bit entry.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use libtest_mimic::Completion;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use podproof_ebpf::Tracer;
use podproof_ebpf::counters::{Counter, Counts};

use crate::Res;
use crate::cgroups::Cgroup;
use crate::counters::{Run, is_attached, options};
use crate::observe::{Case, equal, finish, go, start, truth};
use crate::report::{Line, say_number, say_skip};
use crate::sys;
use crate::sys::program::setns_compat;
use crate::sys::ptrace::{interrupt_clone3, trace_me};

/// Tests that start a tracer of their own.
pub(crate) const DIRECT: [(&str, Run); 2] = [
    ("counter::a_clone_that_begins_again_is_no_failure", clone_again),
    ("counter::setns_by_the_32_bit_entry", setns_by_compat_entry),
];

/// Scenarios of the tests above.
pub(crate) const SCENES: &[Case] = &[
    Case { name: "scene::clone_again", scenario: clone_again_scene, check: |_| Ok(()) },
    Case { name: "scene::compat_setns", scenario: compat_setns_scene, check: |_| Ok(()) },
];

/// What was counted for a scenario, and what it said; why not, if it cannot be played.
fn counted(tracer: &Tracer, scene: &str, name: &str) -> Res<Result<(Counts, Vec<Line>), String>> {
    let cgroup = match Cgroup::make(name) {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut child = start(scene)?;
    cgroup.add(child.id())?;
    go(&mut child)?;
    let lines = finish(child)?;
    if let Some(reason) = lines.iter().find_map(|line| match line {
        Line::Skip(reason) => Some(reason.clone()),
        _ => None,
    }) {
        return Ok(Err(reason));
    }
    let mut snapshot = tracer.counters()?;
    let counts = snapshot.cgroups.remove(&cgroup.id).ok_or("the cgroup is not counted")?;
    Ok(Ok((counts, lines)))
}

fn clone_again_scene() -> Res<()> {
    let child = sys::fork(|| {
        trace_me()?;
        raise(Signal::SIGSTOP)?;
        // The call as it is: fork(3) holds signals back.
        let grandchild = sys::clone3(0, libc::SIGCHLD, None, || Ok(0))?;
        sys::wait(grandchild)
    })?;
    equal("stopped", &waitpid(child, None)?, &WaitStatus::Stopped(child, Signal::SIGSTOP))?;
    say_number("begun again", interrupt_clone3(child)?)
}

fn clone_again(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    if !is_attached(&tracer, "copy_process") {
        return Ok(Completion::ignored_with("copy_process is not attached"));
    }
    let (counts, lines) = match counted(&tracer, "scene::clone_again", "clone-again")? {
        Ok(counted) => counted,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let is_it = |line: &Line| matches!(line, Line::Number(name, n) if name == "begun again" && *n > 0);
    truth(&format!("the call began again: {lines:?}"), lines.iter().any(is_it))?;
    equal("forks", &counts.get(Counter::ForksProcess), &Some(2))?;
    for counter in [
        Counter::ForkFailuresEagain,
        Counter::ForkFailuresEnomem,
        Counter::ForkFailuresEperm,
        Counter::ForkFailuresOther,
    ] {
        equal(counter.name(), &counts.get(counter), &Some(0))?;
    }
    Ok(Completion::Completed)
}

fn compat_setns_scene() -> Res<()> {
    let before = File::open("/proc/self/ns/uts")?;
    unshare(CloneFlags::CLONE_NEWUTS)?;
    let fd = before.as_raw_fd();
    let child = sys::fork(|| {
        equal("type mismatch", &setns_compat(fd, libc::CLONE_NEWNET), &Err(Errno::EINVAL))?;
        setns_compat(fd, 0)?;
        Ok(0)
    })?;
    match sys::wait(child)? {
        0 => Ok(()),
        signal if signal == -libc::SIGSEGV => say_skip("this kernel has no 32-bit entry"),
        other => Err(format!("the caller ended with {other}").into()),
    }
}

fn setns_by_compat_entry(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    let (counts, _lines) = match counted(&tracer, "scene::compat_setns", "compat-setns")? {
        Ok(counted) => counted,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    for (counter, n) in [(Counter::NsJoinedOutsideUts, 1), (Counter::NsSetnsEinval, 1)] {
        equal(counter.name(), &counts.get(counter), &is_attached(&tracer, "setns").then_some(n))?;
    }
    Ok(Completion::Completed)
}
