//! House rules that no other tool checks: module documentation, no forgotten work, no path of somebody's machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Endings of files that people write and read.
const TEXT: [&str; 10] = ["rs", "toml", "md", "json", "yml", "yaml", "sh", "html", "css", "js"];
/// Split, so that this file keeps the rules.
const FORGOTTEN: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
const PRIVATE_DIRS: [&str; 3] = [concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Prints every offence; true when there is none.
pub(crate) fn run() -> Result<bool> {
    let mut files = Vec::new();
    collect(workspace::root(), &mut files)?;
    files.sort();
    let mut is_clean = true;
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(workspace::root()).unwrap_or(&file);
        for (line, offence) in offences(name, &text) {
            is_clean = false;
            eprintln!("{}:{line}: {offence}", name.display());
        }
    }
    Ok(is_clean)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() && name != "target" && name != ".git" {
            collect(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|end| TEXT.iter().any(|text| end == *text)) {
            files.push(path);
        }
    }
    Ok(())
}

fn offences(name: &Path, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    if name.extension().is_some_and(|end| end == "rs") && !text.starts_with("//!") {
        found.push((1, "the file does not begin with its module documentation (//!)".to_owned()));
    }
    for (idx, line) in text.lines().enumerate() {
        for word in FORGOTTEN.iter().filter(|word| line.contains(**word)) {
            found.push((idx + 1, format!("{word}: do it, or open an issue")));
        }
        for dir in PRIVATE_DIRS.iter().filter(|dir| has_path(line, dir)) {
            found.push((idx + 1, format!("a path below {dir} is of one machine only")));
        }
    }
    found
}

/// Whether `line` has an absolute path below `dir`; in the middle of another path it is no offence.
fn has_path(line: &str, dir: &str) -> bool {
    line.match_indices(dir).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}/~".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_offence() {
        let rust = Path::new("a/b.rs");
        assert_eq!(offences(rust, "//! Owns nothing.\nfn main() {}\n"), []);
        let bad = format!("fn main() {{}} // {}\nconst A: &str = \"{}me\";\n", FORGOTTEN[0], PRIVATE_DIRS[0]);
        let lines: Vec<usize> = offences(rust, &bad).iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 1, 2]);
        assert_eq!(offences(Path::new("a.md"), "no module documentation, target/work/x\n"), []);
    }
}
