//! What a probe gets wrong easily: siginfo that is no pointer, strings that cannot be read, records on used memory.
//!
//! Every trap of the compiler, the verifier and the kernel that is known, and the test that falls into it; `offset`, `object`,
//! `storm` and `peer` are of the test program `endurance`.
//!
//! | trap | test |
//! |---|---|
//! | an offset that is wrong by some bytes | `offset::a_wrong_one_is_refused`; between numbers: `task::*`, `ns::*` |
//! | a member in an anonymous struct, a bit-field, a member that is gone | the unit tests of `btf` |
//! | 6.1 refuses an index that it cannot bound (`numbers[level]`) | every test under 6.1; the values: `pidns::four_deep` |
//! | a loop that the verifier follows along too many paths | `trap::far_from_the_limit_of_the_verifier` |
//! | a pid nested deeper than a record has room for | `loss::too_deep_for_a_record` |
//! | an atomic addition that does not fetch, its addend taken for the value before | `object::every_atomic_addition_fetches` |
//! | additions of two CPUs to one value | `storm::two_cpus_fork_flat_out`, which counts in one cgroup |
//! | the default CPU, which has no such instruction | `object::instructions_of_cpu_v3` |
//! | a call of `memset` for a zeroed value, or of a function that nobody has | `object::no_loops_of_the_compiler` |
//! | a license that the kernel does not take | `object::license` |
//! | entries of the ring are not cleared | `trap::unreadable_strings_are_empty` |
//! | siginfo is the number 0 or 1 | `trap::signal_without_siginfo`, `trap::signal_of_the_kernel` |
//! | a wrong offset into siginfo, which the verifier cannot see | `task::fork_exit_zombie_reap`, `signal::handled` |
//! | a string that cannot be read | `trap::unreadable_exec`, `trap::unreadable_strings_are_empty` |
//! | a function that can be loaded for but not attached to | `counter::every_one_of_a_cgroup` |
//! | there is no census of what was there before | `attach::*` |
//! | an exec by a thread changes numbers | `task::exec_from_a_thread` |
//! | a hook that counts what another tool does not | `peer::bpftrace_counts_the_same` |

use std::time::Duration;

use libtest_mimic::Completion;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use podproof_ebpf::event::{EventKind, SignalAction, SignalResult};
use podproof_ebpf::{TraceOptions, Tracer};

use crate::Res;
use crate::observe::{Case, Observed, PATIENCE, equal, finish, go, start, truth};
use crate::report::say_task;
use crate::sys;
use crate::sys::mounting::{exec_from_nowhere, mount_from_nowhere};
use crate::sys::program::set_default;
use crate::sys::timing::{alarm_once, wait_for_handler};

pub(crate) const CASES: &[Case] = &[
    Case { name: "trap::signal_of_the_kernel", scenario: alarm, check: check_alarm },
    Case { name: "trap::signal_without_siginfo", scenario: broken_pipe, check: check_broken_pipe },
    Case { name: "trap::unreadable_exec", scenario: unreadable_exec, check: check_unreadable_exec },
];

pub(crate) const SCENES: &[Case] =
    &[Case { name: "scene::long_and_unreadable", scenario: long_and_unreadable, check: |_| Ok(()) }];

pub(crate) const DIRECT: [(&str, crate::scopes::Run); 2] = [
    ("trap::unreadable_strings_are_empty", unreadable_strings),
    ("trap::far_from_the_limit_of_the_verifier", verified_instructions),
];

const SI_USER: i32 = 0;
const SI_KERNEL: i32 = 0x80;

/// A timer's signal carries the number 1 (`SEND_SIG_PRIV`) where others have a pointer to their siginfo.
fn alarm() -> Res<()> {
    say_task("self")?;
    sys::handle(libc::SIGALRM)?;
    SigSet::from(Signal::SIGALRM).thread_block()?;
    alarm_once(Duration::from_millis(10))?;
    wait_for_handler();
    Ok(())
}

/// Number, code, to the group, result.
type Sent = (u32, i32, bool, SignalResult);
/// Number, code, action.
type Taken = (u32, i32, SignalAction);

/// What was generated for and taken by the task "self".
fn signals(seen: &Observed) -> Res<(Vec<Sent>, Vec<Taken>)> {
    let me = seen.task("self")?;
    let sent = seen.all(|event| match event.kind {
        EventKind::SignalGenerate { signal, si_code, target, group, result, .. } if me.is(&target) => {
            Some((signal, si_code, group, result))
        }
        _ => None,
    });
    let taken = seen.all(|event| match event.kind {
        EventKind::SignalDeliver { signal, si_code, action } if me.is(&event.current) => {
            Some((signal, si_code, action))
        }
        _ => None,
    });
    Ok((sent, taken))
}

fn check_alarm(seen: &Observed) -> Res<()> {
    let (sent, taken) = signals(seen)?;
    equal("sent", &sent, &vec![(14, SI_KERNEL, true, SignalResult::Delivered)])?;
    equal("taken", &taken, &vec![(14, SI_KERNEL, SignalAction::Handler)])
}

/// A write to a pipe that nobody reads: 0 (`SEND_SIG_NOINFO`) in place of the pointer.
fn broken_pipe() -> Res<()> {
    say_task("parent")?;
    let child = sys::fork(|| {
        say_task("self")?;
        set_default(libc::SIGPIPE)?;
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        std::io::Write::write_all(&mut &writer, b"!")?;
        Ok(0)
    })?;
    equal("killed", &sys::wait(child)?, &-13)
}

fn check_broken_pipe(seen: &Observed) -> Res<()> {
    let (sent, _) = signals(seen)?;
    equal("sent", &sent, &vec![(13, SI_USER, false, SignalResult::Delivered)])?;
    equal("wait status", &seen.death(seen.task("self")?)?.2, &13)
}

fn unreadable_exec() -> Res<()> {
    say_task("self")?;
    equal("refusal", &exec_from_nowhere(), &Errno::EFAULT)
}

fn check_unreadable_exec(seen: &Observed) -> Res<()> {
    let failed = seen.all(|event| match &event.kind {
        EventKind::ExecFailed { filename, errno } => Some((filename.as_str(), *errno)),
        _ => None,
    });
    equal("refused execs", &failed, &vec![("", libc::EFAULT)])
}

/// Rounds of long strings, unreadable ones and short ones: several times what the ring holds.
const ROUNDS: usize = 60;
const RING: u32 = 8192;

fn long_name(round: usize) -> String {
    format!("/nowhere/{round}/{}", "y".repeat(80))
}

fn long_and_unreadable() -> Res<()> {
    let mut byte = [0];
    for round in 0..ROUNDS {
        let long = long_name(round);
        let long = long.as_str();
        let refused = mount(Some(long), long, Some(long), MsFlags::empty(), None::<&str>);
        equal("nothing can be mounted nowhere", &refused.err(), &Some(Errno::ENOENT))?;
        equal("nor from and to there", &mount_from_nowhere(), &Errno::EFAULT)?;
        let refused = mount(None::<&str>, "/-", Some(""), MsFlags::empty(), None::<&str>);
        equal("nor this", &refused.err(), &Some(Errno::ENOENT))?;
        std::io::Read::read_exact(&mut std::io::stdin(), &mut byte)?;
    }
    Ok(())
}

/// A small ring, whose memory every round uses again: what a call did not fill must not show another call's text.
fn unreadable_strings(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&TraceOptions { ring_bytes: RING, ..TraceOptions::default() })?;
    let scope = tracer.open_scope()?;
    let mut child = start("scene::long_and_unreadable")?;
    scope.add_thread_group(child.id())?;
    go(&mut child)?;
    let mut seen = vec![];
    for round in 0..ROUNDS {
        let mut calls = 0;
        let found = scope.wait_for(PATIENCE, |event| {
            calls += usize::from(matches!(event.kind, EventKind::Mount { .. }));
            calls == (round + 1) * 3
        });
        truth(&format!("the calls of round {round} were seen"), found.is_some())?;
        go(&mut child)?;
    }
    finish(child)?;
    scope.fence(PATIENCE)?;
    for event in scope.events() {
        if let EventKind::Mount { from, target, fstype, ret, .. } = event.kind {
            seen.push((from, target, fstype, ret));
        }
    }
    let text = String::from;
    let said = |round| {
        let long = long_name(round);
        [
            (long.clone(), long.clone(), long, -i64::from(libc::ENOENT)),
            (text(""), text(""), text(""), -i64::from(libc::EFAULT)),
            (text(""), text("/-"), text(""), -i64::from(libc::ENOENT)),
        ]
    };
    equal("calls", &seen, &(0..ROUNDS).flat_map(said).collect())?;
    equal("lost", &scope.lost(), &0)?;
    Ok(Completion::Completed)
}

/// A program with more paths than this is refused (`BPF_COMPLEXITY_LIMIT_INSNS`).
const LIMIT: u64 = 1_000_000;

/// With both outputs wanted, when programs are longest, each stays below half of the limit.
fn verified_instructions(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&TraceOptions { counters: true, ..TraceOptions::default() })?;
    let mut verified = vec![];
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        // The descriptor of the directory itself is gone by now.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else { continue };
        let value = text.lines().find_map(|line| line.strip_prefix("verified_insns:"));
        if let Some(value) = value {
            verified.push(value.trim().parse::<u64>()?);
        }
    }
    truth(
        "there are programs",
        verified.len() >= tracer.probes().iter().filter(|probe| probe.attached).count(),
    )?;
    let most = verified.into_iter().max().unwrap_or(0);
    truth(&format!("{most} instructions were followed"), most < LIMIT / 2)?;
    Ok(Completion::Completed)
}
