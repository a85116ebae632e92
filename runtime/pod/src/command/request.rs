//! Asking a supervisor that may end before it has answered.

use anyhow::{Result, bail};

use super::observe::{PodState, observe};
use crate::control::Request;
use crate::control::client::{self, ClientError};
use crate::state::PodDir;
use crate::status::PodStatus;

/// Sends a request to the supervisor of a pod, and waits for its answer. A supervisor ends with its pod, be it before it was asked
/// or while it was: then its last report is the answer, which is written before the socket is closed.
///
/// # Errors
/// [`ClientError`], or what could not be read of the pod.
pub fn request(pod: &PodDir, request: &Request) -> Result<PodStatus> {
    match client::call(pod, request) {
        Err(error @ ClientError::Unsupervised { .. }) => {
            let observed = observe(pod)?;
            match (observed.state, observed.report) {
                (_, Some(report)) if report.is_finished => Ok(report.status),
                (state @ (PodState::Lost | PodState::Rebooted), _) => bail!(
                    "pod {} is {state}: nothing of it runs any more, and nobody knows how it ended; remove it with \
                     podrt pod rm {0}",
                    pod.name()
                ),
                _ => Err(error.into()),
            }
        }
        result => Ok(result?),
    }
}
