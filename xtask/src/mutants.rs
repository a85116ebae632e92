//! `cargo xtask mutants`: spoils a good runtime, one defect at a time, and proves that the checks notice.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::suite::{self, MachineArgs, Run};

/// Where the good runtime is in the guest.
const BASE: &str = "/opt/runtimes/base/podrt";

/// How a long one is done.
const IN_PARTS: &str = "By emulation the whole takes hours, and can be done in parts that one FILE joins:

  cargo xtask mutants --full --json FILE --next 10          the next ten; again, until none is left
  cargo xtask mutants --full --json FILE --merge DEFECT...  these; of two runs of a defect the later one holds

Each part judges the good runtime as well. A machine that dies or takes too long keeps what it has judged until then.";

/// The options of `cargo xtask mutants`.
#[derive(Debug, Args)]
#[command(after_help = IN_PARTS)]
pub(crate) struct MutantsArgs {
    /// Only these defects; by default all
    defect: Vec<String>,
    /// Every defect against all checks, instead of its own and those that share its scenario
    #[arg(long, conflicts_with = "own")]
    full: bool,
    /// Every defect against its own check only
    #[arg(long)]
    own: bool,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux with BTF
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
    #[command(flatten)]
    machine: MachineArgs,
    /// Write the matrix of defects and checks to this file, and a page of it beside it as .md
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep what FILE has of other defects
    #[arg(long, requires = "json")]
    merge: bool,
    /// Of the defects that FILE does not have as caught by a run on so many checks, the next N; the others are kept
    #[arg(long, value_name = "N", requires = "json", conflicts_with = "defect")]
    next: Option<usize>,
    /// Try nothing: make FILE and its page again, with the reasons that the saboteur has
    #[arg(long, requires = "json", conflicts_with_all = ["defect", "full", "own", "next"])]
    render: bool,
    /// Write the evidence of each check, good and defective, into this directory
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
}

/// The least that a machine may take in all.
const PATIENCE: Duration = Duration::from_mins(30);

impl MutantsArgs {
    /// What of the checks a defect is tried on, as podproof calls it, and how long the slowest ones may take with it.
    fn reach(&self) -> (&'static str, Duration) {
        match (self.own, self.full) {
            (true, _) => ("own", Duration::from_secs(30)),
            (_, true) => ("all", Duration::from_mins(5)),
            _ => ("scenario", Duration::from_mins(2)),
        }
    }

    /// FILE, where what it has is kept and it is there.
    fn kept(&self) -> Option<&PathBuf> {
        let is_kept = |path: &&PathBuf| (self.merge || self.next.is_some()) && path.exists();
        self.json.as_ref().filter(|path| self.render || is_kept(path))
    }
}

/// Tries the defects.
pub(crate) fn run(args: &MutantsArgs) -> Result<ExitCode> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(suite::tools(std::slice::from_ref(&args.kernel)));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    if args.render {
        return tell(args, &built, None);
    }
    let chosen = chosen(args, &built)?;
    if chosen.is_empty() {
        println!("no defect is left to be tried");
        return Ok(ExitCode::SUCCESS);
    }
    judge(args, &chosen, &tools, &built)
}

/// The defects that are to be tried.
fn chosen(args: &MutantsArgs, built: &Artifacts) -> Result<Vec<String>> {
    if !args.defect.is_empty() {
        return Ok(args.defect.clone());
    }
    let left = Cmd::new(&built.podproof).arg("defects").args(args.next.and(args.kept()));
    let left = left.args(["--left", args.reach().0, "--saboteur"]).arg(&built.saboteur).output()?;
    ensure!(left.status.success(), "podproof defects: {}", String::from_utf8_lossy(&left.stderr).trim_end());
    let names = String::from_utf8(left.stdout).context("podproof names defects that are no text")?;
    Ok(names.lines().take(args.next.unwrap_or(usize::MAX)).map(str::to_owned).collect())
}

fn judge(args: &MutantsArgs, chosen: &[String], tools: &Toolbox, built: &Artifacts) -> Result<ExitCode> {
    let mut rootfs = suite::image(tools, built)?;
    rootfs.program("/bin/podproof-saboteur", &built.saboteur, &[])?.program(BASE, &built.podrt, &[])?;
    rootfs.program(&format!("{BASE}-pod"), &built.podrt_pod, &[])?;
    let mut argv: Vec<String> =
        ["podproof", "mutants", "--saboteur", "/bin/podproof-saboteur", "--base", BASE]
            .map(str::to_owned)
            .into_iter()
            .collect();
    argv.extend(suite::records_option());
    for (option, is_set) in [("--full", args.full), ("--own", args.own)] {
        if is_set {
            argv.push(option.to_owned());
        }
    }
    argv.extend(chosen.iter().cloned());
    let each = args.reach().1 * u32::try_from(chosen.len()).context("so many defects")?;
    let machine = args.machine.clone().with_patience(PATIENCE + each);
    match suite::run(&machine, &args.kernel, "mutants", rootfs, argv, (tools, built))? {
        Run::Records(path) => tell(args, built, Some(path)),
        Run::Ended(code) => Ok(code),
    }
}

/// Makes the matrix of what is kept and of new records.
fn tell(args: &MutantsArgs, built: &Artifacts, records: Option<PathBuf>) -> Result<ExitCode> {
    let mut command = Cmd::new(&built.podproof).arg("defects").args(args.kept()).args(records);
    command = command.arg("--saboteur").arg(&built.saboteur);
    let page = args.json.as_ref().map(|path| path.with_extension("md"));
    for (option, path) in [("--json", &args.json), ("--markdown", &page), ("--evidence", &args.evidence)] {
        if let Some(path) = path {
            command = command.arg(option).arg(path);
        }
    }
    suite::status(command)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: MutantsArgs,
    }

    #[test]
    fn a_file_is_kept_where_it_is_asked_for_and_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let kept = |words: &[&str]| {
            let own = ["mutants", "--json", path.to_str().unwrap()];
            Line::try_parse_from([own.as_slice(), words].concat()).map(|line| line.args.kept().is_some())
        };
        for words in [["--merge"].as_slice(), &["--next", "3"]] {
            assert!(!kept(words).unwrap(), "{words:?}");
        }
        std::fs::write(&path, "").unwrap();
        for words in [["--merge", "ns-01-own-netns"].as_slice(), &["--full", "--next", "3"], &["--render"]] {
            assert!(kept(words).unwrap(), "{words:?}");
        }
        assert!(!kept(&["--full"]).unwrap());
        assert!(kept(&["--next", "3", "ns-01-own-netns"]).is_err());
        assert!(Line::try_parse_from(["mutants", "--next", "3"]).is_err());
    }
}
