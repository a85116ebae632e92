//! System call filters on real containers.
#![expect(unsafe_code, reason = "makes system calls by number, and answers notifications by ioctl")]

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, Stdio};

use libtest_mimic::Failed;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use crate::fixture::{Cell, Lines};
use crate::hooks::expect;
use crate::inside::say;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("seccomp::calls_get_what_their_rules_say", calls_get_what_their_rules_say),
    ("seccomp::it_is_loaded_last_before_the_exec", loaded_last),
    ("seccomp::a_forbidden_call_ends_the_program", forbidden_call_ends),
    ("seccomp::calls_of_an_architecture_that_is_not_listed_end_the_thread", other_architecture),
    ("seccomp::a_listener_gets_the_state_and_answers", listener_answers),
    ("seccomp::a_listener_that_is_not_there_is_an_error", no_listener),
    ("seccomp::an_exec_that_fails_under_the_filter_is_reported", failed_exec),
];

/// In the container: does calls by number, with arguments, and prints `NAME RESULT` of each.
pub(crate) fn calls(calls: &[String]) -> ExitCode {
    for call in calls {
        let mut parts = call.split(':').map(|part| part.parse::<libc::c_long>().unwrap_or_default());
        let mut next = || parts.next().unwrap_or_default();
        let (number, args) = (next(), [next(), next(), next()]);
        // SAFETY: the tests pass numbers where the calls take numbers, and null where they take pointers.
        let ret = unsafe { libc::syscall(number, args[0], args[1], args[2]) };
        let result = if ret < 0 { -i64::from(nix::errno::Errno::last_raw()) } else { ret };
        say(&format!("{number} {result}"));
    }
    ExitCode::SUCCESS
}

fn call(number: libc::c_long, args: &[i64]) -> String {
    args.iter().fold(number.to_string(), |text, arg| format!("{text}:{arg}"))
}

/// Runs calls in a container with a filter; returns the results and the wait status.
fn run(
    cell: &Cell,
    seccomp: &Value,
    change: impl Fn(&mut Value),
    calls: &[String],
) -> Result<(Vec<String>, std::process::ExitStatus, String), Failed> {
    let mut args = vec!["calls"];
    args.extend(calls.iter().map(String::as_str));
    let mut config = cell.config("c", &args);
    config["linux"]["seccomp"] = seccomp.clone();
    config["process"]["noNewPrivileges"] = json!(true);
    change(&mut config);
    let bundle = cell.bundle(&config)?;
    let child = cell
        .podrt()
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg("c")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output()?;
    let lines = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    Ok((lines, output.status, String::from_utf8(output.stderr)?))
}

fn calls_get_what_their_rules_say() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [
            {"names": ["getpgrp", "nonesuch"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
            {"names": ["getsid"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78, "args": [
                {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_GE"}]},
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 79, "args": [
                {"index": 0, "value": 255, "valueTwo": 8, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["getppid"], "action": "SCMP_ACT_LOG"},
        ],
    });
    let calls = [
        call(libc::SYS_getpgrp, &[]),
        call(libc::SYS_getsid, &[0]),
        call(libc::SYS_getpriority, &[2, 5]),
        call(libc::SYS_getpriority, &[2, 0]),
        call(libc::SYS_personality, &[0x0800_0008]),
        call(libc::SYS_getppid, &[]),
    ];
    for has_no_new_privs in [true, false] {
        let change = |config: &mut Value| config["process"]["noNewPrivileges"] = json!(has_no_new_privs);
        let (lines, status, stderr) = run(&cell, &profile, change, &calls)?;
        expect(
            &format!("{status} {stderr}"),
            &json!(lines),
            json!(["111 -77", "124 -1", "140 -78", "140 20", "135 -79", "110 0"]),
        )?;
        if !stderr.contains("linux.seccomp.syscalls: no system call is named nonesuch") {
            return fail(stderr);
        }
    }
    cell.expect_nothing_left()
}

/// Nothing but what the exec and the program itself need: init waits, runs a hook and changes its user before.
fn loaded_last() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let needed = [
        "execve",
        "exit_group",
        "write",
        "brk",
        "mmap",
        "munmap",
        "mprotect",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlinkat",
        "readlink",
        "getrandom",
        "rt_sigaction",
        "rt_sigprocmask",
        "sigaltstack",
        "poll",
        "fstat",
        "newfstatat",
        "fcntl",
        "openat",
        "read",
        "close",
        "sched_getaffinity",
        "gettid",
        "getcwd",
        "statx",
        "futex",
        "lseek",
        "madvise",
        "mremap",
        "uname",
        "prctl",
    ];
    let profile = |extra: &[&str]| {
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "syscalls": [{"names": needed.iter().chain(extra).collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW"}]})
    };
    let change = |config: &mut Value| {
        config["process"]["user"] = json!({"uid": 7, "gid": 7, "additionalGids": [8]});
        config["hooks"] = json!({"startContainer": [{"path": "/program", "args": ["h", "--hook", "pass"]}]});
    };
    let calls = [call(libc::SYS_getuid, &[]), call(libc::SYS_setuid, &[0])];
    let (lines, status, stderr) = run(&cell, &profile(&[]), change, &calls)?;
    expect(&format!("{status} {stderr}"), &json!(lines), json!(["102 -38", "105 -38"]))?;
    // Without no_new_privs a capability is kept for the loading, and given up after it.
    let privileged = |config: &mut Value| {
        change(config);
        config["process"]["noNewPrivileges"] = json!(false);
    };
    let calls =
        [call(libc::SYS_getuid, &[]), call(libc::SYS_setuid, &[0]), call(libc::SYS_sethostname, &[0, 0])];
    let extra = ["capset", "getuid", "setuid", "sethostname"];
    let (lines, status, stderr) = run(&cell, &profile(&extra), privileged, &calls)?;
    expect(&format!("{status} {stderr}"), &json!(lines), json!(["102 7", "105 -1", "170 -1"]))?;
    let (_, status, stderr) = run(&cell, &profile(&[]), privileged, &calls)?;
    if status.code() != Some(1) || !stderr.contains("the filter must allow capset") {
        return fail(format!("{status} {stderr}"));
    }
    cell.expect_nothing_left()
}

fn forbidden_call_ends() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["getpgrp"], "action": action}]});
        let calls = [call(libc::SYS_getppid, &[]), call(libc::SYS_getpgrp, &[])];
        let (lines, status, stderr) = run(&cell, &profile, |_| {}, &calls)?;
        if status.into_raw() >> 8 != 128 + libc::SIGSYS {
            return fail(format!("{action}: {status} {stderr}"));
        }
        expect(action, &json!(lines), json!(["110 0"]))?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn other_architecture() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let calls = [call(0x4000_0000 | libc::SYS_getppid, &[])];
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_AARCH64"]});
    let (_, status, stderr) = run(&cell, &profile, |_| {}, &calls)?;
    if status.code() != Some(128 + libc::SIGSYS) {
        return fail(format!("{status} {stderr}"));
    }
    cell.expect_nothing_left()
}

/// Reads one message with its descriptor.
fn receive(listener: &UnixListener) -> Result<(Value, OwnedFd), Failed> {
    let (stream, _) = listener.accept()?;
    let mut bytes = vec![0; 65_536];
    let mut control = nix::cmsg_space!([i32; 1]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let n = message.bytes;
    let mut fd = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            // SAFETY: the kernel has just made these descriptors for us.
            fd = fds.first().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    let mut text = bytes[..n].to_vec();
    std::io::Read::read_to_end(&mut &stream, &mut text)?;
    Ok((serde_json::from_slice(&text)?, fd.ok_or("no descriptor")?))
}

/// Answers notifications for `getpgrp` with a value and lets all others pass; ends with the program.
fn answer(notify: &OwnedFd, program: &OwnedFd) -> Result<u32, Failed> {
    let mut n_answered = 0;
    loop {
        // The ioctl alone would wait for ever: before Linux 6.11 a filter is in use until its zombies are reaped.
        let mut fds =
            [PollFd::new(notify.as_fd(), PollFlags::POLLIN), PollFd::new(program.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        if !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
            return Ok(n_answered);
        }
        // SAFETY: all zeroes is what the ioctl wants to find.
        let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes a seccomp_notif.
        if unsafe { libc::ioctl(notify.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut request) }
            < 0
        {
            return Ok(n_answered);
        }
        let is_it = libc::c_long::from(request.data.nr) == libc::SYS_getpgrp;
        let response = libc::seccomp_notif_resp {
            id: request.id,
            val: if is_it { 1234 } else { 0 },
            error: 0,
            flags: if is_it { 0 } else { 1 },
        };
        // SAFETY: the kernel reads a seccomp_notif_resp.
        unsafe { libc::ioctl(notify.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const response) };
        n_answered += u32::from(is_it);
    }
}

fn listener_answers() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let path = cell.path().join("agent.sock");
    let listener = UnixListener::bind(&path)?;
    // The exec itself asks too, and write: init must need nobody's permission to tell.
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "meta=1",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["getpgrp", "execve", "write", "sendto", "sendmsg", "capset", "futex"],
            "action": "SCMP_ACT_NOTIFY"}]});
    for has_no_new_privs in [true, false] {
        let mut config =
            cell.config("c", &["calls", &call(libc::SYS_getpgrp, &[]), &call(libc::SYS_getppid, &[])]);
        config["linux"]["seccomp"] = profile.clone();
        config["annotations"] = json!({"a": "b"});
        config["process"]["noNewPrivileges"] = json!(has_no_new_privs);
        let mut output = cell.create("c", &config)?;
        let pid = cell.pid("c")?;
        let program = runtime::sys::process::pidfd_open(pid)?;
        let mut start = cell.podrt().args(["start", "c"]).spawn()?;
        let (state, notify) = receive(&listener)?;
        expect(
            "the state",
            &state,
            json!({"ociVersion": "1.0.2", "fds": ["seccompFd"], "pid": pid.as_raw(),
            "metadata": "meta=1", "state": {"ociVersion": "1.0.2", "id": "c", "status": "created", "pid": pid.as_raw(),
                "bundle": cell.path().join("bundle"), "annotations": {"a": "b"}}}),
        )?;
        let n_answered = answer(&notify, &program)?;
        if !start.wait()?.success() || n_answered != 1 {
            return fail(format!("start failed, or {n_answered} answers"));
        }
        output.expect("111 1234")?;
        output.expect("110 0")?;
        cell.wait_end(pid)?;
        cell.ok(&["delete", "c"])?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn no_listener() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let path = cell.path().join("agent.sock");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}]});
    let mut config = cell.config("c", &["calls", &call(libc::SYS_getppid, &[])]);
    config["linux"]["seccomp"] = profile;
    let mut output = cell.create("c", &config)?;
    let message = cell.refused(&["start", "c"])?;
    if !message.contains("connect to linux.seccomp.listenerPath") {
        return fail(message);
    }
    // Nothing was tried, so it can be tried again; whoever closes at once has received all the same.
    cell.expect_status("c", "created")?;
    let listener = UnixListener::bind(&path)?;
    let start = cell.podrt().args(["start", "c"]).spawn()?;
    drop(receive(&listener)?);
    start.wait_with_output()?;
    output.expect("110 0")?;
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}

fn failed_exec() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // Not even the answer may be sent.
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "syscalls": [{"names": ["exit_group"], "action": "SCMP_ACT_ALLOW"}]});
    let mut config = cell.config("c", &["hold"]);
    config["linux"]["seccomp"] = profile;
    config["process"]["noNewPrivileges"] = json!(true);
    let _output: Lines = cell.create("c", &config)?;
    let message = cell.refused(&["start", "c"])?;
    if !message.contains("execute process.args[0]: EPERM") {
        return fail(message);
    }
    cell.expect_status("c", "stopped")?;
    cell.ok(&["delete", "c"])?;
    cell.expect_nothing_left()
}
