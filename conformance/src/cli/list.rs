//! `podproof list`.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::choice::ChoiceArgs;
use crate::checks::Check;

/// Lists requirements.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Only those of this area (`REAP`); may be given several times.
    #[arg(long, value_name = "AREA")]
    area: Vec<String>,
    /// How they are listed.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ListFormat,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// Lines.
    Text,
    /// JSON.
    Json,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let mut found = args.choice.checks()?;
    if !args.area.is_empty() {
        let is_wanted =
            |check: &Check| args.area.iter().any(|area| area.eq_ignore_ascii_case(check.requirement.area()));
        found.retain(is_wanted);
    }
    if found.is_empty() {
        bail!("no requirement of {} matches; see `podproof list`", args.area.join(" "));
    }
    match args.format {
        ListFormat::Text => tell(&found),
        ListFormat::Json => {
            let all: Vec<serde_json::Value> = found.iter().map(described).collect();
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
    }
    Ok(())
}

fn tell(found: &[Check]) {
    let mut area = "";
    for check in found {
        let requirement = check.requirement;
        if requirement.area() != area {
            area = requirement.area();
            println!("\n{area}: {}", requirement.area_title());
        }
        println!("  {:<8} {:<7} {}", requirement.id, requirement.level.to_string(), requirement.statement);
    }
}

fn described(check: &Check) -> serde_json::Value {
    let requirement = check.requirement;
    let defects = requirement.defects.iter().map(|(name, does)| json!({ "name": name, "does": does }));
    json!({
        "id": requirement.id,
        "area": requirement.area(),
        "name": requirement.name.replace('_', " "),
        "level": requirement.level,
        "statement": requirement.statement,
        "clause": requirement.source,
        "subject": requirement.subject,
        "adapters": requirement.adapters,
        "scenario": requirement.scenario,
        "inside": requirement.inside,
        "kernel": requirement.kernel,
        "defects": defects.collect::<Vec<_>>(),
    })
}
