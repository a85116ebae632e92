//! What happens to the process that runs a machine: signals, and a PATH without QEMU or with another one. This test
//! program plays that process itself, in a child.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use vm_images::{Accel, Event, Observer, VmError};

use crate::machine::Site;

/// Makes the child run this shell script in a machine under the last kernel.
const ROLE: &str = "PODPROOF_TEST_ROLE";

/// Line of the child when its machine is up.
const UP: &str = "up";

/// A process that was told to end has done so by then.
const PROMPTLY: Duration = Duration::from_secs(10);

pub(crate) fn own_role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The child: runs a machine as a command line does.
pub(crate) fn play(script: &str) -> ExitCode {
    struct SayUp;
    impl Observer for SayUp {
        fn event(&mut self, event: &Event) {
            if matches!(event, Event::Hello { .. }) {
                println!("{UP}");
            }
        }
    }
    let result = site_of_child().and_then(|site| {
        let mut vm = site.script(script).map_err(|failed| failed.message().unwrap_or_default().to_owned())?;
        vm.accel = Accel::Tcg;
        vm.run(&mut SayUp).map_err(|error| error.to_string())
    });
    match result {
        Ok(report) => {
            eprintln!("{}", report.explain());
            ExitCode::from(report.outcome.exit_status())
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(VmError::EXIT_STATUS)
        }
    }
}

fn site_of_child() -> Result<Site, String> {
    let series = std::env::var("PODPROOF_TEST_SERIES").map_err(|error| error.to_string())?;
    let tree = std::env::var("PODPROOF_TEST_TREE").map_err(|error| error.to_string())?;
    let var = |name: &str| std::env::var(name).map(Into::into).map_err(|error| error.to_string());
    Ok(Site {
        series,
        tree: tree.into(),
        busybox: var("PODPROOF_TEST_BUSYBOX")?,
        init: var("PODPROOF_TEST_INIT")?,
        work: var("PODPROOF_TEST_WORK")?,
        name: std::env::var("PODPROOF_TEST_NAME").map_err(|error| error.to_string())?,
    })
}

fn child(site: &Site, script: &str) -> Result<Command, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .env(ROLE, script)
        .env("PODPROOF_TEST_SERIES", &site.series)
        .env("PODPROOF_TEST_TREE", &site.tree)
        .env("PODPROOF_TEST_WORK", &site.work)
        .env("PODPROOF_TEST_NAME", &site.name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

pub(crate) fn interrupt_leaves_no_qemu(site: &Site) -> Result<(), Failed> {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let status_seen = end_by(site, signal)?;
        if status_seen.code() != Some(status) {
            return Err(format!("expected exit status {status} after {signal:?}, not {status_seen}").into());
        }
    }
    Ok(())
}

pub(crate) fn killed_parent_leaves_no_qemu(site: &Site) -> Result<(), Failed> {
    end_by(site, Signal::KILL).map(drop)
}

/// Sends a signal to a process whose machine is up; fails if either process is still there afterwards.
fn end_by(site: &Site, signal: Signal) -> Result<ExitStatus, Failed> {
    let mut child = child(site, "sleep 1000")?.spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let result = wait_for_hello(&mut stdout).and_then(|()| {
        let pid = Pid::from_child(&child);
        let qemu = child_of(pid)?;
        let both = [pidfd_open(pid, PidfdFlags::empty())?, pidfd_open(qemu, PidfdFlags::empty())?];
        kill_process(pid, signal)?;
        for (fd, name) in both.iter().zip(["the program", "QEMU"]) {
            let timeout = PollTimeout::try_from(PROMPTLY).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(std::os::fd::AsFd::as_fd(fd), PollFlags::POLLIN)], timeout)? == 0 {
                return Err(format!("{name} still runs {PROMPTLY:?} after {signal:?}").into());
            }
        }
        Ok(())
    });
    if result.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    result.map_err(|failed: Failed| match stderr_of(&mut child) {
        Ok(stderr) => format!("{}\n{stderr}", failed.message().unwrap_or_default()).into(),
        Err(_) => failed,
    })?;
    Ok(status)
}

fn wait_for_hello(stdout: &mut BufReader<ChildStdout>) -> Result<(), Failed> {
    let mut line = String::new();
    // Ends also when the child does; it has its own deadlines.
    stdout.read_line(&mut line)?;
    if line.trim() == UP { Ok(()) } else { Err("the machine did not come up".into()) }
}

fn stderr_of(child: &mut Child) -> std::io::Result<String> {
    let mut text = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The one child of a process: the field after the state in /proc/PID/stat is the parent.
fn child_of(parent: Pid) -> Result<Pid, Failed> {
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while this reads.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let ppid = fields.split(' ').nth(1).and_then(|field| field.parse().ok());
        if ppid == Some(parent.as_raw_nonzero().get()) {
            return Pid::from_raw(pid).ok_or_else(|| "a process without a number".into());
        }
    }
    Err("QEMU is not among the children".into())
}

pub(crate) fn no_qemu(site: &Site) -> Result<(), Failed> {
    let output = child(site, "true")?.env("PATH", "").output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(2) || !stderr.contains("qemu-system-x86_64 is not in PATH; install QEMU")
    {
        return Err(format!(
            "expected exit status 2 and how to install QEMU, not {}: {stderr}",
            output.status
        )
        .into());
    }
    Ok(())
}

/// A program in QEMU's place that panics at once: there is a second try, and no third.
pub(crate) fn early_death_is_retried_once(site: &Site) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let calls = dir.path().join("calls");
    fake_qemu(
        dir.path(),
        &format!(
            "echo \"$*\" >> {}\n\
             fd=$(echo \"$*\" | sed 's/.*id=serial,fd=\\([0-9]*\\).*/\\1/')\n\
             echo '[    0.1] Kernel panic - not syncing: too early' >&$fd\n",
            calls.display()
        ),
    )?;
    let output = child(site, "true")?.env("PATH", path_with(dir.path())?).output()?;
    let (stderr, calls) = (String::from_utf8_lossy(&output.stderr), std::fs::read_to_string(&calls)?);
    let says_so =
        stderr.contains("an earlier boot of this machine failed too: the guest kernel panicked: too early");
    if calls.lines().count() != 2 || output.status.code() != Some(3) || !says_so {
        return Err(
            format!("expected two tries and status 3, not {}: {stderr}\n{calls}", output.status).into()
        );
    }
    Ok(())
}

fn fake_qemu(dir: &Path, script: &str) -> Result<(), Failed> {
    let path = dir.join("qemu-system-x86_64");
    let mut file = std::fs::File::create(&path)?;
    writeln!(file, "#!/bin/bash\n{script}")?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn path_with(dir: &Path) -> Result<std::ffi::OsString, Failed> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(dir.to_owned()).chain(std::env::split_paths(&rest)))?)
}
