//! The commands of the readme that lead from the archive to a Prometheus with the alerts, as they stand there.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use serde_json::Value;

use crate::support::until;
use crate::unit::{Container, PATIENCE, get_from, journal, systemctl};
use crate::{Case, Res};

const README: &str = include_str!("../../README.md");

/// How the part begins.
const BEGIN: &str = "\n```\ntar xzf ";
/// The packages are in the image already.
const PACKAGES: &str = "apt-get ";

const PROMETHEUS: &str = "127.0.0.1:9090";
/// Of the rules.
const ALERTS: usize = 12;

pub(crate) const CASES: &[Case] = &[("the_readme_leads_to_alerts_and_containers", leads_to_alerts)];

fn leads_to_alerts() -> Res<()> {
    as_the_package_s_scripts()?;
    let container = Container::new()?;
    let (_, rest) = README.split_once(BEGIN).ok_or("the readme has no commands for the archive")?;
    let (commands, _) = rest.split_once("\n```").ok_or("the commands of the readme have no end")?;
    let commands = format!("tar xzf {commands}");
    if !commands.lines().any(|line| line.starts_with(PACKAGES)) {
        return Err(format!("no packages are installed: {commands}").into());
    }
    let started = "systemctl start prometheus prometheus-node-exporter";
    let of_line = |line: &str| if line.starts_with(PACKAGES) { started.to_owned() } else { line.to_owned() };
    let script: Vec<String> = commands.lines().map(of_line).collect();
    let output = Command::new("sh").args(["-exc", &script.join("\n")]).current_dir("/root").output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said)).into());
    }
    let query = format!("/api/v1/query?query=podproof_container_info{{container=\"{}\"}}", container.name());
    let query = query.replace('"', "%22");
    let ready = until("Prometheus to be ready", PATIENCE, || {
        Ok(get_from(PROMETHEUS, "/-/ready").is_ok_and(|(code, _)| code == 200).then_some(()))
    });
    if let Err(error) = ready {
        return Err(format!("{error}: {}", journal("prometheus")?).into());
    }
    until("the container in Prometheus", PATIENCE, || {
        let found = api(&query)?["data"]["result"].as_array().is_some_and(|series| !series.is_empty());
        Ok(found.then_some(()))
    })?;
    let groups = api("/api/v1/rules?type=alert")?["data"]["groups"].take();
    let rules = groups.as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array());
    let n_rules = rules.flatten().count();
    let pages = ["/classic/alerts", "/classic/graph"].map(|page| get_from(PROMETHEUS, page));
    systemctl(&["stop", "podproof-exporter", "prometheus", "prometheus-node-exporter"])?;
    drop(container);
    for page in pages {
        let (code, _) = page?;
        if code != 200 {
            return Err(format!("a page of Prometheus that the readme names: {code}").into());
        }
    }
    if n_rules == ALERTS { Ok(()) } else { Err(format!("{n_rules} alerts").into()) }
}

/// No script of a package has run where this image was made: the user of both services is missing, and the folder of the data.
fn as_the_package_s_scripts() -> Res<()> {
    const USER: u32 = 900;
    for (file, line) in [
        ("/etc/passwd", format!("prometheus:x:{USER}:{USER}::/var/lib/prometheus:/usr/sbin/nologin\n")),
        ("/etc/group", format!("prometheus:x:{USER}:\n")),
    ] {
        fs::write(file, fs::read_to_string(file)? + &line)?;
    }
    fs::create_dir_all("/var/lib/prometheus/metrics2")?;
    fs::create_dir_all("/var/lib/prometheus/node-exporter")?;
    for folder in ["", "metrics2", "node-exporter"] {
        chown(format!("/var/lib/prometheus/{folder}"), Some(USER), Some(USER))?;
    }
    systemctl(&["daemon-reload"])
}

fn api(path: &str) -> Res<Value> {
    let (code, body) = get_from(PROMETHEUS, path)?;
    Ok(serde_json::from_str(&body).map_err(|error| format!("{code}: {error}: {body}"))?)
}
