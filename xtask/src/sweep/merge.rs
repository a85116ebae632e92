//! A sweep of some commands in a document that has others.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// What two runs have in common whose rows may stand in one table.
const SAME: [&str; 4] = ["/runtime/name", "/runtime/version", "/kernel", "/machine"];
/// The lists of a run whose entries have a `command`.
const LISTS: [&str; 2] = ["rows", "unplayed"];

/// Reads the runs of a document.
///
/// # Errors
/// When it cannot be read, or is not one that this podproof writes.
pub(super) fn runs(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let document: Value =
        serde_json::from_str(&text).with_context(|| format!("{}: no JSON", path.display()))?;
    let own = env!("CARGO_PKG_VERSION");
    let is_own = document["schema"] == 1 && document["podproof"] == own;
    ensure!(is_own, "--merge: {} is not a sweep of podproof {own}", path.display());
    Ok(entries(&document["runs"]))
}

/// The runs of a document with new ones: in a run of the same runtime, version, kernel and machine, commands that were swept take
/// the place of what was there of them, and others stay; other runs stay beside it.
pub(super) fn merge(mut kept: Vec<Value>, new: Vec<Value>) -> Vec<Value> {
    let n_kept = kept.len();
    for run in new {
        let is_same = |old: &&mut Value| SAME.iter().all(|at| old.pointer(at) == run.pointer(at));
        match kept.iter_mut().take(n_kept).find(is_same) {
            Some(old) => *old = merged(old, run),
            None => kept.push(run),
        }
    }
    kept
}

fn merged(old: &Value, mut run: Value) -> Value {
    let swept: Vec<Value> =
        LISTS.iter().flat_map(|list| entries(&run[list])).map(|entry| entry["command"].clone()).collect();
    for list in LISTS {
        let (mut joined, mut new) = (Vec::new(), entries(&run[list]));
        for entry in entries(&old[list]) {
            // In the place of those that they replace.
            joined.extend(new.extract_if(.., |other| other["command"] == entry["command"]));
            if !swept.contains(&entry["command"]) {
                joined.push(entry);
            }
        }
        joined.extend(new);
        run[list] = joined.into();
    }
    run["leaks"] = json!(entries(&run["rows"]).iter().map(|row| entries(&row["leaks"]).len()).sum::<usize>());
    run
}

fn entries(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn row(command: &str, victim: &str, n_leaks: usize) -> Value {
        json!({ "command": command, "victim": victim, "leaks": vec![0; n_leaks] })
    }

    fn run(kernel: &str, rows: &[Value], unplayed: &[&str]) -> Value {
        let unplayed: Vec<Value> = unplayed.iter().map(|name| json!({ "command": name })).collect();
        let leaks: usize = rows.iter().map(|row| entries(&row["leaks"]).len()).sum();
        json!({ "runtime": { "name": "r", "version": "1" }, "kernel": kernel, "machine": "vm-tcg", "rows": rows,
                "unplayed": unplayed, "leaks": leaks })
    }

    #[test]
    fn commands_take_the_place_of_what_was_there_of_them() {
        let old =
            run("a", &[row("create", "itself", 1), row("create", "child", 2), row("run", "itself", 4)], &[]);
        let new = run("a", &[row("create", "itself", 8), row("kill", "itself", 16)], &[]);
        let whole =
            run("a", &[row("create", "itself", 8), row("run", "itself", 4), row("kill", "itself", 16)], &[]);
        assert_eq!(merge(vec![old], vec![new]), [whole]);
    }

    #[test]
    fn a_command_that_fails_by_itself_has_no_row_of_another_time() {
        let (good, bad) = (run("a", &[row("run", "itself", 1)], &[]), run("a", &[], &["run"]));
        assert_eq!(merge(vec![good.clone()], vec![bad.clone()]), slice::from_ref(&bad));
        assert_eq!(merge(vec![bad], vec![good.clone()]), [good]);
    }

    #[test]
    fn runs_of_something_else_stay_beside_it() {
        let old = run("a", &[row("create", "itself", 1)], &[]);
        let other_kernel = run("b", &[row("create", "itself", 2)], &[]);
        for at in ["/runtime/name", "/runtime/version", "/kernel", "/machine"] {
            let mut other = other_kernel.clone();
            other["kernel"] = json!("a");
            *other.pointer_mut(at).unwrap() = json!("other");
            assert_eq!(merge(vec![old.clone()], vec![other.clone()]), [old.clone(), other], "{at}");
        }
        // A machine that died has sent none.
        assert_eq!(merge(vec![old.clone()], vec![]), [old]);
    }

    #[test]
    fn only_a_document_of_this_version_is_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let own = json!({ "schema": 1, "podproof": env!("CARGO_PKG_VERSION"), "runs": [1] });
        fs::write(&path, own.to_string()).unwrap();
        assert_eq!(runs(&path).unwrap(), [1]);
        for (name, value) in [("schema", json!(2)), ("podproof", json!("0"))] {
            let mut other = own.clone();
            other[name] = value;
            fs::write(&path, other.to_string()).unwrap();
            assert!(runs(&path).unwrap_err().to_string().contains("is not a sweep of podproof"), "{name}");
        }
    }
}
