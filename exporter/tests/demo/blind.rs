//! An exporter without room for all cgroups loses what their processes do, and an alert tells; with room it is trusted again.

use std::fs;
use std::path::PathBuf;

use serde_json::Map;

use crate::pods::{NAMESPACE, Pods};
use crate::process::Process;
use crate::prometheus::Prometheus;
use crate::support::until;
use crate::{Alert, PATIENCE, Res, firing};

/// The least that the exporter takes.
const ROOM: u32 = 16;

/// A pod that comes when there is no room.
const UNSEEN: &str = "unseen";
const SCRIPT: &str = "while :; do busybox true; busybox sleep 0.2; done";

/// The alert; it is about no pod.
pub(crate) fn alert() -> Alert {
    ("ProcessExporterBlind".to_owned(), String::new())
}

/// Starts the exporter by `start` without room until the alert fires, then with room until it has resolved; the last exporter.
pub(crate) fn check(
    pods: &Pods,
    prometheus: &Prometheus,
    exporter: Process,
    start: impl Fn(&[&str]) -> Res<Process>,
) -> Res<Process> {
    exporter.end()?;
    let filling = Filling::new()?;
    let exporter = start(&["--map.max-containers", &ROOM.to_string()])?;
    pods.start(NAMESPACE, UNSEEN, SCRIPT, &Map::new())?;
    until("the alert of an exporter without room", PATIENCE, || {
        Ok(firing(prometheus)?.contains(&alert()).then_some(()))
    })?;
    let lost = "sum by (event, reason) (podproof_events_lost_total) > 0";
    print!("\nlost without room: {lost}\n{}\n", prometheus.query(lost)?.table());

    pods.end(UNSEEN)?;
    drop(filling);
    exporter.end()?;
    let exporter = start(&[])?;
    until("the alert to resolve with room", PATIENCE, || {
        Ok((!firing(prometheus)?.contains(&alert())).then_some(()))
    })?;
    Ok(exporter)
}

/// Cgroups that take all of the room.
struct Filling(Vec<PathBuf>);

impl Filling {
    fn new() -> Res<Self> {
        let mut filling = Self(Vec::new());
        for number in 0..ROOM {
            let path = PathBuf::from(format!("/sys/fs/cgroup/filling-{number}"));
            fs::create_dir(&path)?;
            filling.0.push(path);
        }
        Ok(filling)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        for path in &self.0 {
            _ = fs::remove_dir(path);
        }
    }
}
