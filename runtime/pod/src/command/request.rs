//! Asking a supervisor that may end before it has answered.

use anyhow::Result;

use super::observe::observe;
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
        Err(error @ ClientError::Unsupervised { .. }) => match observe(pod)?.report {
            Some(report) if report.is_finished => Ok(report.status),
            _ => Err(error.into()),
        },
        result => Ok(result?),
    }
}
