//! The steps of the command line, and what the witness does when it cannot serve.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command as Program;

use anyhow::{Context, Result};
use podproof_witness::{Command, EXIT_STEP_FAILED, EXIT_UNREACHABLE, EXIT_USAGE};
use support::{
    PROGRAM, Witness, copy_program, inherited_descriptors, is_root, listen_at, meet, open_dir, run,
};

#[test]
fn mark_appends_one_line() -> Result<()> {
    let dir = open_dir()?;
    let file = dir.path().join("marks");
    let file = file.to_str().context("path")?;
    for lines in 1..=3 {
        assert_eq!(run(&["mark", file])?.0.code(), Some(0));
        let text = fs::read_to_string(file)?;
        assert_eq!(text.lines().count(), lines);
        assert!(text.lines().all(|line| line.starts_with("pid ") && line.contains(" boottime_ns ")));
    }
    Ok(())
}

#[test]
fn mark_comes_before_the_hello_and_leaves_nothing_open() -> Result<()> {
    let dir = open_dir()?;
    let file = dir.path().join("marks");
    let witness = Witness::start_as(&[], &["mark", file.to_str().context("path")?])?;
    assert_eq!(fs::read_to_string(&file)?.lines().count(), 1);
    let fds = witness.birth().fds.as_ref().context("no descriptors")?;
    assert_eq!(fds.len(), 3 + inherited_descriptors()?.len());
    witness.abandon()?;
    Ok(())
}

#[test]
fn touch_over_the_limit_leaves_no_mark() -> Result<()> {
    let dir = open_dir()?;
    let file = dir.path().join("marks");
    let path = file.to_str().context("path")?;
    assert_eq!(run(&["touch", "8388608", "mark", path])?.0.code(), Some(0));
    assert_eq!(fs::read_to_string(&file)?.lines().count(), 1);
    // The limit on address space stands for the one on memory: the step fails, so the next is not done.
    let limited = Program::new("prlimit")
        .args(["--as=67108864", PROGRAM, "touch", "134217728", "mark", path])
        .output()?;
    assert_eq!(limited.status.code(), Some(EXIT_STEP_FAILED));
    assert!(String::from_utf8_lossy(&limited.stderr).contains("map 134217728 bytes"));
    assert_eq!(fs::read_to_string(&file)?.lines().count(), 1);
    Ok(())
}

#[test]
fn exit_codes_are_the_documented_ones() -> Result<()> {
    assert_eq!(run(&["exit", "0"])?.0.code(), Some(0));
    assert_eq!(run(&["exit", "42"])?.0.code(), Some(42));
    for wrong in
        [&[][..], &["exit"], &["exit", "x"], &["dance"], &["serve"], &["touch", "-1"], &["serve", "--x"]]
    {
        let (status, message) = run(wrong)?;
        assert_eq!(status.code(), Some(EXIT_USAGE), "{wrong:?}");
        assert!(message.contains("usage: "), "{message}");
    }
    let (status, message) = run(&["mark", "/nonexistent/marks"])?;
    assert_eq!(status.code(), Some(EXIT_STEP_FAILED));
    assert!(message.contains("append to /nonexistent/marks: No such file or directory"), "{message}");
    Ok(())
}

#[test]
fn unreachable_suite_is_said_and_has_its_code() -> Result<()> {
    let (status, message) = run(&["serve", "--name", "a", "--socket", "/nonexistent/socket"])?;
    assert_eq!(status.code(), Some(EXIT_UNREACHABLE));
    assert!(message.contains("connect to /nonexistent/socket: No such file or directory"), "{message}");
    let long = format!("/{}", "x".repeat(200));
    assert_eq!(run(&["serve", "--name", "a", "--socket", &long])?.0.code(), Some(EXIT_UNREACHABLE));
    Ok(())
}

#[test]
fn sleep_ends_by_a_signal() -> Result<()> {
    let mut child = Program::new(PROGRAM).arg("sleep").spawn()?;
    child.kill()?;
    assert_eq!(child.wait()?.signal(), Some(9));
    Ok(())
}

#[test]
fn exit_command_sets_the_code() -> Result<()> {
    let mut witness = Witness::start()?;
    witness.tell(Command::Exit { code: 7 })?;
    assert_eq!(witness.wait()?.code(), Some(7));
    Ok(())
}

#[test]
fn nonsense_is_answered_not_obeyed() -> Result<()> {
    let mut witness = Witness::start()?;
    witness.tell_raw(br#"{"id":77,"command":{"do":"dance"}}"#)?;
    let reply = witness.reply()?;
    assert_eq!(reply.id, 77);
    assert!(matches!(reply.outcome, podproof_witness::Outcome::Failed { .. }));
    assert!(witness.ask(Command::Ping)?.as_u64() > Some(0));
    witness.abandon()?;
    Ok(())
}

/// The witness must work in a root file system that has nothing else. A dynamically linked build gets its
/// libraries copied beside it.
#[test]
fn root_file_system_needs_nothing_else() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let root = open_dir()?;
    fs::create_dir(root.path().join("podproof"))?;
    copy_program(PROGRAM, &root.path().join("witness"))?;
    let libraries = Program::new("ldd").arg(PROGRAM).output()?;
    if libraries.status.success() {
        let text = String::from_utf8_lossy(&libraries.stdout).into_owned();
        for library in text.split_whitespace().filter_map(|word| word.strip_prefix('/')) {
            let copy = root.path().join(library);
            fs::create_dir_all(copy.parent().context("no parent")?)?;
            copy_program(&format!("/{library}"), &copy)?;
        }
    }
    let listener = listen_at(&root.path().join("podproof/socket"))?;
    let mut child =
        Program::new("chroot").arg(root.path()).args(["/witness", "serve", "--name", "bare"]).spawn()?;
    let (connection, hello) = meet(&listener)?;
    assert_eq!((hello.name.as_str(), hello.birth.cwd.as_str()), ("bare", "/"));
    assert_eq!((hello.birth.fds, hello.birth.status), (None, None));
    drop(connection);
    assert_eq!(child.wait()?.code(), Some(85));
    Ok(())
}
