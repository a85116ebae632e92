//! What a pod does, as far as can be told without asking it.

use anyhow::Result;
use runtime::launch::lifecycle;
use runtime::state::{StateRoot, Status};
use serde::Serialize;

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
    // Before the report: a supervisor that ends in between has written its last one by then.
    let is_supervised = match pod.supervisor()? {
        Some(process) => process.open()?.is_some(),
        None => false,
    };
    let mut report = pod.report()?;
    let state = match &mut report {
        Some(report) if report.is_finished => of_phase(report.status.phase),
        _ if record.boot_id != super::create::boot_id()? => {
            forget(report.as_mut(), None);
            PodState::Rebooted
        }
        None => PodState::Creating,
        Some(report) if is_supervised && !report.is_begun => PodState::Created,
        Some(report) if is_supervised => of_phase(report.status.phase),
        Some(report) => {
            if forget(Some(report), Some(&pod.containers())) {
                PodState::Unsupervised
            } else {
                PodState::Lost
            }
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

/// Turns containers that run no more, with nobody to learn how they ended, into terminated ones; true when one runs still.
fn forget(report: Option<&mut PodReport>, containers: Option<&StateRoot>) -> bool {
    let mut is_running = false;
    for container in report.into_iter().flat_map(|report| &mut report.status.containers) {
        let ContainerState::Running { started_at } = container.state else { continue };
        let is_alive = containers.is_some_and(|root| {
            let id = container.name.parse();
            id.is_ok_and(|id| {
                root.load(&id).is_ok_and(|state| {
                    lifecycle::status(root, &id, &state).is_ok_and(|status| status != Status::Stopped)
                })
            })
        });
        if is_alive {
            is_running = true;
            continue;
        }
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
    is_running
}
