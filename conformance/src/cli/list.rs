//! `podproof list`.

use anyhow::{Result, bail};
use clap::Args;

use crate::checks;

/// Lists requirements.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those whose id or name contains this.
    filter: Vec<String>,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let found = checks::matching(&args.filter);
    if found.is_empty() {
        bail!("no requirement matches {}; see `podproof list`", args.filter.join(" "));
    }
    let mut area = "";
    for check in found {
        let requirement = check.requirement;
        if requirement.area() != area {
            area = requirement.area();
            println!("\n{area}: {}", requirement.area_title());
        }
        println!("  {:<8} {:<7} {}", requirement.id, requirement.level.to_string(), requirement.statement);
    }
    Ok(())
}
