//! The matrix of defects as a page in Markdown.

use std::collections::BTreeMap;

use super::{Matrix, Reach, Row};
use crate::checks;
use crate::report::matrix::escaped;

const HEAD: &str = "# What the saboteur is caught by

Made from `defects.json` by `cargo xtask mutants --json docs/defects.json --render`; [report.md](report.md) tells how both are made from
new runs. Each line is podrt with one defect, and the check that has to fail because of it. \"Judged\" is how many checks gave a verdict on it,
and which those were. A number leads to the reason, below, for which the defect turns another check red, too.
";

impl Matrix {
    /// As a page in Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        let mut text = HEAD.to_owned();
        text += &self.sums();
        let mut notes = Notes::default();
        let mut area = "";
        for row in &self.defects {
            let target = row.targets.first().map_or("", String::as_str);
            let own = target.split('-').next().unwrap_or(target);
            if own != area {
                area = own;
                let title = checks::find(target).map_or("", |check| check.requirement.area_title());
                text += &format!("\n## {area}: {title}\n\n");
                text += "| defect | what it does | caught by | judged | also red |\n|---|---|---|---|---|\n";
            }
            let cells = [row.name.as_str(), row.does.as_str()].map(escaped);
            text += &format!("| {} | {} | {} | ", cells.join(" | "), row.outcome(target), row.extent());
            text += &format!("{} |\n", row.others(&mut notes));
        }
        text + &notes.render()
    }

    /// The score, and how far it goes.
    fn sums(&self) -> String {
        let unexplained: usize = self.defects.iter().map(|row| row.unexpected_red.len()).sum();
        let mut text = format!(
            "\n**Caught: {} of {} defects ({:.0} %). Other checks that turned red without a reason: {unexplained}.**\n",
            self.n_caught(),
            self.defects.len(),
            self.score * 100.0
        );
        for check in &self.control_red {
            text += &format!("\nThe good runtime itself: {}.\n", escaped(check));
        }
        let mut groups: BTreeMap<(Option<Reach>, &str, &str), usize> = BTreeMap::new();
        for row in &self.defects {
            *groups.entry((row.reach, &row.kernel, &row.machine)).or_default() += 1;
        }
        text += "\n| tried on | kernel | machine | defects |\n|---|---|---|--:|\n";
        for ((reach, kernel, machine), count) in groups.iter().rev() {
            let (kernel, machine) = (escaped(kernel), escaped(machine));
            text += &format!("| {} | {kernel} | {machine} | {count} |\n", tried(*reach));
        }
        text
    }
}

impl Row {
    fn outcome(&self, target: &str) -> String {
        match &self.missed {
            None => escaped(target),
            Some(missed) => format!("**missed**: {}", escaped(missed.trim_end())),
        }
    }

    fn extent(&self) -> String {
        let which = match self.reach {
            Some(Reach::All) => format!("all by {}", self.adapter),
            Some(Reach::Scenario) => "of its scenario".to_owned(),
            Some(Reach::Own) => "its own".to_owned(),
            None => "the run ended early".to_owned(),
        };
        format!("{}, {}", self.n_judged, escaped(&which))
    }

    fn others(&self, notes: &mut Notes) -> String {
        /// More of them, for one reason, are told by their number.
        const FEW: usize = 20;
        let mut reasons: Vec<_> = self.also_red.iter().map(|red| red.because.as_deref()).collect();
        reasons.dedup();
        if let ([Some(reason)], FEW..) = (reasons.as_slice(), self.also_red.len()) {
            return format!("{} {}", self.also_red.len(), notes.number("all of them", reason, &self.name));
        }
        let mut others = Vec::new();
        for red in &self.also_red {
            others.push(match &red.because {
                Some(reason) => {
                    format!("{} {}", escaped(&red.id), notes.number(&red.id, reason, &self.name))
                }
                None => {
                    format!("**{}, unexplained**: {} ({})", escaped(&red.id), red.verdict, escaped(&red.said))
                }
            });
        }
        others.join(", ")
    }
}

fn tried(reach: Option<Reach>) -> &'static str {
    match reach {
        Some(Reach::All) => "every check that its adapter drives",
        Some(Reach::Scenario) => "its own check and those that share its scenario",
        Some(Reach::Own) => "its own check only, so that nobody knows what else it turns red",
        None => "less than its own check: the run ended early",
    }
}

/// Reasons with the defects that they are given for; equal ones of one check share a number.
#[derive(Debug, Default)]
struct Notes {
    notes: Vec<(String, Vec<String>)>,
}

impl Notes {
    fn number(&mut self, id: &str, reason: &str, defect: &str) -> usize {
        let reason = format!("{id}: {reason}");
        let index = self.notes.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
            self.notes.push((reason, Vec::new()));
            self.notes.len() - 1
        });
        self.notes[index].1.push(defect.to_owned());
        index + 1
    }

    fn render(&self) -> String {
        let lines = self.notes.iter().enumerate().map(|(index, (reason, whose))| {
            format!("{}. {} ({})\n", index + 1, escaped(reason), escaped(&whose.join(", ")))
        });
        let lines: String = lines.collect();
        if lines.is_empty() { lines } else { format!("\n## Reasons\n\n{lines}") }
    }
}
