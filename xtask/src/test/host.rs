//! The stage that runs the test programs of the workspace on this machine; those that need a VM start it themselves.

use std::io::{self, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::build::{self, BPF_OBJECT_VAR};
use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::test::{Context, Tally, pidfd};
use crate::workspace;

/// The kernels that VM tests run under.
pub(crate) const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Tells the test of the programs' lines that it was built with programs that log.
pub(crate) const LOGGING_VAR: &str = "PODPROOF_TEST_PROBE_LOG";

/// `cargo test` of the default members; and of the probes once more, with programs that log.
pub(crate) fn run(context: &Context) -> Result<Tally> {
    let mut command = Cmd::new(workspace::cargo())
        .args(["test", "--locked", "--no-fail-fast"])
        .dir(workspace::root())
        .env(BPF_OBJECT_VAR, &context.built.probes)
        .env("PODPROOF_TEST_KERNEL_TREES", kernel_trees(&context.tools)?)
        .env("PODPROOF_TEST_BUSYBOX", &context.tools.tool(Tool::Busybox)?.path)
        .env("PODPROOF_TEST_INIT", &context.built.vm_init)
        .env("PODPROOF_TEST_WITNESS", &context.built.witness)
        .env("PODPROOF_TEST_PAUSE", &context.built.pause)
        .env("PODPROOF_TEST_RUNC", &context.tools.tool(Tool::Runc)?.path)
        .env("PODPROOF_TEST_PROMTOOL", context.tools.tool(Tool::Prometheus)?.path.with_file_name("promtool"))
        .env("TMPDIR", &context.tmp);
    if context.is_full {
        command = command.env("PODPROOF_TEST_FULL", "1");
    }
    // One test counts beside it, and is skipped without.
    match setup::ensure(&[Tool::Bpftrace]) {
        Ok(tools) => {
            let bpftrace = tools.tool(Tool::Bpftrace)?;
            command = command.env("PODPROOF_TEST_BPFTRACE", &bpftrace.path);
            if let Some(libraries) = &bpftrace.libraries {
                command = command.env("PODPROOF_TEST_BPFTRACE_LIBRARIES", libraries);
            }
        }
        Err(err) => eprintln!("warning: bpftrace cannot be fetched: {err:#}"),
    }
    let mut tally = counted(command)?;
    let lines = Cmd::new(workspace::cargo())
        .args(["test", "--locked", "--package", "podproof-ebpf", "--features", "log", "--test", "log"])
        .dir(workspace::root())
        .env(BPF_OBJECT_VAR, build::logging_probes(&context.tools)?)
        .env(LOGGING_VAR, "1")
        .env("TMPDIR", &context.tmp);
    tally.add(&counted(lines)?);
    Ok(tally)
}

/// Reads lines until the pipe is closed, or is empty after the process has ended: a process that it left behind may hold the
/// other end for ever.
fn lines(mut output: PipeReader, pid: Pid, mut take: impl FnMut(&str)) -> Result<()> {
    let ended = pidfd::open(pid).context("cannot watch the process")?;
    let mut pending = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let mut fds =
            [PollFd::new(output.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).context("cannot wait for output")?;
        if fds[0].revents().is_none_or(|events| events.is_empty()) {
            break;
        }
        let n = output.read(&mut chunk).context("cannot read the pipe")?;
        if n == 0 {
            break;
        }
        pending.extend_from_slice(&chunk[..n]);
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            take(&String::from_utf8_lossy(&pending[..end]));
            pending.drain(..=end);
        }
    }
    if !pending.is_empty() {
        take(&String::from_utf8_lossy(&pending));
    }
    Ok(())
}

/// Where the unpacked kernels are: `SERIES=DIR`, separated by colons.
fn kernel_trees(tools: &Toolbox) -> Result<String> {
    let mut trees = Vec::new();
    for series in SERIES {
        trees.push(format!("{series}={}", tools.kernel_tree(series)?.display()));
    }
    Ok(trees.join(":"))
}

/// Runs test programs, passes their output on and counts what they report.
pub(crate) fn counted(command: Cmd) -> Result<Tally> {
    let line = command.line();
    let mut command = command.into_inner();
    // One pipe for both streams, so that what cargo says stays between the programs that it says it about.
    let (output, input) = io::pipe().context("cannot make a pipe")?;
    let other = input.try_clone().context("cannot make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(input)
        .stderr(other)
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    // It holds our ends for writing; the end of the output is seen only when they are closed.
    drop(command);
    let mut tally = Tally::default();
    let pid = Pid::from_raw(i32::try_from(child.id()).context("the process number is out of range")?);
    lines(output, pid, |text| {
        println!("{text}");
        tally.line(text);
    })
    .with_context(|| format!("cannot read the output of `{line}`"))?;
    let status = child.wait().with_context(|| format!("cannot wait for `{line}`"))?;
    if !status.success() && tally.failed == 0 {
        // A program that did not build, or died before its summary.
        eprintln!("error: `{line}` failed: {status}");
        tally.add(&Tally::check(&line, false));
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_holds_the_pipe_does_not_hold_us() {
        // The sleeper keeps the output open; it ends with the file that it waits for.
        let tmp = tempfile::tempdir().unwrap();
        let fifo = tmp.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script =
            format!("cat '{}' & echo 'test a ... ok'; echo 'test result: ok. 1 passed;'", fifo.display());
        let tally = counted(Cmd::new("sh").args(["-c", &script])).unwrap();
        assert_eq!((tally.passed, tally.failed), (1, 0));
        std::fs::write(&fifo, "").unwrap();
    }

    #[test]
    fn a_program_that_dies_before_its_summary_is_a_failure() {
        let tally = counted(Cmd::new("sh").args(["-c", "echo 'test a ... ok'; kill -9 $$"])).unwrap();
        assert_eq!((tally.passed, tally.failed), (0, 1));
    }
}
