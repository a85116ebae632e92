//! `podproof mutants`: every defect against the checks that could see it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::stage::{Stage, StageArgs};
use crate::adapter::oci::OciRuntime;
use crate::catalog::Adapter;
use crate::checks::{self, Check};
use crate::interrupt;
use crate::report::defects::{self, Defect, Reach};
use crate::report::exit;
use crate::report::live::Live;
use crate::report::model::RunReport;
use crate::suite::{self, Plan};

/// Names the good runtime to the saboteur.
const BASE_ENV: &str = "PODPROOF_SABOTEUR_BASE";

/// Judges defective runtimes.
#[derive(Debug, Args)]
pub(super) struct MutantsArgs {
    /// The saboteur.
    #[arg(long, value_name = "PATH")]
    saboteur: PathBuf,
    /// The good runtime that is spoilt, by name (in PATH) or path.
    #[arg(long, value_name = "NAME|PATH")]
    base: String,
    /// Every defect against all checks, instead of its own and those that share its scenario.
    #[arg(long, conflicts_with = "own")]
    full: bool,
    /// Every defect against its own check only.
    #[arg(long)]
    own: bool,
    /// Only these defects; by default all.
    defect: Vec<String>,
    #[command(flatten)]
    stage: StageArgs,
}

impl MutantsArgs {
    fn reach(&self) -> Reach {
        match (self.own, self.full) {
            (true, _) => Reach::Own,
            (_, true) => Reach::All,
            _ => Reach::Scenario,
        }
    }
}

pub(super) fn run(args: &MutantsArgs) -> Result<u8> {
    let defects = defects::list(&args.saboteur)?;
    let chosen = choose(&defects, &args.defect)?;
    let stage = Stage::set(&args.stage)?;
    let base = stage.runtime(&args.base)?;
    let links = stage.dir().join("saboteurs");
    let installed = Command::new(&args.saboteur)
        .arg("install")
        .arg(&links)
        .status()
        .with_context(|| format!("run {}", args.saboteur.display()))?;
    ensure!(installed.success(), "{} install failed: {installed}", args.saboteur.display());

    // The control: what is spoilt must be good before, or what stands in for it.
    let mut runs = Vec::new();
    for adapter in [Adapter::Oci, Adapter::Podrt] {
        let driven: Vec<&Defect> =
            chosen.iter().filter(|defect| defect.adapter() == adapter).copied().collect();
        if !driven.is_empty() {
            runs.push(play(&stage, (base.clone(), adapter), &all_checks(&driven, args.reach()))?);
        }
    }
    for stand_in in defects::stand_ins(&args.saboteur)? {
        let served: Vec<&Defect> =
            chosen.iter().filter(|defect| stand_in.serves.contains(&defect.target)).copied().collect();
        if let Some(adapter) = served.first().map(|defect| defect.adapter()) {
            let runtime = made_of(&base, &links, defects::STAND_IN, &stand_in.name);
            runs.push(play(&stage, (runtime, adapter), &all_checks(&served, Reach::Own))?);
        }
    }
    for defect in chosen.iter().take_while(|_| interrupt::requested().is_none()) {
        let runtime = made_of(&base, &links, defects::PREFIX, &defect.name);
        runs.push(play(&stage, (runtime, defect.adapter()), &args.reach().checks(defect))?);
    }
    if args.stage.records.is_some() {
        return Ok(exit::PASSED);
    }
    Ok(super::defects::tell(&runs, &defects))
}

/// What the saboteur makes of a good runtime under one of its names.
fn made_of(base: &OciRuntime, links: &Path, prefix: &str, name: &str) -> OciRuntime {
    let mut runtime = OciRuntime { name: format!("{prefix}{name}"), path: links.join(name), ..base.clone() };
    runtime.env.insert(BASE_ENV.to_owned(), base.path.display().to_string());
    runtime
}

fn choose<'d>(defects: &'d [Defect], names: &[String]) -> Result<Vec<&'d Defect>> {
    for name in names {
        if !defects.iter().any(|defect| defect.name == *name) {
            let known: Vec<&str> = defects.iter().map(|defect| defect.name.as_str()).collect();
            bail!("no defect is called {name}; there are: {}", known.join(", "));
        }
    }
    Ok(defects.iter().filter(|defect| names.is_empty() || names.contains(&defect.name)).collect())
}

fn all_checks(defects: &[&Defect], reach: Reach) -> Vec<Check> {
    let wanted: Vec<Check> = defects.iter().flat_map(|defect| reach.checks(defect)).collect();
    let is_wanted = |check: &&Check| wanted.iter().any(|other| other.requirement.id == check.requirement.id);
    checks::all().filter(is_wanted).copied().collect()
}

fn play(stage: &Stage, subject: (OciRuntime, Adapter), checks: &[Check]) -> Result<RunReport> {
    let name = subject.0.name.clone();
    let report = stage.play(subject, None, |run, _| {
        suite::run(run, checks, Plan::default(), &stage.recorder, &Live::silent())
    })?;
    let verdicts: Vec<String> =
        report.checks.iter().map(|check| format!("{} {}", check.id, check.verdict)).collect();
    println!("{name:<36} {}", verdicts.join(", "));
    Ok(report)
}
