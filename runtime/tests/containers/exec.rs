//! Further processes in containers that run.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Output, Stdio};
use std::time::Instant;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::fixture::{Cell, DEADLINE, Lines};
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("exec::it_is_where_the_container_is", it_is_where_the_container_is),
    ("exec::it_joins_a_user_namespace", it_joins_a_user_namespace),
    ("exec::the_exit_code_is_that_of_the_program", exit_code_is_that_of_the_program),
    ("exec::flags_and_files_make_the_process", flags_and_files_make_the_process),
    ("exec::only_in_a_container_that_runs", only_in_a_container_that_runs),
    ("exec::an_edited_bundle_changes_nothing", edited_bundle_changes_nothing),
    ("exec::a_group_below_can_be_chosen", group_below_can_be_chosen),
    ("exec::a_container_with_an_init_system", container_with_an_init_system),
    ("exec::descriptors_are_those_that_were_asked_for", descriptors_are_those),
    ("exec::a_killed_exec_leaves_no_process", killed_exec_leaves_no_process),
    ("exec::a_stopped_exec_holds_nothing_up", stopped_exec_holds_nothing_up),
];

/// Runs a container `c` that holds.
pub(crate) fn hold(cell: &mut Cell, config: &Value) -> Result<Lines, Failed> {
    let mut output = cell.create("c", config)?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    cell.settle()?;
    Ok(output)
}

/// Runs `podrt exec FLAGS c /program --inside ARGS`.
fn exec_output(cell: &Cell, flags: &[&str], args: &[&str]) -> Result<Output, Failed> {
    Ok(cell.podrt().arg("exec").args(flags).args(["c", "/program", "--inside"]).args(args).output()?)
}

/// What a program says about itself.
pub(crate) fn facts_of(output: &Output) -> Result<Value, Failed> {
    if !output.status.success() {
        return fail(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn exec_facts(cell: &Cell, flags: &[&str]) -> Result<Value, Failed> {
    facts_of(&exec_output(cell, flags, &["facts"])?)
}

pub(crate) fn expect(facts: &Value, pointer: &str, expected: &Value) -> Result<(), Failed> {
    let found = facts.pointer(pointer).unwrap_or(&Value::Null);
    if found != expected {
        return fail(format!("{pointer} is {found} instead of {expected} in {facts}"));
    }
    Ok(())
}

fn expect_namespaces_of(facts: &Value, pid: Pid) -> Result<(), Failed> {
    for kind in
        ["user", "mnt", "uts", "ipc", "net", "pid", "cgroup", "time", "pid_for_children", "time_for_children"]
    {
        let of_container = fs::read_link(format!("/proc/{pid}/ns/{kind}"))?;
        expect(facts, &format!("/ns/{kind}"), &json!(of_container))?;
    }
    Ok(())
}

fn it_is_where_the_container_is() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["linux"]["namespaces"].as_array_mut().ok_or("no namespaces")?.push(json!({"type": "time"}));
    let _output = hold(&mut cell, &config)?;
    let facts = exec_facts(&cell, &[])?;
    expect_namespaces_of(&facts, cell.pid("c")?)?;
    expect(&facts, "/status/PPid", &json!("0"))?;
    expect(&facts, "/status/SigBlk", &json!("0000000000000000"))?;
    // SIGPIPE: the test program's own doing, at its start.
    expect(&facts, "/status/SigIgn", &json!("0000000000001000"))?;
    expect(&facts, "/status/CapPrm", &json!("0000000000000000"))?;
    expect(&facts, "/cgroup", &json!("0::/"))?;
    expect(&facts, "/cwd", &json!("/"))?;
    let facts = exec_facts(&cell, &["--cap", "CAP_KILL"])?;
    expect(&facts, "/status/CapPrm", &json!("0000000000000020"))?;
    cell.expect_nothing_left()
}

fn it_joins_a_user_namespace() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    // Others than the node's, which must be able to read the rootfs.
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().ok_or("no namespaces")?.push(json!({"type": "user"}));
    linux["uidMappings"] = map.clone();
    linux["gidMappings"] = map;
    cell.open_to_all()?;
    let _output = hold(&mut cell, &config)?;
    let facts = exec_facts(&cell, &["--user", "5:6", "--cap", "CAP_NET_ADMIN"])?;
    expect_namespaces_of(&facts, cell.pid("c")?)?;
    expect(&facts, "/status/Uid", &json!("5\t5\t5\t5"))?;
    expect(&facts, "/status/Gid", &json!("6\t6\t6\t6"))?;
    expect(&facts, "/status/CapBnd", &json!("0000000000001000"))?;
    cell.expect_nothing_left()
}

fn exit_code_is_that_of_the_program() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let config = cell.config("c", &["hold"]);
    let _output = hold(&mut cell, &config)?;
    for (args, expected) in
        [(["exit", "0"], 0), (["exit", "3"], 3), (["raise", "9"], 137), (["raise", "15"], 143)]
    {
        let code = exec_output(&cell, &[], &args)?.status.code();
        if code != Some(expected) {
            return fail(format!("{args:?} ended with {code:?} instead of {expected}"));
        }
    }
    // A signal to podrt is one for the program.
    let mut child =
        cell.podrt().args(["exec", "c", "/program", "--inside", "signals"]).stdout(Stdio::piped()).spawn()?;
    let mut lines = Lines::of(&mut child)?;
    lines.expect("ready")?;
    let podrt = Pid::from_raw(i32::try_from(child.id())?);
    kill(podrt, Signal::SIGUSR1)?;
    lines.expect("10")?;
    let init = cell.pid("c")?;
    cell.ok(&["kill", "--all", "c", "KILL"])?;
    let code = child.wait()?.code();
    if code != Some(137) {
        return fail(format!("a killed program gives {code:?}"));
    }
    cell.wait_end(init)?;
    cell.ok(&["delete", "c"]).map(drop)
}

fn flags_and_files_make_the_process() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["process"]["env"] = json!(["PATH=/", "A=1"]);
    let _output = hold(&mut cell, &config)?;
    let facts = exec_facts(
        &cell,
        &[
            "--cwd",
            "/tmp",
            "-e",
            "A=2",
            "-e",
            "B=3",
            "-u",
            "7:8",
            "-g",
            "9",
            "-g",
            "10",
            "-c",
            "CAP_KILL",
            "--no-new-privs",
        ],
    )?;
    for (pointer, expected) in [
        ("/cwd", json!("/tmp")),
        ("/env", json!(["PATH=/", "A=2", "B=3", "HOME=/"])),
        ("/status/Uid", json!("7\t7\t7\t7")),
        ("/status/Gid", json!("8\t8\t8\t8")),
        ("/status/Groups", json!("9 10")),
        // The permitted set of a user other than root does not outlive the exec.
        ("/status/CapBnd", json!("0000000000000020")),
        ("/status/NoNewPrivs", json!("1")),
        ("/status/Umask", json!("0022")),
        ("/stdout_owner", json!(7)),
    ] {
        expect(&facts, pointer, &expected)?;
    }
    let file = cell.path().join("process.json");
    let process = json!({"args": ["program", "--inside", "facts"], "env": ["PATH=/"], "cwd": "/data",
        "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [3]}, "oomScoreAdj": 77,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]});
    fs::write(&file, process.to_string())?;
    let pid_file = cell.path().join("pid");
    let facts = facts_of(
        &cell
            .podrt()
            .arg("exec")
            .arg("--process")
            .arg(&file)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg("c")
            .output()?,
    )?;
    for (pointer, expected) in [
        ("/cwd", json!("/data")),
        ("/env", json!(["PATH=/", "HOME=/"])),
        ("/status/Groups", json!("3")),
        ("/status/Umask", json!("0077")),
        ("/oom_score_adj", json!("77")),
        ("/open_files", json!([50, 60])),
    ] {
        expect(&facts, pointer, &expected)?;
    }
    fs::read_to_string(pid_file)?.parse::<i32>()?;
    // Refusals name the thing, and no program runs.
    for (flags, message) in [
        (["--cwd", "/nowhere"], "enter process.cwd /nowhere: ENOENT"),
        (["--cwd", "tmp"], "process.cwd: tmp is not an absolute path"),
        (["--user", "root"], "--user \"root\": must be UID or UID:GID"),
        (["--cap", "CAP_NONE"], "process.capabilities"),
        (["--process-label", "x"], "--process-label: not supported"),
        (["--preserve-fds", "7"], "--preserve-fds 7: descriptor 3 is not open"),
        (["--console-socket", "/x"], "cannot use console socket"),
    ] {
        refused(&cell, &flags, message)?;
    }
    let output = cell.call(&["exec", "c", "nonesuch"])?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(255) || !message.contains("find process.args[0]: \"nonesuch\"") {
        return fail(format!("{}: {message}", output.status));
    }
    cell.expect_nothing_left()
}

/// The exec must end with 255 and say this.
fn refused(cell: &Cell, flags: &[&str], expected: &str) -> Result<(), Failed> {
    let output = exec_output(cell, flags, &["exit", "0"])?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(255) || !message.contains(expected) {
        return fail(format!("{flags:?}: {} {message}", output.status));
    }
    Ok(())
}

fn only_in_a_container_that_runs() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    refused(&cell, &[], "container c does not exist")?;
    let config = cell.config("c", &["hold"]);
    let mut output = cell.create("c", &config)?;
    refused(&cell, &[], "cannot exec in container c: it is created; start it first")?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    cell.settle()?;
    fs::write(cell.cgroup("c").join("cgroup.freeze"), "1")?;
    refused(&cell, &[], "cannot exec in a paused container c")?;
    fs::write(cell.cgroup("c").join("cgroup.freeze"), "0")?;
    cell.expect_nothing_left()?;
    let pid = cell.pid("c")?;
    cell.ok(&["kill", "c", "KILL"])?;
    cell.wait_end(pid)?;
    refused(&cell, &[], "cannot exec in container c: it is stopped")
}

fn edited_bundle_changes_nothing() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["process"]["noNewPrivileges"] = json!(true);
    config["process"]["user"]["uid"] = json!(4);
    let _output = hold(&mut cell, &config)?;
    config["process"]["noNewPrivileges"] = json!(false);
    config["process"]["user"]["uid"] = json!(0);
    config["process"]["capabilities"] = json!({"bounding": ["CAP_SYS_ADMIN"]});
    cell.bundle(&config)?;
    let facts = exec_facts(&cell, &[])?;
    expect(&facts, "/status/NoNewPrivs", &json!("1"))?;
    expect(&facts, "/status/Uid", &json!("4\t4\t4\t4"))?;
    expect(&facts, "/status/CapBnd", &json!("0000000000000000"))
}

fn group_below_can_be_chosen() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let config = cell.config("c", &["hold"]);
    let _output = hold(&mut cell, &config)?;
    fs::create_dir(cell.cgroup("c").join("below"))?;
    cell.settle()?;
    for path in ["below", "/below"] {
        expect(&exec_facts(&cell, &["--cgroup", path])?, "/cgroup", &json!("0::/below"))?;
    }
    refused(&cell, &["--cgroup", "nowhere"], "open nowhere below cgroup")?;
    refused(&cell, &["--cgroup", "../.."], "open ../.. below cgroup")?;
    cell.expect_nothing_left()
}

/// The container's process is in a group below, and the container's own group hands a controller on.
fn container_with_an_init_system() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["linux"]["resources"] = json!({"pids": {"limit": 20}});
    let _output = hold(&mut cell, &config)?;
    let group = cell.cgroup("c");
    fs::create_dir(group.join("init.scope"))?;
    fs::write(group.join("init.scope/cgroup.procs"), cell.pid("c")?.to_string())?;
    fs::write(group.join("cgroup.subtree_control"), "+pids")?;
    expect(&exec_facts(&cell, &[])?, "/cgroup", &json!("0::/init.scope"))
}

fn descriptors_are_those() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let config = cell.config("c", &["hold"]);
    let _output = hold(&mut cell, &config)?;
    let leaked = fs::File::open("/")?;
    // Ones that an exec does not close.
    let kept: Vec<_> = [3, 4, 100]
        .map(|min| nix::fcntl::fcntl(leaked.as_fd(), nix::fcntl::FcntlArg::F_DUPFD(min)))
        .into_iter()
        .collect::<Result<_, _>>()?;
    let outputs = [
        exec_output(&cell, &[], &["descriptors"]),
        exec_output(&cell, &["--preserve-fds", "1"], &["descriptors"]),
    ];
    let lowest = kept.iter().min().copied();
    for fd in kept {
        nix::unistd::close(fd)?;
    }
    for (output, expected) in outputs.into_iter().zip(["0 1 2\n", "0 1 2 3\n"]) {
        let output = output?;
        let said = String::from_utf8(output.stdout)?;
        // The test's own may begin above.
        if said != expected && lowest == Some(3) {
            return fail(format!(
                "{said:?} instead of {expected:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
    cell.expect_nothing_left()
}

/// An exec into a frozen container stops before its program: what is there then is what a container could reach.
fn stopped_exec_holds_nothing_up() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("c", &cell.config("c", &["hold"]))?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    let mut podrt = cell
        .podrt()
        .args(["exec", "c", "/program", "--inside", "hold"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    Lines::of(&mut podrt)?.expect("ready")?;
    let command = Pid::from_raw(i32::try_from(podrt.id())?);
    kill(command, Signal::SIGSTOP)?;
    let init = runtime::sys::process::pidfd_open(cell.pid("c")?)?;
    cell.ok(&["kill", "c", "KILL"])?;
    // It ends after the last process of its pid namespace.
    if !runtime::sys::process::wait_end(init.as_fd(), DEADLINE)? {
        return fail("the container's process waits for that of the exec");
    }
    cell.ok(&["delete", "c"])?;
    kill(command, Signal::SIGCONT)?;
    let code = podrt.wait()?.code();
    if code != Some(128 + Signal::SIGKILL as i32) {
        return fail(format!("the exec ended with {code:?}"));
    }
    cell.expect_nothing_left()
}

fn killed_exec_leaves_no_process() -> Result<(), Failed> {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        killed_exec(signal)?;
    }
    Ok(())
}

fn killed_exec(signal: Signal) -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let config = cell.config("c", &["hold"]);
    let _output = hold(&mut cell, &config)?;
    let (group, init) = (cell.cgroup("c"), cell.pid("c")?);
    fs::write(group.join("cgroup.freeze"), "1")?;
    let mut podrt = cell
        .podrt()
        .args(["exec", "--ignore-paused", "c", "/program", "--inside", "hold"])
        .stdout(Stdio::piped())
        .spawn()?;
    let begin = Instant::now();
    let process = loop {
        let pids = fs::read_to_string(group.join("cgroup.procs"))?;
        if let Some(pid) = pids.lines().filter_map(|l| l.parse().ok()).find(|pid| *pid != init.as_raw()) {
            break Pid::from_raw(pid);
        }
        if begin.elapsed() > DEADLINE {
            return fail("no process is born in the container's cgroup");
        }
        std::thread::yield_now();
    };
    let flags = nix::sys::statvfs::statvfs(format!("/proc/{process}/exe").as_str())?.flags();
    if !flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return fail(format!("the runtime is on a mount with flags {flags:?}"));
    }
    let pidfd = runtime::sys::process::pidfd_open(process)?;
    // One that can be told to end, though it waits.
    kill(Pid::from_raw(i32::try_from(podrt.id())?), signal)?;
    podrt.wait()?;
    fs::write(group.join("cgroup.freeze"), "0")?;
    if !runtime::sys::process::wait_end(pidfd.as_fd(), DEADLINE)? {
        return fail("the process of a killed exec is still there");
    }
    let mut said = String::new();
    podrt.stdout.take().ok_or("no stdout")?.read_to_string(&mut said)?;
    if !said.is_empty() {
        return fail(format!("the program ran, and said {said:?}"));
    }
    cell.expect_nothing_left()
}
