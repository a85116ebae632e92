//! Terminals of containers: for a caller with a socket, and for one with a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};

use libtest_mimic::Failed;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use runtime::launch::console;
use runtime::spec::ConsoleSize;
use runtime::sys::pty;
use serde_json::{Value, json};

use crate::exec::hold;
use crate::fixture::Cell;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("terminal::create_sends_it_to_the_socket", create_sends_it),
    ("terminal::exec_sends_it_to_the_socket", exec_sends_it),
    ("terminal::run_copies_it", run_copies_it),
    ("terminal::exec_copies_all_output_without_a_terminal_of_the_caller", exec_copies_all_output),
    ("terminal::an_image_cannot_redirect_it", image_cannot_redirect_it),
];

fn with_devpts(cell: &Cell, args: &[&str]) -> Result<Value, Failed> {
    let mut config = cell.config("c", args);
    config["mounts"].as_array_mut().ok_or("no mounts")?.push(json!(
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}
    ));
    Ok(config)
}

fn with_terminal(cell: &Cell, args: &[&str]) -> Result<Value, Failed> {
    let mut config = with_devpts(cell, args)?;
    config["process"]["terminal"] = json!(true);
    config["process"]["consoleSize"] = json!({"height": 30, "width": 100});
    Ok(config)
}

/// What the program on the terminal says about it.
fn line(terminal: &mut impl BufRead) -> Result<String, Failed> {
    let mut line = String::new();
    terminal.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn expect_line(terminal: &mut impl BufRead, expected: &str) -> Result<(), Failed> {
    let line = line(terminal)?;
    if line != expected {
        return fail(format!("the terminal shows {line:?} instead of {expected:?}"));
    }
    Ok(())
}

fn receive(listener: &UnixListener) -> Result<File, Failed> {
    let (stream, _) = listener.accept()?;
    Ok(File::from(console::receive(stream.as_fd())?))
}

fn create_sends_it() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let socket = cell.path().join("console.sock");
    let listener = UnixListener::bind(&socket)?;
    let mut config = with_terminal(&cell, &["terminal"])?;
    config["process"]["user"] = json!({"uid": 5, "gid": 5});
    let bundle = cell.bundle(&config)?.display().to_string();
    let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
    if !message.contains("cannot allocate tty if podrt will detach without setting console socket") {
        return fail(message);
    }
    cell.expect_nothing_left()?;
    let path = socket.display().to_string();
    cell.ok(&["create", "--bundle", &bundle, "--console-socket", &path, "c"])?;
    let mut terminal = BufReader::new(receive(&listener)?);
    cell.ok(&["start", "c"])?;
    // Name, size, owner; the console is the same terminal, and so is the controlling one.
    expect_line(&mut terminal, "/dev/pts/0 30x100 uid 5")?;
    expect_line(&mut terminal, "console is the same, tty is the same")?;
    terminal.get_mut().write_all(b"word\n")?;
    expect_line(&mut terminal, "word")?;
    expect_line(&mut terminal, "read word")?;
    // EIO: everybody at the other end has gone.
    let mut rest = Vec::new();
    if terminal.read_to_end(&mut rest).is_ok() || !rest.is_empty() {
        return fail(format!("the terminal goes on: {rest:?}"));
    }
    cell.ok(&["delete", "--force", "c"])?;
    drop(std::fs::remove_file(socket));
    cell.expect_nothing_left()
}

fn exec_sends_it() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let config = with_devpts(&cell, &["hold"])?;
    let _output = hold(&mut cell, &config)?;
    let socket = cell.path().join("console.sock");
    let listener = UnixListener::bind(&socket)?;
    let path = socket.display().to_string();
    cell.ok(&["exec", "-d", "-t", "--console-socket", &path, "c", "/program", "--inside", "terminal"])?;
    let mut terminal = BufReader::new(receive(&listener)?);
    expect_line(&mut terminal, "/dev/pts/0 0x0 uid 0")?;
    expect_line(&mut terminal, "console is missing, tty is the same")?;
    terminal.get_mut().write_all(b"word\n")?;
    expect_line(&mut terminal, "word")?;
    expect_line(&mut terminal, "read word")?;
    cell.expect_nothing_left()
}

/// Starts podrt on a terminal of the test.
fn on_terminal(cell: &Cell, slave: &OwnedFd, args: &[&str]) -> Result<Child, Failed> {
    let stream = || slave.try_clone().map(Stdio::from);
    Ok(cell.podrt().args(args).stdin(stream()?).stdout(stream()?).stderr(Stdio::inherit()).spawn()?)
}

fn run_copies_it() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let bundle = cell.bundle(&with_terminal(&cell, &["terminal"])?)?.display().to_string();
    let OpenptyResult { master, slave } = openpty(None, None)?;
    pty::set_size(slave.as_fd(), ConsoleSize { height: 11, width: 22 })?;
    let before = tcgetattr(&slave)?;
    let mut child = on_terminal(&cell, &slave, &["run", "--bundle", &bundle, "c"])?;
    let mut screen = BufReader::new(File::from(master));
    // The size is the caller's, as long as it has one.
    expect_line(&mut screen, "/dev/pts/0 11x22 uid 0")?;
    expect_line(&mut screen, "console is the same, tty is the same")?;
    if tcgetattr(&slave)?.local_flags.intersects(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG) {
        return fail("the caller's terminal is not raw");
    }
    screen.get_mut().write_all(b"word\r")?;
    // Echoed by the container's terminal, once.
    expect_line(&mut screen, "word")?;
    expect_line(&mut screen, "read word")?;
    let status = child.wait()?;
    if status.code() != Some(0) {
        return fail(format!("run ended with {status}"));
    }
    if tcgetattr(&slave)? != before {
        return fail("the modes of the caller's terminal are not as before");
    }
    cell.expect_nothing_left()
}

fn exec_copies_all_output() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let config = with_devpts(&cell, &["hold"])?;
    let _output = hold(&mut cell, &config)?;
    // More than a terminal holds, and the end of it right before the exit.
    let output = cell.call(&["exec", "-t", "c", "/program", "--inside", "count", "20000"])?;
    let expected: String = (0..20_000).map(|n| format!("{n}\r\n")).collect();
    if output.stdout != expected.as_bytes() {
        return fail(format!(
            "{} bytes instead of {}: {}",
            output.stdout.len(),
            expected.len(),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let code = cell.call(&["exec", "-t", "c", "/program", "--inside", "exit", "9"])?.status.code();
    if code != Some(9) {
        return fail(format!("exec -t ended with {code:?}"));
    }
    cell.expect_nothing_left()
}

fn image_cannot_redirect_it() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = with_terminal(&cell, &["terminal"])?;
    // The image has links where the terminal's files would be: to the node's own, and to a file.
    config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    let dev = cell.path().join("rootfs/dev");
    let secret = cell.path().join("data/secret");
    std::fs::write(&secret, "untouched")?;
    std::os::unix::fs::symlink(&secret, dev.join("console"))?;
    std::os::unix::fs::symlink("/proc/1/root/dev/pts", dev.join("pts"))?;
    let bundle = cell.bundle(&config)?.display().to_string();
    let output = cell.podrt().args(["run", "--bundle", &bundle, "c"]).output()?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(1) || !message.contains("process.terminal needs a devpts there") {
        return fail(format!("{}: {message}", output.status));
    }
    if std::fs::read_to_string(&secret)? != "untouched" {
        return fail("a file of the node was written");
    }
    std::fs::remove_file(secret)?;
    cell.expect_nothing_left()
}
