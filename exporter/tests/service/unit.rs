//! What becomes of the exporter under its units: it counts, with all that they take from it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::{self, samples, until};
use crate::{Case, Res, expect};

const SERVICE: &str = include_str!("../../deploy/podproof-exporter.service");
const SOCKET: &str = include_str!("../../deploy/podproof-exporter.socket");

const UNITS: &str = "/etc/systemd/system";
const NAME: &str = "podproof-exporter";
const OPTIONS: &str = "/etc/default/podproof-exporter";

/// By default, and of the socket unit.
const ADDRESS: &str = "127.0.0.1:9478";

/// An emulated machine boots a whole system.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// It compares itself with the kernel each minute.
const COMPARED: &str = "podproof_reconcile_last_success_timestamp_seconds";

pub(crate) const CASES: &[Case] = &[
    ("systemd_has_nothing_to_say_against_the_units", nothing_to_say),
    ("it_counts_with_what_the_unit_leaves_it", it_counts),
    ("a_socket_unit_keeps_connections_while_it_starts_again", socket_unit),
];

fn nothing_to_say() -> Res<()> {
    install()?;
    for kind in ["service", "socket"] {
        let output =
            Command::new("systemd-analyze").args(["verify", &format!("{UNITS}/{NAME}.{kind}")]).output()?;
        let said = String::from_utf8(output.stderr)?;
        // Units of the system that this image has no programs for are not ours.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(NAME)).collect();
        if !ours.is_empty() || !output.status.success() {
            return Err(format!("{NAME}.{kind}: {}: {said}", output.status).into());
        }
    }
    Ok(())
}

fn it_counts() -> Res<()> {
    install()?;
    systemctl(&["start", NAME])?;
    ready()?;
    let pid = shown("MainPID")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let fact = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.map(str::to_owned).ok_or_else(|| format!("no {name} in {status}"))
    };
    // CAP_DAC_READ_SEARCH is number 2 (capabilities(7), linux/capability.h); 2 is a filter (proc_pid_status(5)).
    for (name, wanted) in [
        ("CapEff", "0000000000000004"),
        ("CapPrm", "0000000000000004"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        expect(name, fact(name)?.as_str(), wanted)?;
    }
    let users = fact("Uid")?;
    expect("a user without root", users.split('\t').all(|user| user != "0"), true)?;

    let before = scrape()?;
    let blind: Vec<_> = before
        .iter()
        .filter(|(series, value)| series.starts_with("podproof_probe_attached") && **value != 1.0)
        .collect();
    expect("probes that are not attached", blind.len(), 0)?;

    let container = Container::new()?;
    let forks = format!(
        "podproof_forks_total{{namespace=\"\",pod=\"\",container=\"{}\",kind=\"process\"}}",
        container.name()
    );
    let counted = until("the container's processes", PATIENCE, || {
        Ok(scrape()?.get(&forks).copied().filter(|n| *n >= 2.0))
    });
    drop(container);
    expect("processes made in the container", counted?, 2.0)?;

    let compared = *before.get(COMPARED).ok_or("it has not compared itself with the kernel")?;
    until("the next comparison with the kernel", PATIENCE, || {
        Ok(scrape()?.get(COMPARED).copied().filter(|now| *now > compared))
    })?;
    stopped()
}

/// A container as docker makes one under systemd, which makes two processes and sleeps; ended with this.
pub(crate) struct Container(Child);

impl Container {
    const ID: &str = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

    pub(crate) fn new() -> Res<Self> {
        let scope = format!("--unit=docker-{}", Self::ID);
        let script = "busybox true; busybox true; exec busybox sleep 1000";
        let mut command = Command::new("systemd-run");
        Ok(Self(command.args(["--quiet", "--scope", &scope, "busybox", "sh", "-c", script]).spawn()?))
    }

    /// As the exporter calls it.
    pub(crate) fn name(&self) -> &'static str {
        &Self::ID[..12]
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn socket_unit() -> Res<()> {
    install()?;
    fs::create_dir_all("/etc/default")?;
    fs::write(OPTIONS, "PODPROOF_EXPORTER_OPTIONS=--web.systemd-socket\n")?;
    let drop_in = Path::new(UNITS).join(format!("{NAME}.service.d"));
    fs::create_dir_all(&drop_in)?;
    fs::write(drop_in.join("socket.conf"), format!("[Unit]\nRequires={NAME}.socket\nAfter={NAME}.socket\n"))?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["start", NAME])?;
    ready()?;
    expect("state of the socket", shown_of(&format!("{NAME}.socket"), "ActiveState")?.as_str(), "active")?;
    let first = shown("MainPID")?;
    systemctl(&["restart", NAME])?;
    // It may not listen yet; systemd does.
    scrape()?;
    let second = shown("MainPID")?;
    expect("it is another process", first != second, true)?;
    let result = stopped();
    systemctl(&["stop", &format!("{NAME}.socket")])?;
    fs::remove_dir_all(&drop_in)?;
    fs::remove_file(OPTIONS)?;
    systemctl(&["daemon-reload"])?;
    result
}

/// Puts the units where an administrator does, once systemd answers.
fn install() -> Res<()> {
    for (kind, text) in [("service", SERVICE), ("socket", SOCKET)] {
        let unit = Path::new(UNITS).join(format!("{NAME}.{kind}"));
        fs::write(&unit, text)?;
        fs::set_permissions(&unit, Permissions::from_mode(0o644))?;
    }
    until("systemd to be there", PATIENCE, || {
        let output = Command::new("systemctl").arg("is-system-running").output()?;
        let state = String::from_utf8(output.stdout)?;
        Ok(["running", "degraded"].contains(&state.trim()).then_some(()))
    })?;
    systemctl(&["daemon-reload"])
}

fn ready() -> Res<()> {
    until("the exporter to be ready", PATIENCE, || {
        if shown("ActiveState")? == "failed" {
            return Err(format!("the service has failed: {}", journal(NAME)?).into());
        }
        Ok(get("/-/ready").is_ok_and(|(code, _)| code == 200).then_some(()))
    })
}

/// Ends it; it must have run without a break, and ended as asked.
fn stopped() -> Res<()> {
    expect("restarts", shown("NRestarts")?.as_str(), "0")?;
    systemctl(&["stop", NAME])?;
    expect("result", shown("Result")?.as_str(), "success")?;
    expect("exit status", shown("ExecMainStatus")?.as_str(), "0")
}

fn scrape() -> Res<BTreeMap<String, f64>> {
    let (code, text) = get("/metrics")?;
    expect("code of the scrape", code, 200)?;
    samples(&text)
}

fn get(path: &str) -> Res<(u16, String)> {
    get_from(ADDRESS, path)
}

/// Status code and body of a page.
pub(crate) fn get_from(address: &str, path: &str) -> Res<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    support::get(&mut stream, path)
}

/// A property of the service (systemctl(1), show).
fn shown(property: &str) -> Res<String> {
    shown_of(NAME, property)
}

fn shown_of(unit: &str, property: &str) -> Res<String> {
    let output =
        Command::new("systemctl").args(["show", "--value", "--property", property, unit]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

pub(crate) fn systemctl(arguments: &[&str]) -> Res<()> {
    let output = Command::new("systemctl").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("systemctl {}: {said}{}", arguments.join(" "), journal(NAME)?).into())
}

/// What a service has said.
pub(crate) fn journal(unit: &str) -> Res<String> {
    let output = Command::new("journalctl").args(["--no-pager", "--lines", "20", "--unit", unit]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
