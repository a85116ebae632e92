//! Births, threads, execs with their credentials, ends.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use podproof_ebpf::event::{Creds, EventKind};

use crate::Res;
use crate::observe::{Case, Observed, PATIENCE, equal, in_order, same_task, truth};
use crate::report::{field, say, say_number, say_task, say_text};
use crate::sys;

pub(crate) const CASES: &[Case] = &[
    Case { name: "task::fork_exit_zombie_reap", scenario: fork_and_wait, check: check_fork },
    Case { name: "task::free_follows_the_reap", scenario: many, check: check_freed },
    Case { name: "task::vfork_and_exec", scenario: spawn, check: check_spawn },
    Case { name: "task::threads", scenario: threads, check: check_threads },
    Case { name: "task::exec_from_a_thread", scenario: exec_from_a_thread, check: check_exec_from_a_thread },
    Case { name: "task::credentials_at_exec", scenario: exec_with_credentials, check: check_credentials },
    Case { name: "task::failed_clones", scenario: failed_clones, check: check_failed_clones },
];

const SIGCHLD: i32 = 17;
const CLONE_SIGHAND: u64 = 0x800;
const CLONE_VM_VFORK: u64 = 0x4100;
const CLONE_THREAD: u64 = 0x1_0000;
/// What the C library's fork passes: CLONE_CHILD_CLEARTID and CLONE_CHILD_SETTID.
const FORK_FLAGS: u64 = 0x0120_0000;

fn fork_and_wait() -> Res<()> {
    say_task("parent")?;
    let child = sys::fork(|| say_task("child").map(|_| 7))?;
    equal("exit code", &sys::wait(child)?, &7)
}

fn check_fork(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let (born, view, flags, exit_signal) = seen.birth(child)?;
    same_task(view, child, parent)?;
    equal("clone flags", &flags, &FORK_FLAGS)?;
    equal("exit signal", &exit_signal, &SIGCHLD)?;
    truth("current called clone", parent.is(&born.current))?;
    equal("name of current", &born.comm, &parent.comm)?;
    equal("source", &born.source.as_str(), &"tp_btf/task_newtask")?;
    equal("scope", &born.scope, &seen.scope.id())?;

    let (died, view, status) = seen.death(child)?;
    same_task(view, child, parent)?;
    equal("wait status", &status, &(7 << 8))?;
    truth("current is the dying task", child.is(&died.current))?;

    let [(zombie, told, si_code)] = seen.zombies(child)[..] else { return Err("not one zombie".into()) };
    truth("the parent was told", parent.is(&told))?;
    equal("si_code", &si_code, &1)?;
    let reap = seen.reaped_by(child, parent)?;
    in_order(&[born, died, zombie, reap])?;
    seen.not_freed_before(child, reap)?;
    truth(
        "it kept its parent",
        seen.all(|e| matches!(e.kind, EventKind::Reparent { .. }).then_some(e)).is_empty(),
    )
}

const MANY: usize = 20;

fn many() -> Res<()> {
    for n in 0..MANY {
        let child = sys::fork(|| say_task(&format!("child {n}")).map(|_| 0))?;
        equal("exit code", &sys::wait(child)?, &0)?;
    }
    Ok(())
}

/// Memory is freed when the kernel gets to it: the 6.18 of a micro-VM was seen to keep one task in some hundred for
/// more than a minute, and fires no tracepoint for it meanwhile.
fn check_freed(seen: &Observed) -> Res<()> {
    let children: Vec<_> = (0..MANY).map(|n| seen.task(&format!("child {n}"))).collect::<Res<_>>()?;
    let mut freed = 0;
    let enough = seen.scope.wait_for(PATIENCE, |event| {
        if let EventKind::Free { task } = &event.kind {
            freed += usize::from(children.iter().any(|child| child.is(task)));
        }
        freed >= MANY - 2
    });
    truth(&format!("{freed} of {MANY} were freed"), enough.is_some())?;
    for event in seen.scope.events() {
        if let EventKind::Free { task } = &event.kind
            && let Some(child) = children.iter().find(|child| child.is(task))
        {
            let [reap] = seen.reaps(child)[..] else { return Err("not one reap".into()) };
            truth("freed after its reap", reap.seq < event.seq)?;
        }
    }
    Ok(())
}

fn spawn() -> Res<()> {
    say_task("parent")?;
    let exe = std::env::current_exe()?;
    say_text("exe", &exe.display().to_string())?;
    let status = Command::new(exe).args(["scenario", "noop"]).stdin(Stdio::null()).status()?;
    truth("the program succeeded", status.success())
}

fn check_spawn(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("noop")?);
    let (born, _, flags, _) = seen.birth(child)?;
    truth(&format!("{flags:#x} is a vfork"), flags & CLONE_VM_VFORK == CLONE_VM_VFORK)?;
    let (event, view, path, old_tid) = seen.one("exec", |event| match &event.kind {
        EventKind::Exec { task, filename, old_tid, .. } => Some((event, task, filename, *old_tid)),
        _ => None,
    })?;
    same_task(view, child, parent)?;
    equal("path", &path.as_str(), &seen.text("exe")?)?;
    equal("thread id before", &old_tid, &child.tid)?;
    equal("name after", &event.comm, &child.comm)?;
    in_order(&[born, event, seen.death(child)?.0])
}

fn threads() -> Res<()> {
    say_task("leader")?;
    let thread = std::thread::spawn(|| say_task("thread").map(drop).map_err(|error| error.to_string()));
    thread.join().map_err(|_panic| "the thread panicked")??;
    Ok(())
}

fn check_threads(seen: &Observed) -> Res<()> {
    let (leader, thread) = (seen.task("leader")?, seen.task("thread")?);
    let (event, view, flags, exit_signal) = seen.birth(thread)?;
    truth("CLONE_THREAD is set", flags & CLONE_THREAD != 0)?;
    equal("exit signal", &exit_signal, &0)?;
    truth("the leader called clone", leader.is(&event.current))?;
    equal("numbers", &view.ns_pids, &thread.ns_pids)?;
    equal("namespaces", &view.ns, &thread.ns)?;
    // A thread has the parent of its process: this test.
    equal("parent", &view.parent.tgid, &std::process::id())?;
    let (end, view) = seen.one("end of the thread", |event| match &event.kind {
        EventKind::Exit { task, .. } if thread.is(&task.task) => Some((event, task)),
        _ => None,
    })?;
    equal("namespaces at the end", &view.ns, &thread.ns)?;
    truth("no zombie of a thread", seen.zombies(thread).is_empty())?;
    truth("no reap of a thread", seen.reaps(thread).is_empty())?;
    let [(zombie, ..)] = seen.zombies(leader)[..] else { return Err("not one zombie".into()) };
    in_order(&[event, end, zombie])?;
    // Which of the two is the last depends on when the joined thread is really gone.
    let dead =
        seen.all(|event| matches!(event.kind, EventKind::Exit { group_dead: true, .. }).then_some(event));
    equal("ends of the process", &dead.len(), &1)
}

fn exec_from_a_thread() -> Res<()> {
    say_task("leader")?;
    let thread = std::thread::spawn(|| {
        let exec = || -> Res<()> {
            say_task("thread")?;
            let error = Command::new(std::env::current_exe()?).args(["scenario", "noop"]).exec();
            Err(error.into())
        };
        exec().map_err(|error| error.to_string())
    });
    thread.join().map_err(|_panic| "the thread panicked")??;
    Err("exec returned".into())
}

fn check_exec_from_a_thread(seen: &Observed) -> Res<()> {
    let (leader, thread, program) = (seen.task("leader")?, seen.task("thread")?, seen.task("noop")?);
    equal("the program has the leader's number", &program.tid, &leader.tid)?;
    let (exec, view, old_tid) = seen.one("exec", |event| match &event.kind {
        EventKind::Exec { task, old_tid, .. } => Some((event, task, *old_tid)),
        _ => None,
    })?;
    truth("the task is the program", program.is(&view.task))?;
    equal("thread id before", &old_tid, &thread.tid)?;
    let ends = seen.all(|event| match &event.kind {
        EventKind::Exit { task, group_dead, .. } => Some((event, task.task.tid, *group_dead)),
        _ => None,
    });
    let [(first, tid, false), (last, last_tid, true)] = ends[..] else {
        return Err(format!("not the leader and then the process: {ends:?}").into());
    };
    equal("the old leader ended", &tid, &leader.tid)?;
    equal("the process ended", &last_tid, &leader.tid)?;
    let [zombie] = seen.zombies(program)[..] else { return Err("not one zombie".into()) };
    truth("only the process was reaped", seen.reaps(program).len() == 1)?;
    in_order(&[first, exec, last, zombie.0, seen.reaps(program)[0]])?;
    seen.not_freed_before(program, seen.reaps(program)[0])
}

const UID: u32 = 12_345;
const GID: u32 = 23_456;
const CAP_KILL: u64 = 5;
const CAP_NET_BIND_SERVICE: u64 = 10;
const CAP_SYS_CHROOT: u64 = 18;
const CAP_WAKE_ALARM: u64 = 35;

fn exec_with_credentials() -> Res<()> {
    let exe = std::env::current_exe()?;
    let plain = Command::new(&exe).args(["scenario", "credentials"]).status()?;
    truth("the plain program succeeded", plain.success())?;
    let child = sys::fork(|| {
        sys::prctl(libc::PR_CAPBSET_DROP, [CAP_SYS_CHROOT, 0])?;
        sys::prctl(libc::PR_SET_KEEPCAPS, [1, 0])?;
        setresgid(Gid::from_raw(GID), Gid::from_raw(GID), Gid::from_raw(GID))?;
        setresuid(Uid::from_raw(UID), Uid::from_raw(UID), Uid::from_raw(UID))?;
        let inheritable = 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE;
        let permitted = inheritable | 1 << CAP_WAKE_ALARM;
        sys::set_capabilities(permitted, permitted, inheritable)?;
        sys::prctl(libc::PR_CAP_AMBIENT, [libc::PR_CAP_AMBIENT_RAISE as u64, CAP_KILL])?;
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0])?;
        sys::allow_all_filter()?;
        Err(Command::new(&exe).args(["scenario", "credentials"]).exec().into())
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

/// Run as a program: says what it started with.
pub(crate) fn say_credentials() -> Res<()> {
    let me = crate::report::TaskTruth::read()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    say(&crate::report::Line::Task("program".into(), me.clone()))?;
    say_text(&format!("status of {}", me.tid), &status)
}

fn check_credentials(seen: &Observed) -> Res<()> {
    let execs = seen.all(|event| match &event.kind {
        EventKind::Exec { task, creds, .. } => Some((task.task.tid, creds)),
        _ => None,
    });
    equal("execs", &execs.len(), &2)?;
    for (tid, creds) in &execs {
        let status = seen.text(&format!("status of {tid}"))?;
        let number = |name: &str, column: usize| -> Res<u32> {
            let value = field(status, name)?.split_whitespace().nth(column).ok_or("a short line")?;
            Ok(value.parse()?)
        };
        let set = |name: &str| -> Res<u64> { Ok(u64::from_str_radix(field(status, name)?, 16)?) };
        // Uid and Gid: real, effective, saved, file system.
        let said = Creds {
            uid: number("Uid", 1)?,
            gid: number("Gid", 1)?,
            cap_inheritable: set("CapInh")?,
            cap_permitted: set("CapPrm")?,
            cap_effective: set("CapEff")?,
            cap_bounding: set("CapBnd")?,
            cap_ambient: set("CapAmb")?,
            no_new_privs: number("NoNewPrivs", 0)? == 1,
            seccomp_mode: number("Seccomp", 0)?,
        };
        equal("credentials", creds, &&said)?;
    }
    let restricted = execs[1].1;
    equal("uid", &restricted.uid, &UID)?;
    equal("gid", &restricted.gid, &GID)?;
    equal("ambient set", &restricted.cap_ambient, &(1 << CAP_KILL))?;
    equal("no_new_privs and filter", &(restricted.no_new_privs, restricted.seccomp_mode), &(true, 2))
}

fn failed_clones() -> Res<()> {
    say_task("parent")?;
    // A thread without shared signal handlers, and shared handlers without shared memory.
    let thread = sys::clone3(CLONE_THREAD, 0, None, || Ok(0)).err().ok_or("a lone CLONE_THREAD succeeded")?;
    say_number("thread", thread as i32)?;
    say_number("handlers", sys::refused_clone(CLONE_SIGHAND | SIGCHLD as u64)? as i32)?;
    let child = sys::fork(|| {
        say_task("limited")?;
        setrlimit(Resource::RLIMIT_NPROC, 1, 1)?;
        setresuid(Uid::from_raw(UID), Uid::from_raw(UID), Uid::from_raw(UID))?;
        // Two, in case that a process of this user runs elsewhere.
        match sys::fork(|| Ok(0)).and_then(|_| sys::fork(|| Ok(0))) {
            Ok(_) => Err("fork beyond the limit succeeded".into()),
            Err(_) => Ok(0),
        }
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_failed_clones(seen: &Observed) -> Res<()> {
    let failed = seen.all(|event| match event.kind {
        EventKind::CloneFailed { flags, errno } => Some((event.current.tid, flags, i64::from(errno))),
        _ => None,
    });
    let (parent, limited) = (seen.task("parent")?.tid, seen.task("limited")?.tid);
    let said = vec![
        (parent, CLONE_THREAD, seen.number("thread")?),
        (parent, CLONE_SIGHAND, seen.number("handlers")?),
        (limited, FORK_FLAGS, i64::from(libc::EAGAIN)),
    ];
    equal("failed clones", &failed, &said)?;
    equal("the kernel refuses the flags", &(said[0].2, said[1].2), &(22, 22))
}
