//! Machines that end in another way than by the end of their command.

use std::time::Duration;

use libtest_mimic::Failed;
use vm_images::{Hang, Kernel, Outcome, Silent, VmError};

use crate::machine::{Site, run};

/// A deadline for hangs; they are over this long after it at most, the NMI's trace included.
const SHORT: Duration = Duration::from_secs(3);
const NMI_AND_KILL: Duration = Duration::from_secs(6);

pub(crate) fn panic(site: &Site) -> Result<(), Failed> {
    // PID 1 passes output on as it comes: what is written in the last moment dies with the kernel.
    let ended = run(&site.script("echo before; sleep 2; echo c > /proc/sysrq-trigger; sleep 1000")?)?;
    ended.check(
        "a panic",
        matches!(&ended.report.outcome, Outcome::Panicked { reason } if reason == "sysrq triggered crash"),
    )?;
    ended.check("the output up to it", ended.seen.stdout == b"before\n")?;
    ended.check("its end at once", ended.after_hello < Duration::from_secs(20))?;
    ended.failed_with(
        "the guest kernel panicked: sysrq triggered crash",
        "Kernel panic - not syncing: sysrq triggered crash",
    )
}

pub(crate) fn command_hangs(site: &Site) -> Result<(), Failed> {
    let mut vm = site.script("exec sleep 1000")?;
    vm.deadlines.command = Some(SHORT);
    let ended = run(&vm)?;
    ended.check("a hang of the command", ended.report.outcome == Outcome::Hung(Hang::Command(SHORT)))?;
    ended.check("its end in time", ended.after_hello < SHORT + NMI_AND_KILL)?;
    ended.failed_with("the command did not end within 3 s", "NMI")
}

/// PID 1 is frozen, as if the whole guest stood still: no beat arrives.
pub(crate) fn guest_hangs(site: &Site) -> Result<(), Failed> {
    let mut vm = site.script(
        "cd /sys/fs/cgroup; mkdir ice; echo 1 > ice/cgroup.procs; echo 1 > ice/cgroup.freeze; sleep 1000",
    )?;
    vm.deadlines.beat = SHORT;
    let ended = run(&vm)?;
    ended.check("a silent guest", matches!(ended.report.outcome, Outcome::Hung(Hang::Silent(_))))?;
    let limit = SHORT.mul_f64(ended.report.deadline_factor) + NMI_AND_KILL;
    ended.check("its end in time", ended.after_hello < limit + SHORT)?;
    ended.failed_with("the guest hangs: no sign of life", "NMI")
}

pub(crate) fn out_of_memory(site: &Site) -> Result<(), Failed> {
    let mut vm = site.script("tail /dev/zero")?;
    vm.memory_mib = 192;
    let ended = run(&vm)?;
    let is_tail =
        |outcome: &Outcome| matches!(outcome, Outcome::OutOfMemory { victim } if victim.name == "tail");
    ended.check("tail as the victim", is_tail(&ended.report.outcome))?;
    ended.failed_with(
        "the guest ran out of memory and its kernel killed tail",
        "Out of memory: Killed process",
    )
}

pub(crate) fn early_power_off(site: &Site) -> Result<(), Failed> {
    let ended = run(&site.script("poweroff -f; sleep 1000")?)?;
    ended.check("a power-off", ended.report.outcome == Outcome::PoweredOff { is_reset: false })?;
    ended.failed_with("the guest powered off before the command had ended", "Power down")
}

pub(crate) fn early_restart(site: &Site) -> Result<(), Failed> {
    let ended = run(&site.script("reboot -f; sleep 1000")?)?;
    ended.check("a restart", ended.report.outcome == Outcome::PoweredOff { is_reset: true })?;
    ended.failed_with("the guest restarted before the command had ended", "Restarting system")
}

pub(crate) fn command_is_missing(site: &Site) -> Result<(), Failed> {
    let ended = run(&site.machine(&["no-such-program"])?)?;
    ended.check("ENOENT", matches!(&ended.report.outcome, Outcome::NotStarted { errno: 2, .. }))?;
    ended.check("status 3", ended.report.outcome.exit_status() == 3)?;
    ended
        .check("its name", ended.report.explain().contains("could not execute no-such-program: No such file"))
}

/// A port that no driver serves: PID 1 says on the console what is missing.
pub(crate) fn kernel_without_its_modules(site: &Site) -> Result<(), Failed> {
    let mut vm = site.script("true")?;
    let dir = tempfile::tempdir()?;
    let alone = dir.path().join("vmlinuz");
    std::fs::copy(image(site)?, &alone)?;
    vm.kernel = Kernel::from_file(&alone, &site.work)?;
    if vm.kernel.modules().is_some() {
        // The host runs this very kernel, and lends its modules.
        return Ok(());
    }
    let ended = run(&vm)?;
    match &ended.report.outcome {
        // Everything is built in.
        Outcome::Exited { code: 0 } if site.series != "6.1" => Ok(()),
        _ => ended.failed_with("the guest's PID 1 could not prepare the machine", "find virtio-serial port"),
    }
}

pub(crate) fn file_is_no_kernel(site: &Site) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let text = dir.path().join("vmlinuz");
    std::fs::write(&text, "not a kernel")?;
    let message = chain(Kernel::from_file(&text, &site.work).err());
    expect(&message, &["is no kernel that can boot here", "neither an ELF vmlinux nor an x86 bzImage"])?;

    let half = dir.path().join("half");
    let bytes = std::fs::read(image(site)?)?;
    std::fs::write(&half, &bytes[..bytes.len() / 2])?;
    let message = chain(Kernel::from_file(&half, &site.work).err());
    expect(&message, &["ends before its packed kernel does"])?;

    let message = chain(Kernel::from_file(&dir.path().join("absent"), &site.work).err());
    expect(&message, &["read kernel", "No such file"])
}

pub(crate) fn image_does_not_fit(site: &Site) -> Result<(), Failed> {
    let mut vm = site.script("true")?;
    vm.memory_mib = 64;
    match vm.run(&mut Silent) {
        Err(error @ VmError::TooSmall { .. }) => expect(&error.to_string(), &["--memory"]),
        other => Err(format!("expected a refusal, not {other:?}").into()),
    }
}

fn image(site: &Site) -> Result<std::path::PathBuf, Failed> {
    let entry = std::fs::read_dir(site.tree.join("boot"))?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
    Ok(entry.ok_or("no kernel in the tree")?.path())
}

/// An error with its causes, as programs print it.
fn chain(error: Option<impl std::error::Error>) -> String {
    let Some(error) = error else { return "no error".to_owned() };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn expect(message: &str, parts: &[&str]) -> Result<(), Failed> {
    match parts.iter().find(|part| !message.contains(**part)) {
        Some(part) => Err(format!("expected {part:?} in {message:?}").into()),
        None => Ok(()),
    }
}
