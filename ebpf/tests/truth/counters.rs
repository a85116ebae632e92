//! The counters in kernel maps, against what a scenario counted itself: every counter of its cgroup, those that must be zero
//! too; and the node's against /proc/stat.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Completion;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use podproof_ebpf::counters::{Counter, Counts, FlagSet, Refusals};
use podproof_ebpf::{TraceOptions, Tracer};

use crate::Res;
use crate::cgroups::{CLONE_INTO_CGROUP, Cgroup};
use crate::observe::{Case, PATIENCE, equal, finish, go, start, start_with, truth};
use crate::oom;
use crate::rare;
use crate::report::{Line, say_number, say_skip};
use crate::sys;
use crate::sys::program::{end_thread, wait_to_be_killed};
use crate::waits::wait_for_end;

pub(crate) type Run = fn(&Tracer) -> Res<Completion>;

/// Tests that start a tracer of their own.
pub(crate) const DIRECT: [(&str, Run); 7] = [
    ("counter::every_one_of_a_cgroup", of_a_cgroup),
    ("counter::exact_when_the_ring_is_full", ring_full),
    ("counter::the_node_agrees_with_proc_stat", of_the_node),
    ("counter::of_a_cgroup_that_was_there_before", seeded),
    ("counter::oom_kills_of_a_group", oom_group),
    ("counter::a_full_map_is_told", full_map),
    ("counter::paths_of_cgroups_that_are_gone", paths),
];

/// Scenarios of the tests above.
pub(crate) const SCENES: &[Case] = &[
    Case { name: "scene::adopter", scenario: rare::adopter, check: |_| Ok(()) },
    Case { name: "scene::counted", scenario: counted, check: |_| Ok(()) },
    Case { name: "scene::fork_storm", scenario: fork_storm, check: |_| Ok(()) },
    Case { name: "scene::oom_group", scenario: oom_group_scene, check: |_| Ok(()) },
];

/// What a scenario did, by the name of the counter.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, i64>);

impl Tally {
    pub(crate) fn add(&mut self, counter: &'static str, n: i64) {
        *self.0.entry(counter).or_default() += n;
    }

    /// One child that was born, ended like this, and was reaped like this by a wait that found it.
    pub(crate) fn child(&mut self, end: &'static str, reaper: &'static str) {
        for counter in ["forks_process", end, reaper, "waits_reaped", ZOMBIES] {
            self.add(counter, 1);
        }
    }

    /// One child that nobody waits for. A zombie is counted when the parent is told all the same.
    pub(crate) fn auto_child(&mut self, is_told: bool) {
        for counter in ["forks_process", "exits_success", "reaps_auto"] {
            self.add(counter, 1);
        }
        self.add(ZOMBIES, i64::from(is_told));
    }
}

/// Sum over the buckets of zombie durations.
pub(crate) const ZOMBIES: &str = "zombies";
/// Least sum of these durations, nanoseconds.
pub(crate) const ZOMBIE_NS: &str = "least zombie_sum_ns";

/// The age of an old zombie.
pub(crate) const AGE: Duration = Duration::from_millis(120);

fn counted() -> Res<()> {
    let mut tally = Tally::default();
    // The scenario itself: moved here, ends well, is reaped by the test.
    for counter in ["migrations_in", "exits_success", "reaps_parent", ZOMBIES] {
        tally.add(counter, 1);
    }
    lives(&mut tally)?;
    waits(&mut tally)?;
    namespaces(&mut tally)?;
    pid_namespace(&mut tally)?;
    reaped_from_elsewhere(&mut tally)?;
    unreaped(&mut tally)?;
    rare::all(&mut tally)?;
    orphans(&mut tally)?;
    for (name, n) in tally.0 {
        say_number(name, n)?;
    }
    Ok(())
}

fn lives(tally: &mut Tally) -> Res<()> {
    for (n, code, end) in [(12, 0, "exits_success"), (5, 3, "exits_error")] {
        for _ in 0..n {
            let child = sys::fork(|| Ok(code))?;
            equal("exit code", &sys::wait(child)?, &code)?;
            tally.child(end, "reaps_parent");
        }
    }
    for _ in 0..4 {
        let child = sys::fork(|| sys::kill_self(libc::SIGTERM).map(|()| 0))?;
        equal("signal", &sys::wait(child)?, &-libc::SIGTERM)?;
        tally.child("exits_signal", "reaps_parent");
    }
    for _ in 0..6 {
        std::thread::spawn(|| ()).join().map_err(|_panic| "a thread panicked")?;
        tally.add("forks_thread", 1);
    }
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["scenario", "noop"])
            .stdout(Stdio::null())
            .spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        equal("exit code", &sys::wait(pid)?, &0)?;
        tally.child("exits_success", "reaps_parent");
        tally.add("execs", 1);
        drop(child.stdin.take());
    }
    // All threads of a process end at the same moment, which is one end of a process.
    for _ in 0..8 {
        let child = sys::fork(|| {
            for _ in 0..3 {
                std::thread::spawn(|| {
                    loop {
                        nix::unistd::pause();
                    }
                });
            }
            Ok(0)
        })?;
        equal("exit code", &sys::wait(child)?, &0)?;
        tally.child("exits_success", "reaps_parent");
        tally.add("forks_thread", 3);
    }
    Ok(())
}

fn waits(tally: &mut Tally) -> Res<()> {
    equal("nobody to wait for", &waitpid(None, None).err(), &Some(Errno::ECHILD))?;
    tally.add("waits_no_children", 1);
    let child = sys::fork(|| Ok(0))?;
    sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
    tally.add("waits_none_ready", 1);
    let since = Instant::now();
    while since.elapsed() < AGE {
        // Time is what is waited for.
        std::thread::park_timeout(AGE);
    }
    equal("exit code", &sys::wait(child)?, &0)?;
    tally.child("exits_success", "reaps_parent");
    tally.add(ZOMBIE_NS, i64::try_from(AGE.as_nanos())?);

    let (mut hold, mut release) = std::io::pipe()?;
    let child = sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1)))?;
    equal("it lives", &waitpid(child, Some(WaitPidFlag::WNOHANG))?, &WaitStatus::StillAlive)?;
    tally.add("waits_none_ready", 1);
    release.write_all(b"!")?;
    equal("exit code", &sys::wait(child)?, &0)?;
    tally.child("exits_success", "reaps_parent");

    let child = sys::fork(wait_to_be_killed)?;
    for (signal, option) in [(Signal::SIGSTOP, libc::WSTOPPED), (Signal::SIGCONT, libc::WCONTINUED)] {
        kill(child, signal)?;
        sys::waitid(child, option)?;
        tally.add("waits_none_ready", 1);
    }
    kill(child, Signal::SIGKILL)?;
    sys::waitid(child, libc::WEXITED)?;
    tally.child("exits_signal", "reaps_parent");
    Ok(())
}

const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWIPC: u64 = 0x0800_0000;
const CLONE_NEWUTS: u64 = 0x0400_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_FS: u64 = 0x200;
const CLONE_THREAD: u64 = 0x1_0000;

fn namespaces(tally: &mut Tally) -> Res<()> {
    let child = sys::clone3(CLONE_NEWIPC | CLONE_NEWUTS, libc::SIGCHLD, None, || Ok(0))?;
    equal("exit code", &sys::wait(child)?, &0)?;
    tally.child("exits_success", "reaps_parent");
    tally.add("ns_cloned_ipc", 1);
    tally.add("ns_cloned_uts", 1);

    let before = std::fs::File::open("/proc/self/ns/uts")?;
    unshare(CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    tally.add("ns_unshared_uts", 1);
    tally.add("ns_unshared_ipc", 1);
    equal("type mismatch", &setns(before.as_fd(), CloneFlags::CLONE_NEWNET), &Err(Errno::EINVAL))?;
    tally.add("ns_setns_einval", 1);
    setns(before.as_fd(), CloneFlags::empty())?;
    tally.add("ns_joined_outside_uts", 1);
    // A user namespace takes the place of the root directory, which is shared here.
    equal("refused clone", &sys::refused_clone(CLONE_NEWUSER | CLONE_FS)?, &Errno::EINVAL)?;
    tally.add("fork_failures_other", 1);
    tally.add("ns_clone_einval", 1);
    equal("refused clone", &sys::refused_clone(CLONE_THREAD)?, &Errno::EINVAL)?;
    tally.add("fork_failures_other", 1);
    // CLONE_VM alone is not for unshare by a process with one thread; with CSIGNAL bits it is refused.
    let refused = unshare(CloneFlags::from_bits_retain(0x0400_0001));
    equal("refused unshare", &refused, &Err(Errno::EINVAL))?;
    tally.add("ns_unshare_einval", 1);
    Ok(())
}

/// PID 1 of a namespace with two children, an orphan, and two that die with it.
fn pid_namespace(tally: &mut Tally) -> Res<()> {
    let init = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
        for _ in 0..2 {
            let child = sys::fork(|| Ok(0))?;
            equal("exit code", &sys::wait(child)?, &0)?;
        }
        orphan()?;
        for _ in 0..2 {
            let (ready, tell) = std::io::pipe()?;
            sys::fork(|| pause_for_good(tell))?;
            wait_for_end(ready)?;
        }
        let (ready, tell) = std::io::pipe()?;
        let middle = sys::fork(|| sys::fork(|| pause_for_good(tell)).map(|_| 0))?;
        equal("exit code of the parent", &sys::wait(middle)?, &0)?;
        wait_for_end(ready)?;
        let (ready, tell) = std::io::pipe()?;
        sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || pause_for_good(tell))?;
        wait_for_end(ready)?;
        Ok(7)
    })?;
    equal("exit code", &sys::wait(init)?, &7)?;
    tally.child("exits_error", "reaps_parent");
    tally.add("init_exits_error", 1);
    tally.add("ns_cloned_pid", 1);
    for _ in 0..2 {
        tally.child("exits_success", "reaps_init");
    }
    // The middle process and the orphan.
    for _ in 0..2 {
        tally.child("exits_success", "reaps_init");
    }
    tally.add("orphans_init", 1);
    // The parent of a daemon; the daemon, which PID 1 has adopted, dies with it.
    tally.child("exits_success", "reaps_init");
    tally.add("orphans_init", 1);
    // So does PID 1 of a namespace inside.
    tally.add("ns_cloned_pid", 1);
    tally.add("init_exits_signal", 1);
    for counter in ["forks_process", "exits_signal", "reaps_auto", "ns_killed"] {
        tally.add(counter, 4);
    }
    // Each PID 1 waits for what dies with it, and finds nobody in the end.
    tally.add("waits_no_children", 2);
    Ok(())
}

/// PID 1 of a namespace, and a subreaper, that are in another cgroup when their children end.
fn reaped_from_elsewhere(tally: &mut Tally) -> Res<()> {
    let elsewhere = Cgroup::make("elsewhere")?;
    let leave = || std::fs::write(elsewhere.dir.join("cgroup.procs"), "0");
    let init = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
        let (mut hold, mut release) = std::io::pipe()?;
        let middle = sys::fork(|| sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1))).map(|_| 0))?;
        equal("exit code of the parent", &sys::wait(middle)?, &0)?;
        leave()?;
        release.write_all(b"!")?;
        sys::wait(Pid::from_raw(-1))
    })?;
    equal("exit code", &sys::wait(init)?, &0)?;
    tally.add("ns_cloned_pid", 1);
    tally.child("exits_success", "reaps_init");
    tally.add("orphans_other_init", 1);
    let subreaper = sys::fork(|| {
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
        let (mut hold, mut release) = std::io::pipe()?;
        sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1)))?;
        leave()?;
        release.write_all(b"!")?;
        sys::wait(Pid::from_raw(-1))
    })?;
    equal("exit code", &sys::wait(subreaper)?, &0)?;
    for reaper in ["reaps_other_init", "reaps_other_subreaper"] {
        // Who reaps is born here, ends there, and is waited for here.
        for counter in ["forks_process", "migrations_out", "waits_reaped"] {
            tally.add(counter, 1);
        }
        // The wait for its child is there.
        for counter in ["forks_process", "exits_success", reaper, ZOMBIES] {
            tally.add(counter, 1);
        }
    }
    Ok(())
}

fn pause_for_good(ready: PipeWriter) -> Res<i32> {
    drop(ready);
    loop {
        nix::unistd::pause();
    }
}

/// A child whose parent ends before it, and which the caller adopts; both are reaped.
fn orphan() -> Res<()> {
    let (mut hold, mut release) = std::io::pipe()?;
    let middle = sys::fork(|| {
        sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1)))?;
        Ok(0)
    })?;
    equal("exit code of the parent", &sys::wait(middle)?, &0)?;
    release.write_all(b"!")?;
    equal("exit code of the orphan", &sys::wait(Pid::from_raw(-1))?, &0)
}

fn unreaped(tally: &mut Tally) -> Res<()> {
    for (ignore, no_wait) in [(true, false), (false, true)] {
        sys::set_sigchld(ignore, no_wait)?;
        let child = sys::fork(|| Ok(0))?;
        equal("nothing to wait for", &waitpid(child, None).err(), &Some(Errno::ECHILD))?;
        tally.auto_child(no_wait);
        tally.add("waits_no_children", 1);
    }
    for (ignore, no_wait) in [(true, false), (false, true)] {
        sys::set_sigchld(ignore, no_wait)?;
        let child = sys::fork(leader_ends_first)?;
        equal("nothing to wait for", &waitpid(child, None).err(), &Some(Errno::ECHILD))?;
        tally.auto_child(no_wait);
        tally.add("forks_thread", 1);
        tally.add("waits_no_children", 1);
    }
    sys::set_sigchld(false, false)
}

/// The process ends with its second thread, when the leader is a zombie already.
fn leader_ends_first() -> Res<i32> {
    std::thread::spawn(|| {
        while !std::fs::read_to_string("/proc/self/stat").is_ok_and(|stat| stat.contains(") Z ")) {
            std::thread::yield_now();
        }
        end_thread(0);
    });
    end_thread(0);
}

fn orphans(tally: &mut Tally) -> Res<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
    for _ in 0..3 {
        orphan()?;
        tally.child("exits_success", "reaps_subreaper");
        tally.child("exits_success", "reaps_subreaper");
        tally.add("orphans_subreaper", 1);
    }
    for _ in 0..4 {
        child_of_a_thread()?;
        tally.child("exits_success", "reaps_subreaper");
        tally.child("exits_success", "reaps_subreaper");
        tally.add("orphans_subreaper", 1);
        tally.add("forks_thread", 1);
    }
    Ok(())
}

/// The parent ends while the thread that has the child lives.
fn child_of_a_thread() -> Res<()> {
    let (mut hold, mut release) = std::io::pipe()?;
    let parent = sys::fork(|| {
        let (ready, tell) = std::io::pipe()?;
        std::thread::spawn(move || {
            _ = sys::fork(|| {
                drop(tell);
                Ok(i32::from(hold.read(&mut [0])? != 1))
            });
            loop {
                nix::unistd::pause();
            }
        });
        wait_for_end(ready)?;
        Ok(0)
    })?;
    equal("exit code of the parent", &sys::wait(parent)?, &0)?;
    release.write_all(b"!")?;
    equal("exit code of the orphan", &sys::wait(Pid::from_raw(-1))?, &0)
}

fn said(lines: &[Line]) -> BTreeMap<&str, i64> {
    let number = |line: &'_ Line| match line {
        Line::Number(name, value) => Some((name.clone(), *value)),
        _ => None,
    };
    let mut all = BTreeMap::new();
    for (name, value) in lines.iter().filter_map(number) {
        let name: &'static str = String::leak(name);
        all.insert(name, value);
    }
    all
}

/// Counters, and no events.
pub(crate) fn options() -> TraceOptions {
    TraceOptions { events: false, counters: true, syscalls: false, ..TraceOptions::default() }
}

/// Whether a program runs on its hook.
pub(crate) fn is_attached(tracer: &Tracer, name: &str) -> bool {
    tracer.probes().iter().any(|probe| probe.name == name && probe.attached)
}

/// Compares every counter of a cgroup with what was said; what was not said must be zero.
fn same(counts: &Counts, said: &BTreeMap<&str, i64>, tracer: &Tracer) -> Res<()> {
    let attached = |name: &str| is_attached(tracer, name);
    let mut wrong = vec![];
    for counter in Counter::ALL {
        let seen = counts.get(*counter);
        truth(
            &format!("{} is available as its programs are attached", counter.name()),
            seen.is_some() == counter.programs().iter().all(|name| attached(name)),
        )?;
        if counter.name().starts_with("zombie_") {
            continue;
        }
        let expected = said.get(counter.name()).copied().unwrap_or(0);
        if let Some(seen) = seen
            && i64::try_from(seen)? != expected
        {
            wrong.push(format!("{}: counted {seen}, did {expected}", counter.name()));
        }
    }
    equal("counters that differ", &wrong, &vec![])?;
    if attached("release_task") {
        let buckets = [
            Counter::ZombieLe0,
            Counter::ZombieLe1,
            Counter::ZombieLe2,
            Counter::ZombieLe3,
            Counter::ZombieLe4,
            Counter::ZombieLe5,
            Counter::ZombieLe6,
            Counter::ZombieLe7,
            Counter::ZombieMore,
        ];
        let n: u64 = buckets.iter().filter_map(|bucket| counts.get(*bucket)).sum();
        equal("zombies", &i64::try_from(n)?, &said.get(ZOMBIES).copied().unwrap_or(0))?;
        let sum = i64::try_from(counts.get(Counter::ZombieSumNs).unwrap_or(0))?;
        let least = said.get(ZOMBIE_NS).copied().unwrap_or(0);
        truth(&format!("zombies waited {sum} ns, at least {least}"), sum >= least)?;
    }
    Ok(())
}

fn of_a_cgroup(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    let (first, second) = match (Cgroup::make("counted-first"), Cgroup::make("counted")) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(reason), _) | (_, Err(reason)) => return Ok(Completion::ignored_with(reason)),
    };
    let mut child = start("scene::adopter")?;
    go(&mut child)?;
    let lines = finish(child)?;
    let adopter = said(&lines).get("adopter").ok_or("nobody has adopted the orphan")?.to_string();
    let mut child = start_with("scene::counted", &[(rare::ADOPTER, adopter)])?;
    first.add(child.id())?;
    second.add(child.id())?;
    go(&mut child)?;
    let lines = finish(child)?;
    let said = said(&lines);
    let snapshot = tracer.counters()?;
    let of = |cgroup: &Cgroup| snapshot.cgroups.get(&cgroup.id).ok_or("the cgroup is not counted");
    same(of(&second)?, &said, &tracer)?;
    same(of(&first)?, &BTreeMap::from([("migrations_in", 1), ("migrations_out", 1)]), &tracer)?;
    sets_of_namespaces(&tracer)?;
    truth("no map was full", tracer.refusals()?.iter().all(|refused| refused.count == 0))?;
    truth("nobody waits to be reaped here", tracer.zombies()?.iter().all(|z| z.cgroup_id != second.id))?;
    let ids = [first.id, second.id];
    drop((first, second));
    let after = tracer.counters()?;
    truth("counters outlive their cgroup", ids.iter().all(|id| after.cgroups.contains_key(id)))?;
    for id in ids {
        tracer.forget_cgroup(id)?;
        tracer.forget_cgroup(id)?;
    }
    let after = tracer.counters()?;
    truth("until user space ends them", ids.iter().all(|id| !after.cgroups.contains_key(id)))?;
    Ok(Completion::Completed)
}

/// What the scenario asked for together; other processes of the machine may have asked for more.
fn sets_of_namespaces(tracer: &Tracer) -> Res<()> {
    let sets = tracer.flag_sets()?;
    let count = |operation: &str, types: &str| {
        let is_it = |set: &&FlagSet| set.operation == operation && set.types == types;
        sets.iter().find(is_it).map_or(0, |set| set.count)
    };
    truth("clones of pid namespaces", count("clone", "pid") >= 3)?;
    truth("unshares", count("unshare", "ipc+uts") >= u64::from(is_attached(tracer, "ksys_unshare")))?;
    truth("joins", count("setns", "uts") >= u64::from(is_attached(tracer, "setns_return")))?;
    truth("no call without a type", sets.iter().all(|set| !set.types.is_empty() && set.count > 0))
}

/// More cgroups than the map has room for.
fn full_map(_tracer: &Tracer) -> Res<Completion> {
    const ROOM: u32 = 4;
    let tracer = Tracer::start(&TraceOptions { max_cgroups: ROOM, ..options() })?;
    let mut made = vec![];
    for n in 0..=ROOM {
        match Cgroup::make(&format!("crowd-{n}")) {
            Ok(cgroup) => made.push(cgroup),
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        }
    }
    let snapshot = tracer.counters()?;
    let fill = tracer.fill(&snapshot, &tracer.zombies()?, &tracer.flag_sets()?);
    let names: BTreeSet<&str> = fill.iter().map(|fill| fill.map).collect();
    let refusals = tracer.refusals()?;
    // The kernel makes room in this one.
    let can_refuse = refusals.iter().map(|refused| refused.map).filter(|map| *map != "moving");
    equal("maps whose fill is told", &names, &can_refuse.collect())?;
    equal("fill of the map", &(fill[0].entries, fill[0].capacity), &(ROOM.into(), ROOM.into()))?;
    let of_counters = |refusals: &[Refusals]| {
        let is_it = |refused: &&Refusals| (refused.map, refused.errno) == ("counters", "E2BIG");
        refusals.iter().find(is_it).map_or(0, |refused| refused.count)
    };
    truth("the refusal is told", of_counters(&refusals) > 0)?;
    let last = made.last().ok_or("no cgroup")?;
    truth("there is no room for the last one", !tracer.count_cgroup(last.id)?)?;
    truth("that is a refusal too", of_counters(&tracer.refusals()?) > of_counters(&refusals))?;
    // What happens in it is not lost.
    let joined = || -> Res<u64> { Ok(tracer.uncounted()?.get(Counter::MigrationsIn).unwrap_or(0)) };
    let before = joined()?;
    let child = sys::fork(|| {
        last.add(std::process::id())?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)?;
    truth("the move into it is counted", joined()? > before)?;
    Ok(Completion::Completed)
}

/// Each path once, whole or not at all.
fn paths(_tracer: &Tracer) -> Res<Completion> {
    /// Most bytes of a path that is kept.
    const MAX: usize = 253;
    let tracer = Tracer::start(&options())?;
    let parent = match Cgroup::make("brief") {
        Ok(parent) => parent,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let name = Path::new(parent.dir.file_name().ok_or("a cgroup without a name")?);
    let room = MAX - name.as_os_str().len() - 1;
    let mut born = tracer.take_cgroup_paths()?;
    equal("path", &born.remove(&parent.id).as_deref(), &Some(name))?;
    for (len, fits) in [(room, true), (room + 1, false)] {
        let child = "x".repeat(len);
        let id = Cgroup::make_in(&parent.dir, &child)?.id;
        let mut born = tracer.take_cgroup_paths()?;
        equal("path of the child", &born.remove(&id), &fits.then(|| name.join(&child)))?;
        truth("each path is told once", !born.contains_key(&parent.id))?;
    }
    let id = Cgroup::make_in(&parent.dir, "forgotten")?.id;
    tracer.forget_cgroup(id)?;
    truth("who is forgotten has none", !tracer.take_cgroup_paths()?.contains_key(&id))?;
    Ok(Completion::Completed)
}

/// Forks of a storm.
const STORM: u32 = 2000;
/// Storms of which one has to fill the ring.
const MAX_STORMS: u32 = 5;

fn fork_storm() -> Res<()> {
    for _ in 0..STORM {
        let child = sys::fork(|| Ok(0))?;
        sys::wait(child)?;
    }
    Ok(())
}

/// With a ring of one page the counters stay exact, and the loss too.
fn ring_full(_tracer: &Tracer) -> Res<Completion> {
    let tracer =
        Tracer::start(&TraceOptions { counters: true, ring_bytes: 4096, ..TraceOptions::default() })?;
    let cgroup = match Cgroup::make("storm") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let scope = tracer.open_scope()?;
    let births_lost = || {
        let ring = tracer.ring();
        ring.iter().find(|(kind, _)| *kind == "new_task").is_some_and(|(_, count)| count.lost > 0)
    };
    // The reader may keep up with a storm.
    let mut storms = 0;
    while storms < MAX_STORMS && !births_lost() {
        let mut child = start("scene::fork_storm")?;
        cgroup.add(child.id())?;
        scope.add_thread_group(child.id())?;
        go(&mut child)?;
        finish(child)?;
        storms += 1;
    }
    tracer.detach()?;
    // Tasks are freed, and programs run, for a while yet: until a mark is behind all that was written.
    let since = Instant::now();
    let ring = loop {
        scope.fence(PATIENCE)?;
        let ring = tracer.ring();
        let is_drained = ring.iter().all(|(_, count)| count.received == count.emitted);
        if is_drained || since.elapsed() > PATIENCE {
            break ring;
        }
    };
    let snapshot = tracer.counters()?;
    let counts = snapshot.cgroups.get(&cgroup.id).ok_or("the cgroup is not counted")?;
    let (forks, storms) = (u64::from(STORM * storms), u64::from(storms));
    equal("forks", &counts.get(Counter::ForksProcess), &Some(forks))?;
    equal("ends", &counts.get(Counter::ExitsSuccess), &Some(forks + storms))?;
    let of =
        |name: &str| ring.iter().find(|(kind, _)| *kind == name).map(|(_, count)| *count).unwrap_or_default();
    for (kind, attempted) in [("new_task", forks), ("exit", forks + storms)] {
        let count = of(kind);
        equal(&format!("attempted {kind}"), &(count.emitted + count.lost), &attempted)?;
    }
    truth("births were lost", of("new_task").lost > 0)?;
    let mut lost = 0;
    for (kind, count) in &ring {
        equal(&format!("{kind}: received of {}", count.emitted), &count.received, &count.emitted)?;
        equal(&format!("malformed {kind}"), &count.malformed, &0)?;
        // A mark that finds no room is asked for again.
        lost += if *kind == "fence" { 0 } else { count.lost };
    }
    equal("loss of the scope", &scope.lost(), &lost)?;
    let gaps: u64 = scope
        .events()
        .iter()
        .map(|event| match event.kind {
            podproof_ebpf::event::EventKind::Gap { lost } => lost,
            _ => 0,
        })
        .sum();
    equal("sum over the gaps", &gaps, &lost)?;
    Ok(Completion::Completed)
}

/// Tasks created since boot, threads and kernel threads included (proc_stat(5)).
fn forks_of_the_machine() -> Res<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    Ok(line.ok_or("/proc/stat without processes")?.parse()?)
}

/// Other processes may create tasks at any time, so each reading of the counters stands between two of /proc.
fn of_the_node(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    let forks = || -> Res<u64> {
        let node = tracer.counters()?.node;
        let sum = [Counter::ForksProcess, Counter::ForksThread].map(|counter| node.get(counter).unwrap_or(0));
        Ok(sum.iter().sum())
    };
    let (a, first, b) = (forks_of_the_machine()?, forks()?, forks_of_the_machine()?);
    let mut child = start("scene::fork_storm")?;
    go(&mut child)?;
    finish(child)?;
    let (c, second, d) = (forks_of_the_machine()?, forks()?, forks_of_the_machine()?);
    let counted = second - first;
    truth(
        &format!("{counted} forks, of /proc/stat between {} and {}", c - b, d - a),
        (c - b..=d - a).contains(&counted),
    )?;
    truth("the storm is in it", counted >= u64::from(STORM))?;
    Ok(Completion::Completed)
}

fn seeded(_tracer: &Tracer) -> Res<Completion> {
    let cgroup = match Cgroup::make("seeded") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let tracer = Tracer::start(&options())?;
    truth("it is not counted", !tracer.counters()?.cgroups.contains_key(&cgroup.id))?;
    tracer.count_cgroup(cgroup.id)?;
    let mut child = start("scene::fork_storm")?;
    cgroup.add(child.id())?;
    // Asking again changes nothing.
    tracer.count_cgroup(cgroup.id)?;
    child.stdin.as_mut().ok_or("no standard input")?.write_all(b"!")?;
    finish(child)?;
    let snapshot = tracer.counters()?;
    let counts = snapshot.cgroups.get(&cgroup.id).ok_or("the cgroup is not counted")?;
    equal("forks", &counts.get(Counter::ForksProcess), &Some(STORM.into()))?;
    Ok(Completion::Completed)
}

/// Children that are killed together.
const GROUP: u64 = 4;

fn oom_group_scene() -> Res<()> {
    let (_memory, cgroup) = match oom::limited("oom-group") {
        Ok(made) => made,
        Err(reason) => return say_skip(&reason),
    };
    std::fs::write(cgroup.dir.join("memory.oom.group"), "1")?;
    say_number("id", i64::try_from(cgroup.id)?)?;
    let dir = std::fs::File::open(&cgroup.dir)?;
    let mut children = vec![];
    for _ in 1..GROUP {
        children.push(sys::clone3(CLONE_INTO_CGROUP, libc::SIGCHLD, Some(dir.as_fd()), wait_to_be_killed)?);
    }
    children.push(sys::clone3(CLONE_INTO_CGROUP, libc::SIGCHLD, Some(dir.as_fd()), || sys::eat_memory())?);
    for child in children {
        equal("killed", &sys::wait(child)?, &-libc::SIGKILL)?;
    }
    Ok(())
}

/// Each member of the cgroup once, whoever was chosen first.
fn oom_group(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    let mut child = start("scene::oom_group")?;
    go(&mut child)?;
    let lines = finish(child)?;
    if let Some(reason) = lines.iter().find_map(|line| match line {
        Line::Skip(reason) => Some(reason),
        _ => None,
    }) {
        return Ok(Completion::ignored_with(reason.clone()));
    }
    let id = u64::try_from(said(&lines)["id"])?;
    let snapshot = tracer.counters()?;
    let counts = snapshot.cgroups.get(&id).ok_or("the cgroup is not counted")?;
    if let Some(kills) = counts.get(Counter::OomKillsMemcg) {
        equal("OOM kills", &kills, &GROUP)?;
    }
    equal("ends by OOM", &counts.get(Counter::ExitsOom), &Some(GROUP))?;
    Ok(Completion::Completed)
}
