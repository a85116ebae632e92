//! `stop`, `kill`, `rm`, `wait` and `gc`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use runtime::cli::kill::parse_signal;
use runtime::launch;
use runtime::state::store::LOCK_DEADLINE;
use serde_json::json;

use super::args::{Format, PodArgs};
use super::create::print;
use super::show::print_json;
use crate::command::observe::{PodState, observe};
use crate::command::request::request;
use crate::command::{gc as collect, remove};
use crate::control::Request;
use crate::control::client::ClientError;
use crate::state::{PodRoot, StateError};
use crate::status::{ContainerState, Phase};

/// Ends the containers, then the sandbox.
pub(super) fn stop(root: &PodRoot, name: &str, time: Option<u64>, format: Format) -> Result<ExitCode> {
    let pod = root.pod(name)?;
    let observed = observe(&pod)?;
    match observed.state {
        PodState::Created | PodState::Pending | PodState::Running => {}
        PodState::Creating => {
            bail!("pod {name} is being created; wait, or remove its remains with podrt pod gc")
        }
        // As for the API: a pod that has ended is as it should be.
        PodState::Succeeded | PodState::Failed | PodState::Rebooted | PodState::Lost => {
            print(&pod, format)?;
            return Ok(ExitCode::SUCCESS);
        }
        PodState::Unsupervised => {
            bail!(ClientError::Unsupervised { name: name.to_owned() });
        }
    }
    request(&pod, &Request::Stop { grace_period: time.map(Duration::from_secs) })?;
    print(&pod, format)?;
    Ok(ExitCode::SUCCESS)
}

/// Sends a signal to containers.
pub(super) fn kill(
    root: &PodRoot,
    name: &str,
    signal: &str,
    container: Option<&str>,
    format: Format,
) -> Result<ExitCode> {
    let number = parse_signal(signal)?;
    let pod = root.pod(name)?;
    let observed = observe(&pod)?;
    let state = observed.state;
    let report =
        observed.report.with_context(|| format!("no container of pod {name} runs: it is {state}"))?;
    if let Some(wanted) = container
        && !report.status.containers.iter().any(|status| status.name == wanted)
    {
        let names: Vec<&str> = report.status.containers.iter().map(|status| status.name.as_str()).collect();
        bail!("pod {name} has no container {wanted}; it has: {}", names.join(", "));
    }
    let (mut reached, mut failed) = (Vec::new(), None);
    for status in
        report.status.containers.iter().filter(|status| container.is_none_or(|name| status.name == name))
    {
        if matches!(status.state, ContainerState::Running { .. }) {
            match launch::kill(&pod.containers(), &status.name.parse()?, number, false) {
                Ok(()) => reached.push(status.name.as_str()),
                // One that has just ended keeps no signal from the others.
                Err(error) => failed = Some((status.name.as_str(), error)),
            }
        }
    }
    if format == Format::Json {
        print_json(&json!({"name": name, "signal": number, "containers": reached}))?;
    }
    match (reached.is_empty(), failed, container) {
        (false, ..) => Ok(ExitCode::SUCCESS),
        (true, Some((container, error)), _) => Err(error).with_context(|| format!("container {container}")),
        (true, None, Some(container)) => bail!("container {container} of pod {name} does not run"),
        (true, None, None) => bail!("no container of pod {name} runs"),
    }
}

/// Removes pods.
pub(super) fn rm(root: &PodRoot, names: &[String], is_forced: bool, format: Format) -> Result<ExitCode> {
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        match rm_one(root, name, is_forced) {
            Ok(()) => {
                if format == Format::Table {
                    println!("{name}");
                }
                removed.push(name);
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(json!({"name": name, "error": format!("{error:#}")}));
            }
        }
    }
    if format == Format::Json {
        print_json(&json!({"removed": removed, "failed": failed}))?;
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rm_one(root: &PodRoot, name: &str, is_forced: bool) -> Result<()> {
    let pod = root.pod(name)?;
    let _lock = match pod.lock_within(LOCK_DEADLINE) {
        Err(StateError::Unknown { .. }) if is_forced => return Ok(()),
        result => result?,
    };
    if !is_forced {
        let state = observe(&pod)?.state;
        if !matches!(state, PodState::Succeeded | PodState::Failed | PodState::Lost | PodState::Rebooted) {
            bail!(
                "pod {name} cannot be removed: it is {state}; stop it first (podrt pod stop {name}), or use rm --force"
            );
        }
    }
    remove::destroy(root, &pod).with_context(|| format!("remove pod {name}"))
}

/// Waits for the end.
pub(super) fn wait(root: &PodRoot, args: &PodArgs) -> Result<ExitCode> {
    let pod = root.pod(&args.pod)?;
    let phase = request(&pod, &Request::WaitFinished)?.phase;
    match args.format {
        Format::Json => print_json(&json!({"name": args.pod, "phase": phase}))?,
        Format::Table => println!("{phase:?}"),
    }
    Ok(if phase == Phase::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cleans up.
pub(super) fn gc(root: &PodRoot, format: Format) -> Result<ExitCode> {
    let collected = collect::gc(root)?;
    match format {
        Format::Json => print_json(&json!({"removed": collected.removed, "left": collected.left}))?,
        Format::Table => {
            collected.removed.iter().for_each(|what| println!("removed: {what}"));
            collected.left.iter().for_each(|what| eprintln!("left: {what}"));
        }
    }
    Ok(if collected.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
