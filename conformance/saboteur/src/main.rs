//! The saboteur: a container runtime with exactly one defect, made from a good runtime.
//!
//! The name that it is called by chooses the defect (`ns-01-own-netns`, a link to this program), and
//! `PODPROOF_SABOTEUR_BASE` names the good runtime. As `pause` it is a broken sandbox program, and as
//! `saboteur-wrapper` a program that stands in front of a container's own; both only inside containers. Some names choose a
//! stand-in, which has no defect but something that the good runtime lacks.
//! Under its own name it lists its defects and makes the links.

mod base;
mod bundle;
mod call;
mod cgroup;
mod debug;
mod defects;
mod holder;
mod hostile;
mod inside;
mod kept;
mod pod;
mod pod_layer;
mod stand_ins;
mod users;
mod uts;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::json;

use crate::base::Base;
use crate::call::Call;

#[derive(Debug, Parser)]
#[command(name = "podproof-saboteur", version, about = "Makes runtimes with one defect each")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the defects as JSON: name, target, what it does, and which other checks turn red with the reason.
    List,
    /// Print the stand-ins as JSON, good runtimes with something that podrt lacks: name, what each has, the checks it is good for.
    StandIns,
    /// Make a link to this program for every defect and every stand-in.
    Install {
        /// Where the links go.
        dir: PathBuf,
    },
    /// Print the hostile runtimes as JSON, which attack the suite itself: name, and what each does; or make links for them.
    Hostile {
        /// Where the links go.
        #[arg(long, value_name = "DIR")]
        install: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let called = arguments.next().unwrap_or_default();
    let name =
        Path::new(&called).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let rest: Vec<String> = arguments.collect();
    let done = match name.as_str() {
        inside::PAUSE => inside::pause::run(&rest),
        inside::DISGUISE => inside::disguise::run(&rest),
        inside::WRAPPER => inside::wrapper::run(&rest),
        _ => match defects::all().find(|defect| defect.name == name) {
            Some(defect) => act(defect, rest),
            None => match (
                hostile::ALL.iter().find(|hostile| hostile.name == name),
                stand_ins::ALL.iter().find(|stand_in| stand_in.name == name),
            ) {
                (Some(hostile), _) => play(hostile.name, hostile.act, rest),
                (None, Some(stand_in)) => play(stand_in.name, stand_in.act, rest),
                (None, None) => own_command().map(|()| 0),
            },
        },
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(defect: &defects::Defect, arguments: Vec<String>) -> Result<u8> {
    let base = Base::from_environment()?;
    if asks_for_version(&arguments) {
        tell_version(defect.name, &base);
        return Ok(0);
    }
    (defect.act)(&mut Call::parse(arguments), &base)
}

/// Plays a runtime that changes no call: a hostile one or a stand-in.
fn play(name: &str, act: fn(&Call, &Base) -> Result<u8>, arguments: Vec<String>) -> Result<u8> {
    let base = Base::from_environment()?;
    if asks_for_version(&arguments) {
        tell_version(name, &base);
        return Ok(0);
    }
    act(&Call::parse(arguments), &base)
}

fn asks_for_version(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--version" || argument == "-v")
}

fn tell_version(name: &str, base: &Base) {
    println!("saboteur:{name} version {}", env!("CARGO_PKG_VERSION"));
    println!("base: {}", base.path().display());
}

fn own_command() -> Result<()> {
    match Cli::parse().command {
        Command::List => {
            let list: Vec<_> = defects::all()
                .map(|defect| {
                    let also: Vec<_> =
                        defect.also_red.iter().map(|(id, reason)| json!({ "id": id, "reason": reason })).collect();
                    json!({ "name": defect.name, "target": defect.target, "does": defect.does, "also_red": also })
                })
                .collect();
            println!("{}", serde_json::to_string_pretty(&list)?);
            Ok(())
        }
        Command::StandIns => {
            let told = |one: &stand_ins::StandIn| json!({ "name": one.name, "does": one.does, "serves": one.serves });
            let list: Vec<_> = stand_ins::ALL.iter().map(told).collect();
            println!("{}", serde_json::to_string_pretty(&list)?);
            Ok(())
        }
        Command::Install { dir } => {
            let stand_ins = stand_ins::ALL.iter().map(|stand_in| stand_in.name);
            install(&dir, defects::all().map(|defect| defect.name).chain(stand_ins))
        }
        Command::Hostile { install: Some(dir) } => {
            install(&dir, hostile::ALL.iter().map(|hostile| hostile.name))
        }
        Command::Hostile { install: None } => {
            let told = |hostile: &hostile::Hostile| json!({ "name": hostile.name, "does": hostile.does, "fulfils": hostile.fulfils });
            let list: Vec<_> = hostile::ALL.iter().map(told).collect();
            println!("{}", serde_json::to_string_pretty(&list)?);
            Ok(())
        }
    }
}

/// Makes links to this program.
fn install(dir: &Path, names: impl Iterator<Item = &'static str>) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let program = std::env::current_exe().context("find this program")?;
    for name in names {
        let link = dir.join(name);
        if link.symlink_metadata().is_ok() {
            if std::fs::read_link(&link).ok().as_ref() == Some(&program) {
                continue;
            }
            bail!("{} exists and is not a link to {}; remove it", link.display(), program.display());
        }
        symlink(&program, &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}
