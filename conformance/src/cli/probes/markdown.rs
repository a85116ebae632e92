//! The tables of docs/probes.md, from the same data that the programs are loaded by.

use super::text::lacking;
use super::{Listed, ListedSignal};

pub(super) fn tables(all: &Listed) -> String {
    let mut text = String::from("## Programs\n\n");
    table(&mut text, &["program", "tier", "source", "need", "attached", "gives", "instead"]);
    for program in &all.probes {
        line(
            &mut text,
            &[
                &code(&program.name),
                &program.tier.to_string(),
                &code(&format!("{}/{}", program.mechanism, program.hook)),
                if program.required { "required" } else { "optional" },
                match (program.on_demand, program.on_request) {
                    (true, _) => "while a scope is open",
                    (_, true) => "on request",
                    _ => "always",
                },
                &program.gives,
                &program.fallback,
            ],
        );
    }
    text.push_str("\n## Signals\n\n");
    table(&mut text, &["signal", "tells", "tier 1", "tier 2", "tier 3"]);
    for signal in &all.signals {
        let [first, second, third] = [1, 2, 3].map(|tier| of_tier(signal, tier));
        line(&mut text, &[signal.name, signal.gives, &first, &second, &third]);
    }
    text.push_str("\n## Counters\n\n");
    table(&mut text, &["source", "tier", "counters"]);
    for counters in &all.counters {
        let names: Vec<String> = counters.names.iter().map(|name| code(name)).collect();
        line(&mut text, &[&code(&counters.source), &counters.tier.to_string(), &names.join(" ")]);
    }
    text
}

/// The sources of one tier, the best first.
fn of_tier(signal: &ListedSignal, tier: u8) -> String {
    let sources = signal.sources.iter().filter(|source| source.tier == tier);
    let cell = |hooks: &[String], lost: &str| {
        let hooks: Vec<String> = hooks.iter().map(|hook| code(hook)).collect();
        lacking(&hooks, lost)
    };
    sources.map(|source| cell(&source.source, source.lost)).collect::<Vec<_>>().join("; else ")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn table(text: &mut String, heads: &[&str]) {
    line(text, heads);
    text.push_str(&format!("|{}\n", "---|".repeat(heads.len())));
}

fn line(text: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    text.push_str(&format!("| {} |\n", cells.join(" | ")));
}
