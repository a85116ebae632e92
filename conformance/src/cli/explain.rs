//! `podproof explain`.

use anyhow::{Context, Result};
use clap::Args;

use crate::checks;

/// Explains a requirement.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Its id, such as REAP-15.
    id: String,
}

pub(super) fn run(args: &ExplainArgs) -> Result<()> {
    let check = checks::find(&args.id)
        .with_context(|| format!("no requirement {}; `podproof list` shows them all", args.id))?;
    let requirement = check.requirement;
    let title = requirement.name.replace('_', " ");
    println!("{}: {title}", requirement.id);
    let adapters: Vec<String> = requirement.adapters.iter().map(ToString::to_string).collect();
    let (level, subject, area) = (requirement.level, requirement.subject, requirement.area_title());
    println!("{level} for {subject}, by adapter {}; area: {area}\n", adapters.join(" or "));
    let section = |name: &str, text: &str| {
        println!("{name}");
        println!("{}\n", wrapped(text));
    };
    section("What must hold", requirement.statement);
    section("Where that is asked for", requirement.source);
    section("What is played", requirement.scenario);
    section(
        "What the witness shows (the suite's program inside the container, and plain reads on the node)",
        requirement.inside,
    );
    section(
        "What the kernel shows (its eBPF trace, and its own records read from outside)",
        requirement.kernel,
    );
    section(
        "How it is judged",
        "It fails when either witness shows a violation, and passes only when both show that it holds. It is \
         inconclusive when evidence is missing or lost, or when the two give different values for the same \
         measurement.",
    );
    println!("What proves that this check can fail");
    for (name, defect) in requirement.defects {
        println!("{}", wrapped(&format!("{name}: {defect}.")));
    }
    Ok(())
}

/// Words in lines of at most 96 columns, indented by two.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 96 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.join("\n")
}
