//! The birth report against what the kernel shows from outside.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use podproof_witness::Command;
use support::{
    AS_PID_1, PIPE, Witness, descriptors_of, inherited_descriptors, inherited_ignored, is_root, line_of,
    mask_of,
};

const USR1: u64 = 1 << 9;
const TERM: u64 = 1 << 14;

/// A shell that prepares, then becomes the witness.
fn shell(script: &str) -> [String; 4] {
    ["sh".to_owned(), "-c".to_owned(), format!("{script}; exec \"$@\""), "sh".to_owned()]
}

fn start_after(script: &str) -> Result<Witness> {
    let launcher = shell(script);
    Witness::start_by(&launcher.each_ref().map(String::as_str))
}

#[test]
fn report_equals_the_outside_view() -> Result<()> {
    let witness = Witness::start()?;
    let pid = witness.outer_pid()?;
    let birth = witness.birth();
    assert_eq!(witness.name(), "a");
    assert_eq!(birth.pid, pid.unsigned_abs());
    assert_eq!(birth.ppid, std::process::id());
    for entry in fs::read_dir(format!("/proc/{pid}/ns"))? {
        let entry = entry?;
        let ns = fs::metadata(entry.path())?;
        let told = birth.ns[&entry.file_name().to_string_lossy().into_owned()];
        assert_eq!((told.dev, told.ino), (ns.dev(), ns.ino()), "{:?}", entry.file_name());
    }
    assert!(birth.ns.len() >= 8);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let caps = birth.caps.context("no capabilities")?;
    assert_eq!(caps.inheritable, mask_of(&status, "CapInh")?);
    assert_eq!(caps.permitted, mask_of(&status, "CapPrm")?);
    assert_eq!(caps.effective, mask_of(&status, "CapEff")?);
    assert_eq!(caps.bounding, mask_of(&status, "CapBnd")?);
    assert_eq!(caps.ambient, mask_of(&status, "CapAmb")?);
    for (told, file) in
        [(&birth.mountinfo, "mountinfo"), (&birth.cgroup, "cgroup"), (&birth.limits, "limits")]
    {
        assert_eq!(
            told.as_deref(),
            Some(fs::read_to_string(format!("/proc/{pid}/{file}"))?.as_str()),
            "{file}"
        );
    }
    assert_eq!(birth.hostname, fs::read_to_string("/proc/sys/kernel/hostname")?.trim());
    assert_eq!(birth.cwd, fs::read_link(format!("/proc/{pid}/cwd"))?.display().to_string());
    assert!(birth.net_cookie.is_some_and(|cookie| cookie > 0));
    assert_eq!(witness.abandon()?.code(), Some(85));
    Ok(())
}

#[test]
fn only_what_was_given_is_open() -> Result<()> {
    let witness = start_after("exec 7</dev/null 9>file")?;
    let fds = witness.birth().fds.as_ref().context("no descriptors")?;
    let mut expected = inherited_descriptors()?;
    expected.extend([0, 1, 2, 7, 9]);
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(fds.iter().map(|open| open.fd).collect::<Vec<_>>(), expected);
    let target = |fd: i32| fds.iter().find(|open| open.fd == fd).map(|open| open.target.as_str());
    assert_eq!(target(7), Some("/dev/null"));
    assert!(target(9).is_some_and(|target| target.ends_with("/file")));
    // The connection is the only addition.
    assert_eq!(descriptors_of(witness.outer_pid()?)?.len(), fds.len() + 1);
    witness.abandon()?;
    Ok(())
}

#[test]
fn missing_standard_descriptors_stay_missing() -> Result<()> {
    let mut witness = start_after("exec 0<&- 1>&- 2>&-")?;
    let fds = witness.birth().fds.as_ref().context("no descriptors")?;
    assert_eq!(fds.iter().map(|open| open.fd).collect::<Vec<_>>(), inherited_descriptors()?);
    witness.ask(Command::MakeOrphans { count: 2 })?;
    let port = witness.ask(Command::HttpServe { port: 0, body: "x".to_owned() })?;
    witness.ask(Command::HttpGet { port: serde_json::from_value(port)? })?;
    let fds = descriptors_of(witness.outer_pid()?)?;
    assert!(fds.iter().all(|(fd, _)| *fd > 2), "{fds:?}");
    witness.abandon()?;
    Ok(())
}

#[test]
fn dispositions_and_masks_are_those_of_the_start() -> Result<()> {
    let witness = Witness::start()?;
    let status = witness.birth().status.as_deref().context("no status")?;
    assert_eq!(mask_of(status, "SigIgn")?, inherited_ignored()?);
    assert_eq!(mask_of(status, "SigCgt")?, 0);
    assert_eq!(mask_of(status, "SigBlk")?, 0);
    witness.abandon()?;

    let witness = Witness::start_by(&["env", "--ignore-signal=PIPE,TERM", "--block-signal=USR1"])?;
    let outside = fs::read_to_string(format!("/proc/{}/status", witness.outer_pid()?))?;
    for status in [witness.birth().status.as_deref().context("no status")?, &outside] {
        assert_eq!(mask_of(status, "SigIgn")?, inherited_ignored()? | PIPE | TERM);
        assert_eq!(mask_of(status, "SigBlk")?, USR1);
        assert_eq!(mask_of(status, "SigCgt")?, 0);
    }
    witness.abandon()?;
    Ok(())
}

/// Runs the witness in a mount namespace whose `/proc` a script has spoiled.
fn tells_what_it_can_after(script: &str) -> Result<()> {
    let script = shell(script);
    let launcher: Vec<&str> =
        ["unshare", "--mount"].into_iter().chain(script.iter().map(String::as_str)).collect();
    let mut witness = Witness::start_by(&launcher)?;
    let birth = witness.birth();
    assert!(birth.ns.is_empty());
    assert_eq!((&birth.fds, birth.caps, &birth.status), (&None, None, &None));
    assert_eq!((&birth.mountinfo, &birth.cgroup, &birth.limits), (&None, &None, &None));
    assert_eq!(birth.pid, witness.outer_pid()?.unsigned_abs());
    assert!(birth.net_cookie.is_some());
    // The main thread ends, but nothing shows it.
    assert_eq!(witness.ask_in_vain(Command::EndMainThread)?, Errno::ENOENT);
    witness.ask(Command::Ping)?;
    assert_eq!(witness.abandon()?.code(), Some(85));
    Ok(())
}

#[test]
fn parts_are_absent_without_proc() -> Result<()> {
    if is_root() { tells_what_it_can_after("umount -l /proc") } else { Ok(()) }
}

#[test]
fn parts_are_absent_with_the_proc_of_another_namespace() -> Result<()> {
    // The mount survives the pid namespace that it shows, and `self` names nothing in it.
    if is_root() { tells_what_it_can_after("unshare --pid --fork mount -t proc proc /proc") } else { Ok(()) }
}

#[test]
fn unprivileged_user_reports_all() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let launcher = [
        "setpriv",
        "--reuid=54321",
        "--regid=54322",
        "--groups=7,8",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--no-new-privs",
    ];
    let witness = Witness::start_by(&launcher)?;
    let birth = witness.birth();
    assert_eq!((birth.uid, birth.gid, birth.groups.as_slice()), (54321, 54322, [7, 8].as_slice()));
    let caps = birth.caps.context("no capabilities")?;
    assert_eq!((caps.permitted, caps.effective, caps.bounding, caps.ambient), (0, 0, 0, 0));
    assert!(birth.ns.len() >= 8);
    assert!(birth.fds.is_some());
    assert_eq!(line_of(birth.status.as_deref().context("no status")?, "NoNewPrivs").as_deref(), Some("1"));
    witness.abandon()?;
    Ok(())
}

#[test]
fn as_pid_1_it_sees_the_inner_numbers() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut witness = Witness::start_by(&AS_PID_1)?;
    assert_eq!((witness.birth().pid, witness.birth().ppid), (1, 0));
    assert_ne!(witness.outer_pid()?, 1);
    let again = witness.ask(Command::Report)?;
    assert_eq!(again["pid"], 1);
    assert_eq!(again["ns"], serde_json::to_value(&witness.birth().ns)?);
    witness.abandon()?;
    Ok(())
}
