//! `podrt ps`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;

use anyhow::{Context, bail};

use super::args::ListFormat;
use crate::cgroup::remove;
use crate::spec::ContainerId;
use crate::state::StateRoot;

/// Prints the processes in the container's cgroup and below: their ids as JSON, or what ps(1) of the node says about them.
///
/// # Errors
/// Why they are not known, or ps cannot be used.
pub fn ps(root: &StateRoot, id: &ContainerId, format: ListFormat, options: &[String]) -> anyhow::Result<()> {
    let state = root.load(id)?;
    let pids: BTreeSet<i32> =
        remove::processes(&state.cgroup, &root.owner(id))?.into_iter().map(|pid| pid.as_raw()).collect();
    let text = match format {
        ListFormat::Json => format!("{}\n", serde_json::to_string(&pids).context("write JSON")?),
        ListFormat::Table => {
            let output =
                Command::new("ps").args(options).output().context("run ps (--format json needs none)")?;
            if !output.status.success() {
                bail!("ps {}: {}", options.join(" "), String::from_utf8_lossy(&output.stderr).trim_end());
            }
            table(&String::from_utf8_lossy(&output.stdout), &pids)?
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("write to stdout")
}

/// The header and the lines of these processes.
fn table(text: &str, pids: &BTreeSet<i32>) -> anyhow::Result<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|name| name == "PID") else {
        bail!("ps gives no column PID; add an option that makes it, such as -ef or -o pid,args");
    };
    let is_wanted = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(header).chain(lines.filter(is_wanted)).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_the_column_pid() {
        let text = "UID PID PPID CMD\nroot 1 0 init\nroot 12 1 a b\nroot 13 12 c\n";
        assert_eq!(table(text, &[12, 13].into()).unwrap(), "UID PID PPID CMD\nroot 12 1 a b\nroot 13 12 c\n");
        assert!(table("A B\n1 2\n", &[1].into()).is_err());
    }
}
