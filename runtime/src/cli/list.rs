//! `podrt list`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use anyhow::Context;
use nix::unistd::{Uid, User};

use super::args::ListFormat;
use super::log::Log;
use super::state::document;
use crate::launch::lifecycle;
use crate::state::StateRoot;

/// Prints the containers, in the forms of runc.
///
/// # Errors
/// Why they are not known. A container whose state is damaged is a warning.
pub fn list(root: &StateRoot, format: ListFormat, is_quiet: bool, log: &Log) -> anyhow::Result<()> {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    let mut documents = Vec::new();
    for id in root.list()? {
        if is_quiet {
            rows.push([const { String::new() }; 6]);
            if let Some(row) = rows.last_mut() {
                row[0] = id.to_string();
            }
            continue;
        }
        let loaded = root.load(&id).map_err(anyhow::Error::from);
        let loaded = loaded.and_then(|state| Ok((lifecycle::status(root, &id, &state)?, state)));
        let (status, state) = match loaded {
            Ok(loaded) => loaded,
            // Deleted meanwhile.
            Err(_) if !root.directory(&id).exists() => continue,
            Err(error) => {
                log.warning(&format!("container {id}: {error:#}"));
                continue;
            }
        };
        let uid = fs::metadata(root.directory(&id)).map_or(0, |directory| directory.uid());
        let owner = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let owner = owner.map_or_else(|| format!("#{uid}"), |user| user.name);
        let document = document(&state, status, &owner);
        rows.push([
            document.id.to_owned(),
            document.pid.to_string(),
            status.to_string(),
            document.bundle.display().to_string(),
            document.created.to_owned(),
            owner.clone(),
        ]);
        documents.push(serde_json::to_value(&document).context("write JSON")?);
    }
    let text = match format {
        _ if is_quiet => rows.iter().skip(1).map(|row| format!("{}\n", row[0])).collect(),
        ListFormat::Table => table(&rows),
        ListFormat::Json => format!("{}\n", serde_json::to_string(&documents).context("write JSON")?),
    };
    std::io::stdout().write_all(text.as_bytes()).context("write to stdout")
}

/// Columns of at least 12 characters with 3 between them, as runc prints them.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let length = |text: &str| text.chars().count();
    let widths: Vec<usize> =
        (0..N).map(|i| rows.iter().map(|row| length(&row[i]) + 3).max().unwrap_or(0).max(12)).collect();
    let mut text = String::new();
    for row in rows {
        let last = row.len() - 1;
        for (cell, width) in row[..last].iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - length(cell)));
        }
        text.push_str(&row[last]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_those_of_runc() {
        let rows =
            [["ID", "PID", "OWNER"], ["a-long-name-of-one", "7", "root"]].map(|r| r.map(str::to_owned));
        let expected = "ID                   PID         OWNER\na-long-name-of-one   7           root\n";
        assert_eq!(table(&rows), expected);
    }
}
