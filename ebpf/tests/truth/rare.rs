//! What the counted scenario does once: namespaces entered from within, calls that are refused, tracers, adoptions by others.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, Uid, getpid, getppid, setuid};
use podproof_ebpf::counters::Counter;

use crate::Res;
use crate::counters::{AGE, Tally, ZOMBIE_NS, ZOMBIES};
use crate::namespaces::holder;
use crate::observe::equal;
use crate::report::say_number;
use crate::sys;
use crate::sys::program::{handle_with_interruption, wait_to_be_killed};
use crate::sys::ptrace::seize;
use crate::sys::timing::{alarm_every, wait_for_timer};

const CLONE_NEWTIME: i32 = 0x80;
const CLONE_NEWUTS: u64 = 0x0400_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
/// All types that clone3 makes by a flag of their own.
const SEVEN: u64 =
    CLONE_NEWUSER | CLONE_NEWUTS | 0x0200_0000 | 0x0800_0000 | 0x0002_0000 | 0x4000_0000 | 0x2000_0000;

/// The variable with what [`adopter`] has said.
pub(crate) const ADOPTER: &str = "PODPROOF_TEST_ADOPTER";

pub(crate) fn all(tally: &mut Tally) -> Res<()> {
    joins(tally)?;
    without_capabilities(tally)?;
    without_room(tally)?;
    after_pid_1(tally)?;
    interrupted_wait(tally)?;
    exec_by_a_thread(tally)?;
    reaped_by_a_tracer(tally)?;
    kept_by_a_tracer(tally)?;
    if std::env::var(ADOPTER).is_ok_and(|pid| pid == "1") {
        adopted_by_the_host(tally)?;
    }
    adopted_by_one_that_is_no_reaper_any_more(tally)
}

/// A child that ends well, and is reaped by its parent.
fn end(tally: &mut Tally, child: Pid) -> Res<()> {
    equal("exit code", &sys::wait(child)?, &0)?;
    tally.child("exits_success", "reaps_parent");
    Ok(())
}

/// Adds one to every counter of this prefix but those of `without`.
fn add_range(tally: &mut Tally, prefix: &str, without: &[&str]) {
    let names = Counter::ALL.iter().map(|counter| counter.name());
    for name in names.filter(|name| name.starts_with(prefix) && !without.contains(name)) {
        tally.add(name, 1);
    }
}

/// A caller in the machine's first mount namespace, and one in a mount namespace of its own.
fn joins(tally: &mut Tally) -> Res<()> {
    let (child, hold) = holder(SEVEN)?;
    add_range(tally, "ns_cloned_", &["ns_cloned_time"]);
    let open = |kind| File::open(format!("/proc/{child}/ns/{kind}"));
    // Each allows the next: who has entered the user namespace may do there what it likes. The mount namespace decides where the caller
    // is, and is last.
    let others = ["cgroup", "ipc", "net", "pid", "uts", "user", "mnt"]
        .map(open)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    for (is_inside, prefix) in [(false, "ns_joined_outside_"), (true, "ns_joined_inside_")] {
        let caller = sys::fork(|| {
            if is_inside {
                unshare(CloneFlags::CLONE_NEWNS)?;
            }
            let own = File::open("/proc/self/ns/time")?;
            unshare(CloneFlags::from_bits_retain(CLONE_NEWTIME))?;
            for file in std::iter::once(&own).chain(&others) {
                setns(file.as_fd(), CloneFlags::empty())?;
            }
            Ok(0)
        })?;
        end(tally, caller)?;
        tally.add("ns_unshared_mnt", i64::from(is_inside));
        tally.add("ns_unshared_time", 1);
        add_range(tally, prefix, &[]);
    }
    drop(hold);
    end_of_pid_1(tally, child)
}

/// PID 1 of a namespace looks for others at its end.
fn end_of_pid_1(tally: &mut Tally, child: Pid) -> Res<()> {
    end(tally, child)?;
    tally.add("init_exits_success", 1);
    tally.add("waits_no_children", 1);
    Ok(())
}

/// A user without root, who may have no process either.
fn without_capabilities(tally: &mut Tally) -> Res<()> {
    let child = sys::fork(|| {
        let uts = File::open("/proc/self/ns/uts")?;
        setuid(Uid::from_raw(65_534))?;
        equal("clone", &sys::refused_clone(CLONE_NEWUTS)?, &Errno::EPERM)?;
        equal("unshare", &unshare(CloneFlags::CLONE_NEWUTS), &Err(Errno::EPERM))?;
        equal("setns", &setns(uts.as_fd(), CloneFlags::empty()), &Err(Errno::EPERM))?;
        setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
        equal("fork", &sys::refused_clone(libc::SIGCHLD as u64)?, &Errno::EAGAIN)?;
        Ok(0)
    })?;
    end(tally, child)?;
    for counter in [
        "fork_failures_eperm",
        "ns_clone_eperm",
        "ns_unshare_eperm",
        "ns_setns_eperm",
        "fork_failures_eagain",
    ] {
        tally.add(counter, 1);
    }
    Ok(())
}

/// A user namespace that may have no UTS namespaces (namespaces(7)).
fn without_room(tally: &mut Tally) -> Res<()> {
    let child = sys::clone3(CLONE_NEWUSER, libc::SIGCHLD, None, || {
        std::fs::write("/proc/sys/user/max_uts_namespaces", "0")?;
        equal("unshare", &unshare(CloneFlags::CLONE_NEWUTS), &Err(Errno::ENOSPC))?;
        equal("clone", &sys::refused_clone(CLONE_NEWUTS)?, &Errno::ENOSPC)?;
        Ok(0)
    })?;
    end(tally, child)?;
    for counter in ["ns_cloned_user", "ns_unshare_enospc", "ns_clone_enospc", "fork_failures_other"] {
        tally.add(counter, 1);
    }
    Ok(())
}

/// A pid namespace takes nobody once its PID 1 has ended (pid_namespaces(7)).
fn after_pid_1(tally: &mut Tally) -> Res<()> {
    let child = sys::fork(|| {
        unshare(CloneFlags::CLONE_NEWPID)?;
        let init = sys::fork(|| Ok(0))?;
        equal("exit code of PID 1", &sys::wait(init)?, &0)?;
        for flags in [libc::SIGCHLD as u64, CLONE_NEWUTS] {
            equal("clone", &sys::refused_clone(flags)?, &Errno::ENOMEM)?;
        }
        equal("no descriptor", &sys::program::setns(-1, 0), &Err(Errno::EBADF))?;
        Ok(0)
    })?;
    end(tally, child)?;
    // PID 1, which the child has reaped.
    tally.child("exits_success", "reaps_parent");
    tally.add("init_exits_success", 1);
    tally.add("waits_no_children", 1);
    tally.add("ns_unshared_pid", 1);
    tally.add("fork_failures_enomem", 2);
    tally.add("ns_clone_other", 1);
    tally.add("ns_setns_other", 1);
    Ok(())
}

/// A timer goes on until it hits the call.
fn interrupted_wait(tally: &mut Tally) -> Res<()> {
    let child = sys::fork(|| {
        let child = sys::fork(wait_to_be_killed)?;
        handle_with_interruption(libc::SIGALRM)?;
        alarm_every(Duration::from_millis(20))?;
        equal("wait", &waitpid(child, None).err(), &Some(Errno::EINTR))?;
        alarm_every(Duration::ZERO)?;
        kill(child, Signal::SIGKILL)?;
        equal("signal", &sys::wait(child)?, &-libc::SIGKILL)?;
        Ok(0)
    })?;
    end(tally, child)?;
    tally.child("exits_signal", "reaps_parent");
    tally.add("waits_interrupted", 1);
    Ok(())
}

/// The leader vanishes, and the thread goes on under its number: one process all the time.
fn exec_by_a_thread(tally: &mut Tally) -> Res<()> {
    let child = sys::fork(|| {
        let exec = || {
            let mut program = Command::new(std::env::current_exe()?);
            Err::<(), _>(program.args(["scenario", "noop"]).stdout(Stdio::null()).exec())
        };
        std::thread::spawn(exec).join().map_err(|_panic| "a thread panicked")??;
        Ok(1)
    })?;
    end(tally, child)?;
    tally.add("forks_thread", 1);
    tally.add("execs", 1);
    Ok(())
}

/// The parent ignores its children, so that the tracer's wait is the last.
fn reaped_by_a_tracer(tally: &mut Tally) -> Res<()> {
    let parent = sys::fork(|| {
        sys::set_sigchld(true, false)?;
        let (mut hold, mut release) = std::io::pipe()?;
        let child = sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1)))?;
        sys::fork(|| {
            seize(child)?;
            release.write_all(b"!")?;
            sys::wait(child)
        })?;
        equal("nobody in the end", &waitpid(None, None).err(), &Some(Errno::ECHILD))?;
        Ok(0)
    })?;
    end(tally, parent)?;
    tally.child("exits_success", "reaps_tracer");
    // The tracer.
    tally.auto_child(false);
    tally.add("waits_no_children", 1);
    Ok(())
}

/// A zombie to its tracer is none to its parent yet, and grows older.
fn kept_by_a_tracer(tally: &mut Tally) -> Res<()> {
    let (mut hold, mut release) = std::io::pipe()?;
    let (mut ended, mut tell) = std::io::pipe()?;
    let (mut keep, mut let_go) = std::io::pipe()?;
    let child = sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1)))?;
    let tracer = sys::fork(|| {
        seize(child)?;
        release.write_all(b"!")?;
        sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
        tell.write_all(b"!")?;
        keep.read_exact(&mut [0])?;
        sys::wait(child)
    })?;
    ended.read_exact(&mut [0])?;
    equal("none to its parent", &waitpid(child, Some(WaitPidFlag::WNOHANG))?, &WaitStatus::StillAlive)?;
    wait_for_timer(AGE)?;
    let_go.write_all(b"!")?;
    end(tally, tracer)?;
    end(tally, child)?;
    tally.add("waits_none_ready", 2);
    // The tracer takes the end of it too.
    tally.add("waits_reaped", 1);
    tally.add(ZOMBIE_NS, i64::try_from(AGE.as_nanos())?);
    Ok(())
}

/// Says who adopts orphans of the test: a subreaper above it may take its time to reap them.
pub(crate) fn adopter() -> Res<()> {
    let (mut told, mut tell) = std::io::pipe()?;
    let middle = sys::fork(|| {
        let own = getpid();
        sys::fork(|| {
            while getppid() == own {
                std::thread::yield_now();
            }
            tell.write_all(&getppid().as_raw().to_ne_bytes())?;
            Ok(0)
        })?;
        Ok(0)
    })?;
    equal("exit code of the parent", &sys::wait(middle)?, &0)?;
    let mut number = [0; 4];
    told.read_exact(&mut number)?;
    say_number("adopter", i32::from_ne_bytes(number))
}

/// No reaper is nearer than the machine's PID 1.
fn adopted_by_the_host(tally: &mut Tally) -> Res<()> {
    let (mut hold, mut release) = std::io::pipe()?;
    let (mut told, mut tell) = std::io::pipe()?;
    let middle = sys::fork(|| {
        sys::fork(|| {
            hold.read_exact(&mut [0])?;
            tell.write_all(&getpid().as_raw().to_ne_bytes())?;
            Ok(0)
        })?;
        Ok(0)
    })?;
    end(tally, middle)?;
    release.write_all(b"!")?;
    let mut number = [0; 4];
    told.read_exact(&mut number)?;
    let orphan = Pid::from_raw(i32::from_ne_bytes(number));
    while kill(orphan, None) != Err(Errno::ESRCH) {
        std::thread::yield_now();
    }
    for counter in ["orphans_host_init", "reaps_host_init", "forks_process", "exits_success", ZOMBIES] {
        tally.add(counter, 1);
    }
    Ok(())
}

fn adopted_by_one_that_is_no_reaper_any_more(tally: &mut Tally) -> Res<()> {
    let former = sys::fork(|| {
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
        let (mut hold, mut release) = std::io::pipe()?;
        let middle = sys::fork(|| sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1))).map(|_| 0))?;
        equal("exit code of the parent", &sys::wait(middle)?, &0)?;
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [0, 0])?;
        release.write_all(b"!")?;
        sys::wait(Pid::from_raw(-1))
    })?;
    end(tally, former)?;
    tally.child("exits_success", "reaps_subreaper");
    tally.child("exits_success", "reaps_parent");
    tally.add("orphans_other", 1);
    Ok(())
}
