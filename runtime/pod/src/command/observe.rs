//! What a pod does, as far as can be told without asking it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use jiff::Timestamp;
use runtime::launch::lifecycle;
use runtime::state::{StateError, StateRoot, Status};
use serde::Serialize;

use crate::plan::SANDBOX;
use crate::state::{PodDir, PodRecord, PodReport};
use crate::status::{ContainerState, Phase, Termination};

/// The state of a pod in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PodState {
    /// `create` is at work, or was interrupted.
    Creating,
    /// Its sandbox waits for `start`.
    Created,
    /// Containers are being started.
    Pending,
    /// It runs.
    Running,
    /// All main containers ended with 0.
    Succeeded,
    /// One did not.
    Failed,
    /// Its supervisor is gone, and containers run still.
    Unsupervised,
    /// Its supervisor is gone, and nothing runs any more; nobody knows how it ended.
    Lost,
    /// The node was booted anew since.
    Rebooted,
}

impl std::fmt::Display for PodState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// A pod, looked at.
#[derive(Debug)]
pub struct Observed {
    /// State.
    pub state: PodState,
    /// What was asked; `None` while it is not written yet.
    pub record: Option<PodRecord>,
    /// Phase and containers, corrected where nobody could write how they ended.
    pub report: Option<PodReport>,
}

/// Looks at a pod.
///
/// # Errors
/// What could not be read.
pub fn observe(pod: &PodDir) -> Result<Observed> {
    let record = match pod.record() {
        Err(crate::state::StateError::Unknown { .. }) if pod.path().exists() => {
            return Ok(Observed { state: PodState::Creating, record: None, report: None });
        }
        result => result?,
    };
    // Before the other files: what was not on the disk yet when the node went down may be empty now.
    if record.boot_id != super::create::boot_id()? {
        let mut report = pod.report().ok().flatten();
        let state = match &mut report {
            Some(report) if report.is_finished => of_phase(report.status.phase),
            report => {
                correct(report.as_mut(), &Live::new());
                PodState::Rebooted
            }
        };
        return Ok(Observed { state, record: Some(record), report });
    }
    // Before the report: a supervisor that ends in between has written its last one by then.
    let is_supervised = match pod.supervisor()? {
        Some(process) => process.open()?.is_some(),
        None => false,
    };
    let mut report = pod.report()?;
    let state = match &mut report {
        Some(report) if report.is_finished => of_phase(report.status.phase),
        None => PodState::Creating,
        Some(report) if is_supervised && !report.is_begun => PodState::Created,
        Some(report) if is_supervised => of_phase(report.status.phase),
        Some(report) => {
            let live = live(&pod.containers())?;
            correct(Some(report), &live);
            if live.is_empty() { PodState::Lost } else { PodState::Unsupervised }
        }
    };
    Ok(Observed { state, record: Some(record), report })
}

fn of_phase(phase: Phase) -> PodState {
    match phase {
        Phase::Pending => PodState::Pending,
        Phase::Running => PodState::Running,
        Phase::Succeeded => PodState::Succeeded,
        Phase::Failed => PodState::Failed,
    }
}

/// Containers that run, by name, with the time of their creation where it can be read.
type Live = BTreeMap<String, Option<SystemTime>>;

/// The containers that run. The container layer and the kernel are asked, not the report: a supervisor that is killed may have
/// started some since it wrote the last one.
fn live(containers: &StateRoot) -> Result<Live> {
    let mut live = Live::new();
    for id in containers.entries()?.0 {
        if id.as_str() == SANDBOX {
            continue;
        }
        let (is_live, created) = match containers.load(&id) {
            // Its create was interrupted, or its delete.
            Err(StateError::Unknown { .. }) => (false, None),
            // Nobody knows what it is about: it may well live.
            Err(_) => (true, None),
            Ok(state) => {
                let status = lifecycle::status(containers, &id, &state);
                // The process of an interrupted create gives up by itself before it executes a program.
                let is_live = !matches!(status, Ok(Status::Creating | Status::Stopped));
                (is_live, state.created.parse().ok().map(|created: Timestamp| created.into()))
            }
        };
        if is_live {
            live.insert(id.to_string(), created);
        }
    }
    Ok(live)
}

/// Makes of what the last report says of the containers what they do now, as nobody was there to report it.
fn correct(report: Option<&mut PodReport>, live: &Live) {
    for container in report.into_iter().flat_map(|report| &mut report.status.containers) {
        match (&container.state, live.get(&container.name)) {
            (ContainerState::Running { .. }, Some(_)) => {}
            (ContainerState::Running { started_at }, None) => {
                let started_at = *started_at;
                container.is_ready = false;
                container.state = ContainerState::Terminated(Termination {
                    exit_code: None,
                    signal: None,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: "nobody was there to see it end".to_owned(),
                    started_at: Some(started_at),
                    finished_at: started_at,
                });
            }
            (_, Some(created)) => {
                let started_at = created.unwrap_or(SystemTime::UNIX_EPOCH);
                let before = std::mem::replace(&mut container.state, ContainerState::Running { started_at });
                if let ContainerState::Terminated(end) = before {
                    container.last_termination = Some(end);
                }
            }
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use nix::unistd::getpid;
    use runtime::state::ProcessIdentity;
    use runtime::state::time::rfc3339;
    use serde_json::{Value, json};

    use super::*;
    use crate::machine::Settings;
    use crate::spec::samples::{minimal, read};
    use crate::state::{NetworkMode, PodRoot};
    use crate::status::{ContainerStatus, PodStatus};

    const CREATED: Duration = Duration::new(1_700_000_000, 5);

    /// What `create` leaves of a container, with or without a process.
    fn state(id: &str, process: Option<&ProcessIdentity>) -> Value {
        json!({
            "oci_version": "1.2.0", "id": id, "bundle": "/bundle", "rootfs": "/bundle/rootfs",
            "created": rfc3339(SystemTime::UNIX_EPOCH + CREATED), "annotations": {},
            "cgroup": format!("/podrt-test-no-such-group/{id}"), "process": process,
        })
    }

    fn status(name: &str, state: ContainerState) -> ContainerStatus {
        let name = name.to_owned();
        ContainerStatus { name, state, last_termination: None, restart_count: 0, is_ready: false }
    }

    #[test]
    fn what_runs_is_asked_of_the_container_layer() {
        let temp = tempfile::tempdir().unwrap();
        let own = ProcessIdentity::of(getpid()).unwrap();
        let ended = ProcessIdentity { start_ticks: own.start_ticks + 1, ..own.clone() };
        for (id, text) in [
            (SANDBOX, Some(state(SANDBOX, Some(&own)).to_string())),
            // In no cgroup of its own, so nobody's to call ended.
            ("alive", Some(state("alive", Some(&own)).to_string())),
            ("ended", Some(state("ended", Some(&ended)).to_string())),
            ("creating", Some(state("creating", None).to_string())),
            ("begun", None),
            ("damaged", Some("{".to_owned())),
        ] {
            fs::create_dir(temp.path().join(id)).unwrap();
            if let Some(text) = text {
                fs::write(temp.path().join(id).join("state.json"), text).unwrap();
            }
        }
        let found = live(&StateRoot::new(temp.path())).unwrap();
        let wanted = [("alive", Some(SystemTime::UNIX_EPOCH + CREATED)), ("damaged", None)];
        assert_eq!(found, wanted.map(|(id, created)| (id.to_owned(), created)).into());
        assert_eq!(live(&StateRoot::new(temp.path().join("absent"))).unwrap(), Live::new());
    }

    #[test]
    fn a_reboot_is_told_by_the_record_whatever_became_of_the_rest() {
        let temp = tempfile::tempdir().unwrap();
        let (pod, _lock) = PodRoot::new(temp.path().to_owned()).create("p").unwrap();
        let record = |boot_id: String| PodRecord {
            spec: read(&minimal()).unwrap(),
            uid: String::new(),
            created: SystemTime::UNIX_EPOCH + CREATED,
            boot_id,
            images: Vec::new(),
            pause: "/pause".into(),
            network: NetworkMode::None,
            lease: None,
            settings: Settings {
                backoff_base: Duration::ZERO,
                backoff_max: Duration::ZERO,
                backoff_reset: Duration::ZERO,
            },
            cgroup_parent: "/podrt-test-no-such-group".into(),
            missing_cgroups: Vec::new(),
            log_max_bytes: 1,
            log_max_files: 2,
        };
        let runs = ContainerState::Running { started_at: SystemTime::UNIX_EPOCH + CREATED };
        let containers = vec![status("c", runs)];
        let report = |phase, is_finished| PodReport {
            status: PodStatus { phase, reason: None, message: None, containers: containers.clone() },
            sandbox_pid: None,
            is_begun: true,
            is_finished,
        };
        // What an unclean end leaves of a file that was renamed, and not on the disk yet.
        let damage = |name: &str| fs::write(pod.join(name), "").unwrap();
        let other = "00000000-0000-0000-0000-000000000000";

        pod.save_record(&record(other.to_owned())).unwrap();
        pod.save_report(&report(Phase::Running, false)).unwrap();
        damage("supervisor.json");
        let found = observe(&pod).unwrap();
        let state = found.report.unwrap().status.containers.swap_remove(0).state;
        assert_eq!(found.state, PodState::Rebooted);
        assert!(matches!(state, ContainerState::Terminated(end) if end.exit_code.is_none()));
        damage("status.json");
        let found = observe(&pod).unwrap();
        assert_eq!((found.state, found.report.is_none()), (PodState::Rebooted, true));
        pod.save_report(&report(Phase::Succeeded, true)).unwrap();
        assert_eq!(observe(&pod).unwrap().state, PodState::Succeeded, "it had ended before");

        pod.save_record(&record(crate::command::create::boot_id().unwrap())).unwrap();
        assert!(observe(&pod).is_err(), "the file of a supervisor that may run is damaged");
    }

    #[test]
    fn the_report_is_corrected_both_ways() {
        let at = SystemTime::UNIX_EPOCH + CREATED;
        let end = Termination {
            exit_code: Some(1),
            signal: None,
            reason: "Error".to_owned(),
            message: String::new(),
            started_at: Some(at),
            finished_at: at,
        };
        let waiting =
            || ContainerState::Waiting { reason: "ContainerCreating".to_owned(), message: String::new() };
        let containers = vec![
            status("stays", ContainerState::Running { started_at: at }),
            status("gone", ContainerState::Running { started_at: at }),
            status("unreported", waiting()),
            status("again", ContainerState::Terminated(end.clone())),
            status("waits", waiting()),
        ];
        let status = PodStatus { phase: Phase::Pending, reason: None, message: None, containers };
        let mut report = PodReport { status, sandbox_pid: None, is_begun: true, is_finished: false };
        let live = ["stays", "unreported", "again"].map(|name| (name.to_owned(), Some(at))).into();
        correct(Some(&mut report), &live);
        let containers = report.status.containers;
        let runs = ContainerState::Running { started_at: at };
        assert_eq!([&containers[0].state, &containers[2].state, &containers[3].state], [&runs; 3]);
        assert_eq!(containers[3].last_termination, Some(end));
        assert!(matches!(&containers[1].state, ContainerState::Terminated(end) if end.exit_code.is_none()));
        assert_eq!(containers[4].state, waiting());
    }
}
