//! Sockets that somebody else listens on, handed over as systemd does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use crate::exporter::{Exporter, SERVE, raise_loopback};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("systemd::its_sockets_are_answered_and_left", its_sockets_are_answered),
    ("systemd::what_cannot_be_listened_on_is_refused", what_cannot_be_listened_on_is_refused),
];

/// The exporter with these two as its descriptors 3 and 4.
fn with_sockets(first: OwnedFd, second: OwnedFd) -> Res<Command> {
    let script = "export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null";
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", script, "sh"]).arg(std::env::current_exe()?);
    command.args([SERVE, "--log.level", "error", "--web.systemd-socket"]).stdin(first).stdout(second);
    Ok(command)
}

fn its_sockets_are_answered() -> Res<()> {
    let dir = tempfile::tempdir()?;
    raise_loopback()?;
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let address = tcp.local_addr()?;
    let unix = UnixListener::bind(dir.path().join("socket"))?;
    let mut exporter = Exporter::start_command(&mut with_sockets(tcp.into(), unix.into())?, dir)?;
    exporter.scrape()?;
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    expect("the TCP socket is answered", answer.contains("\npodproof_web_insecure 0\n"), true)?;
    expect("exit code", exporter.end()?, Some(0))?;
    expect("the socket is there", exporter.socket().exists(), true)
}

fn what_cannot_be_listened_on_is_refused() -> Res<()> {
    raise_loopback()?;
    let local = || TcpListener::bind("127.0.0.1:0").map(OwnedFd::from);
    let connected = TcpStream::connect(TcpListener::bind("127.0.0.1:0")?.local_addr()?)?;
    let cases: [(OwnedFd, &str); 3] = [
        (TcpListener::bind("0.0.0.0:0")?.into(), "can be reached from other machines without TLS"),
        (File::open("/dev/null")?.into(), "socket 2 of the unit cannot be listened on"),
        (connected.into(), "the unit needs Accept=no"),
    ];
    for (second, wanted) in cases {
        let output = with_sockets(local()?, second)?
            .stderr(std::process::Stdio::piped())
            .spawn()?
            .wait_with_output()?;
        expect("exit code", output.status.code(), Some(1))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !text.contains(wanted) {
            return Err(format!("{text}, without {wanted:?}").into());
        }
    }
    let output = Command::new(std::env::current_exe()?).args([SERVE, "--web.systemd-socket"]).output()?;
    expect("exit code without sockets", output.status.code(), Some(1))?;
    let is_told = String::from_utf8_lossy(&output.stderr).contains("systemd hands no socket over");
    expect("the reason without sockets", is_told, true)
}
