//! `logs`.

use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::args::{Format, LogsArgs};
use crate::command::observe::observe;
use crate::logs::{Form, Options, attempts, read};
use crate::state::{PodDir, PodRoot};
use crate::status::ContainerState;

/// Shows the output of one run of a container.
pub(super) fn logs(root: &PodRoot, args: &LogsArgs) -> Result<ExitCode> {
    let pod = root.pod(&args.pod)?;
    let record = observe(&pod)?.record.with_context(|| format!("pod {} is being created", args.pod))?;
    let name = super::choose(&args.pod, &record.spec, args.container.as_deref())?;
    if args.container.is_none() && record.spec.containers.len() > 1 {
        eprintln!("shown is container {name}; choose another with -c: {}", super::names(&record.spec));
    }
    let runs = attempts(&pod.logs(name))?;
    let run = match (args.previous, runs.as_slice()) {
        (false, [.., last]) => *last,
        (true, [.., before, _]) => *before,
        (true, _) => {
            bail!("container {name} of pod {} was not started again: it has no earlier run", args.pod)
        }
        (false, []) => bail!("container {name} of pod {} was not started yet", args.pod),
    };
    let options = Options {
        is_followed: args.follow,
        tail: args.tail,
        since: args.since.and_then(|since| SystemTime::now().checked_sub(since)),
        has_timestamps: args.timestamps,
        form: match args.format {
            Format::Table => Form::Text,
            Format::Json => Form::Json { container: name },
        },
        ..Options::default()
    };
    let path = pod.log(name, run);
    let (mut out, mut err) = (BufWriter::new(io::stdout().lock()), BufWriter::new(io::stderr().lock()));
    let summary = read(&path, &options, &mut out, &mut err, || is_over(&pod, name, run))
        .with_context(|| format!("read {}", path.display()))?;
    drop((out, err));
    match summary.n_skipped {
        0 => {}
        1 => eprintln!("{}: 1 line is no record and is left out", path.display()),
        n => eprintln!("{}: {n} lines are no records and are left out", path.display()),
    }
    Ok(ExitCode::SUCCESS)
}

/// True when nothing more will come of a run.
fn is_over(pod: &PodDir, container: &str, run: u32) -> bool {
    let Ok(observed) = observe(pod) else { return true };
    if attempts(&pod.logs(container)).is_ok_and(|runs| runs.last().is_some_and(|last| *last > run)) {
        return true;
    }
    let mut statuses = observed.report.iter().flat_map(|report| &report.status.containers);
    let status = statuses.find(|status| status.name == container);
    !status.is_some_and(|status| match &status.state {
        ContainerState::Running { .. } => true,
        // It runs; the report comes once all that start with it do.
        ContainerState::Waiting { reason, .. } => {
            status.restart_count == run && ["ContainerCreating", "PodInitializing"].contains(&reason.as_str())
        }
        ContainerState::Terminated(_) => false,
    })
}
