//! `run`, `create` and `start`.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::args::{CreateArgs, Format, PodArgs};
use super::show;
use crate::command::create::{self, Request};
use crate::command::observe::{PodState, observe};
use crate::command::request::request;
use crate::control;
use crate::machine::Settings;
use crate::net::Bridge;
use crate::spec;
use crate::state::{PodDir, PodRoot};
use crate::status::{ContainerState, Phase, PodStatus, Termination, printable};

/// Names the sandbox's program to the process that replaces this one: from a detached mount nobody knows where it was.
const PAUSE_VAR: &str = "PODRT_PAUSE";
const BACKOFF_MAX: std::time::Duration = std::time::Duration::from_secs(300);
const BACKOFF_RESET: std::time::Duration = std::time::Duration::from_secs(600);

/// Creates and starts.
pub(super) fn run(root: &PodRoot, path: &Path, args: &CreateArgs) -> Result<ExitCode> {
    let pod = make(root, path, args)?;
    let status = request(&pod, &control::Request::Start)?;
    print(&pod, args.format)?;
    Ok(tell(&pod, &status))
}

/// Creates.
pub(super) fn create(root: &PodRoot, path: &Path, args: &CreateArgs) -> Result<PodDir> {
    let pod = make(root, path, args)?;
    print(&pod, args.format)?;
    Ok(pod)
}

/// Starts a created pod.
pub(super) fn start(root: &PodRoot, args: &PodArgs) -> Result<ExitCode> {
    let name = &args.pod;
    let pod = root.pod(name)?;
    let state = observe(&pod)?.state;
    if state != PodState::Created {
        bail!("pod {name} cannot be started: it is {state}; only a created pod can, and only once");
    }
    // Without the lock: a supervisor that does not answer must not keep the pod from being removed, and it starts a pod once.
    let status = request(&pod, &control::Request::Start)?;
    print(&pod, args.format)?;
    Ok(tell(&pod, &status))
}

fn make(root: &PodRoot, path: &Path, args: &CreateArgs) -> Result<PodDir> {
    let pause = pause(args)?;
    super::seal(&[(PAUSE_VAR, pause.as_os_str())])?;
    let (text, base) = read(&args.manifest)?;
    let spec = spec::parse(&text, &base).with_context(|| args.manifest.display().to_string())?;
    let bridge = match args.network.split_once(':').unwrap_or((&args.network, "")) {
        ("none", "") => None,
        ("bridge", "") => Some(Bridge::default()),
        ("bridge", text) => {
            Some(text.parse::<Bridge>().with_context(|| format!("--network {}", args.network))?)
        }
        _ => bail!("--network {}: must be none, bridge, or bridge:NAME,SUBNET", args.network),
    };
    let settings = Settings {
        backoff_base: args.restart_backoff,
        backoff_max: BACKOFF_MAX.max(args.restart_backoff),
        backoff_reset: BACKOFF_RESET,
    };
    let request = Request {
        spec,
        bridge,
        pause,
        cgroup_parent: args.cgroup_parent.clone(),
        settings,
        log_max_bytes: args.log_max_size,
        log_max_files: args.log_max_files,
    };
    create::create(root, path, request)
}

fn read(manifest: &Path) -> Result<(String, PathBuf)> {
    let here = env::current_dir().context("look up the working directory")?;
    if manifest == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read the manifest from standard input")?;
        return Ok((text, here));
    }
    let text = fs::read_to_string(manifest).with_context(|| format!("read {}", manifest.display()))?;
    let base = here.join(manifest);
    Ok((text, base.parent().map_or(here, Path::to_owned)))
}

fn pause(args: &CreateArgs) -> Result<PathBuf> {
    if let Some(path) = &args.pause {
        return fs::canonicalize(path).with_context(|| format!("--pause {}", path.display()));
    }
    if let Some(path) = env::var_os(PAUSE_VAR) {
        return Ok(path.into());
    }
    let own = env::current_exe().context("find the program")?;
    Ok(own.with_file_name("pause"))
}

/// The name of a pod, or all about it.
pub(super) fn print(pod: &PodDir, format: Format) -> Result<()> {
    match format {
        Format::Table => println!("{}", pod.name()),
        Format::Json => show::print_json(&show::document(pod)?)?,
    }
    Ok(())
}

/// Says what did not start; the exit status.
fn tell(pod: &PodDir, status: &PodStatus) -> ExitCode {
    let mut code = if status.phase == Phase::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    for container in &status.containers {
        let why = match &container.state {
            ContainerState::Waiting { reason, message } if reason.ends_with("Error") => {
                code = ExitCode::FAILURE;
                format!("{reason}: {message}; it is tried again until podrt pod stop {}", pod.name())
            }
            ContainerState::Waiting { reason, .. } if reason == "CrashLoopBackOff" => {
                code = ExitCode::FAILURE;
                let last = container.last_termination.as_ref().map(end).unwrap_or_default();
                format!("{reason}, last {last}; it is tried again until podrt pod stop {}", pod.name())
            }
            ContainerState::Terminated(termination) if termination.exit_code != Some(0) => end(termination),
            _ => continue,
        };
        // A container writes its message itself.
        eprintln!("pod {}, container {}: {}", pod.name(), container.name, printable(&why));
    }
    code
}

/// How a container ended, in a line.
fn end(termination: &Termination) -> String {
    let code = termination.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let message = termination.message.trim();
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{}{code}{message}", termination.reason)
}
