//! The verbs on real containers.

use std::fs;
use std::os::fd::AsFd;
use std::process::Stdio;

use libtest_mimic::Failed;
use serde_json::json;

use crate::fixture::{Cell, Lines};
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("life::from_create_to_delete_and_again", from_create_to_delete),
    ("life::run_ends_with_the_status_of_the_program", run_ends_with_the_status),
    ("life::the_status_follows_the_last_thread", status_follows_the_last_thread),
    ("life::every_signal_arrives_as_itself", every_signal_arrives),
    ("life::a_created_container_can_be_ended_by_a_signal", created_is_ended_by_a_signal),
    ("life::only_three_descriptors_are_open", only_three_descriptors),
    ("life::groups_below_are_removed_with_their_processes", groups_below_are_removed),
    ("life::groups_above_go_with_the_last_container_in_them", groups_above_are_removed),
    ("life::a_namespace_of_another_type_leaves_nothing", wrong_type_leaves_nothing),
    ("life::a_failed_exec_is_reported_by_start", failed_exec_is_reported),
    ("life::two_starts_execute_once", two_starts_execute_once),
    ("life::the_runtime_cannot_be_written_through_its_process", runtime_cannot_be_written),
];

fn from_create_to_delete() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // Twice: the id is free again at once.
    for _ in 0..2 {
        let mut output = cell.create("c", &cell.config("c", &["hold"]))?;
        cell.expect_status("c", "created")?;
        cell.refused(&["delete", "c"])?;
        cell.refused(&["create", "--bundle", &cell.path().join("bundle").display().to_string(), "c"])?;
        cell.expect_status("c", "created")?;
        cell.ok(&["start", "c"])?;
        output.expect("ready")?;
        cell.expect_status("c", "running")?;
        cell.refused(&["start", "c"])?;
        cell.refused(&["delete", "c"])?;
        let pid = cell.pid("c")?;
        cell.ok(&["kill", "c", "KILL"])?;
        cell.wait_end(pid)?;
        cell.expect_status("c", "stopped")?;
        cell.refused(&["kill", "c", "KILL"])?;
        cell.refused(&["start", "c"])?;
        cell.ok(&["delete", "c"])?;
        cell.refused(&["state", "c"])?;
        cell.expect_nothing_left()?;
    }
    cell.refused(&["delete", "c"])?;
    cell.ok(&["delete", "--force", "c"]).map(drop)
}

fn run_ends_with_the_status() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for code in [0, 42, 255] {
        let bundle = cell.bundle(&cell.config("c", &["exit", &code.to_string()]))?;
        let status = cell.podrt().args(["run", "--bundle"]).arg(bundle).arg("c").status()?;
        if status.code() != Some(code) {
            return fail(format!("{status} instead of {code}"));
        }
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn status_follows_the_last_thread() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("c", &cell.config("c", &["leader"]))?;
    cell.ok(&["start", "c"])?;
    output.expect("leader ended")?;
    cell.expect_status("c", "running")?;
    let pid = cell.pid("c")?;
    cell.ok(&["kill", "c", "KILL"])?;
    cell.wait_end(pid)?;
    cell.expect_status("c", "stopped")?;
    cell.ok(&["delete", "c"])?;
    cell.expect_nothing_left()
}

fn every_signal_arrives() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("c", &cell.config("c", &["signals"]))?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        cell.ok(&["kill", "c", &signal.to_string()])?;
        output.expect(&signal.to_string())?;
    }
    for (name, number) in [("TERM", "15"), ("SIGUSR1", "10"), ("winch", "28")] {
        cell.ok(&["kill", "c", name])?;
        output.expect(number)?;
    }
    cell.ok(&["kill", "c"])?;
    output.expect("15")?;
    cell.ok(&["kill", "--all", "c", "HUP"])?;
    output.expect("1")?;
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}

fn created_is_ended_by_a_signal() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for signal in ["TERM", "KILL"] {
        let _output = cell.create("c", &cell.config("c", &["hold"]))?;
        let pid = cell.pid("c")?;
        cell.ok(&["kill", "c", signal])?;
        cell.wait_end(pid)?;
        cell.expect_status("c", "stopped")?;
        cell.ok(&["delete", "c"])?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn only_three_descriptors() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let leaked = fs::File::open("/")?;
    // Two that an exec does not close, one of them above.
    let kept: Vec<_> = [10, 100]
        .map(|min| nix::fcntl::fcntl(leaked.as_fd(), nix::fcntl::FcntlArg::F_DUPFD(min)))
        .into_iter()
        .collect::<Result<_, _>>()?;
    let bundle = cell.bundle(&cell.config("c", &["descriptors"]))?;
    let mut child =
        cell.podrt().args(["run", "--bundle"]).arg(&bundle).arg("c").stdout(Stdio::piped()).spawn()?;
    Lines::of(&mut child)?.expect("0 1 2")?;
    child.wait()?;
    for fd in kept {
        nix::unistd::close(fd)?;
    }
    cell.expect_nothing_left()
}

fn groups_below_are_removed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("c", &cell.config("c", &["hold"]))?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    let group = cell.cgroup("c");
    for below in ["a/b", "c"] {
        fs::create_dir_all(group.join(below))?;
    }
    // A process that is not in the container's pid namespace, so that its end does not end it.
    let mut other = std::process::Command::new("/proc/self/exe")
        .args(["--inside", "hold"])
        .stdout(Stdio::piped())
        .spawn()?;
    Lines::of(&mut other)?.expect("ready")?;
    fs::write(group.join("a/b/cgroup.procs"), other.id().to_string())?;
    let pid = cell.pid("c")?;
    cell.ok(&["kill", "c", "KILL"])?;
    cell.wait_end(pid)?;
    cell.ok(&["delete", "c"])?;
    if other.wait()?.success() {
        return fail("the process in the group below was not killed");
    }
    cell.expect_nothing_left()
}

fn groups_above_are_removed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _first = cell.create("first", &cell.config("deep/er/first", &["hold"]))?;
    let _second = cell.create("second", &cell.config("deep/er/second", &["hold"]))?;
    cell.ok(&["delete", "--force", "first"])?;
    if !cell.cgroup("deep/er/second").is_dir() {
        return fail("the second container has lost its cgroup");
    }
    cell.ok(&["delete", "--force", "second"])?;
    cell.expect_nothing_left()
}

fn wrong_type_leaves_nothing() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for (kind, file) in [
        ("pid", "ipc"),
        ("ipc", "net"),
        ("network", "uts"),
        ("uts", "mnt"),
        ("cgroup", "pid"),
        ("user", "net"),
        ("time", "uts"),
        ("mount", "net"),
    ] {
        let mut config = cell.config("c", &["exit", "0"]);
        let mut namespaces = vec![json!({"type": kind, "path": format!("/proc/self/ns/{file}")})];
        if kind != "mount" {
            namespaces.push(json!({"type": "mount"}));
        }
        config["linux"]["namespaces"] = json!(namespaces);
        let bundle = cell.bundle(&config)?.display().to_string();
        let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
        let expected = format!("linux.namespaces[0].path /proc/self/ns/{file} as {kind}");
        if !message.contains(&expected) {
            return fail(format!("{message} does not contain {expected}"));
        }
        cell.refused(&["state", "c"])?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn failed_exec_is_reported() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let garbage = cell.path().join("rootfs/garbage");
    fs::write(&garbage, "\u{7f}ELF, but no more than that")?;
    nix::sys::stat::fchmodat(
        nix::fcntl::AT_FDCWD,
        &garbage,
        nix::sys::stat::Mode::from_bits_truncate(0o755),
        nix::sys::stat::FchmodatFlags::FollowSymlink,
    )?;
    let mut config = cell.config("c", &[]);
    config["process"]["args"] = json!(["garbage"]);
    let _output = cell.create("c", &config)?;
    let message = cell.refused(&["start", "c"])?;
    if !message.contains("/garbage: ENOEXEC") {
        return fail(message);
    }
    cell.expect_status("c", "stopped")?;
    cell.ok(&["delete", "c"])?;
    config["process"]["args"] = json!(["nonesuch"]);
    let bundle = cell.bundle(&config)?.display().to_string();
    let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
    if !message.contains("\"nonesuch\" in PATH \"/\" of process.env: ENOENT") {
        return fail(message);
    }
    cell.expect_nothing_left()
}

fn two_starts_execute_once() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("c", &cell.config("c", &["hold"]))?;
    let starts: Vec<_> = (0..4)
        .map(|_| cell.podrt().args(["start", "c"]).stderr(Stdio::null()).spawn())
        .collect::<Result<_, _>>()?;
    let mut n_started = 0;
    for mut start in starts {
        n_started += u32::from(start.wait()?.success());
    }
    if n_started != 1 {
        return fail(format!("{n_started} starts succeeded"));
    }
    output.expect("ready")?;
    cell.ok(&["delete", "--force", "c"])?;
    output.expect("")?;
    cell.expect_nothing_left()
}

fn runtime_cannot_be_written() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _output = cell.create("c", &cell.config("c", &["hold"]))?;
    // Opening it for writing would give ETXTBSY now, and only the mount says what it would give afterwards.
    let flags = nix::sys::statvfs::statvfs(format!("/proc/{}/exe", cell.pid("c")?).as_str())?.flags();
    if !flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return fail(format!("the runtime is on a mount with flags {flags:?}"));
    }
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}
