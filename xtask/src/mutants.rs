//! `cargo xtask mutants`: spoils a good runtime, one defect at a time, and proves that the checks notice.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::suite::{self, MachineArgs, Run};

/// Where the good runtime is in the guest.
const BASE: &str = "/opt/runtimes/base/podrt";

/// The options of `cargo xtask mutants`.
#[derive(Debug, Args)]
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
    /// Write the matrix of defects and checks to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the evidence of each check, good and defective, into this directory
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
}

/// Tries the defects.
pub(crate) fn run(args: &MutantsArgs) -> Result<ExitCode> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(suite::tools(std::slice::from_ref(&args.kernel)));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    judge(args, &tools, &built)
}

fn judge(args: &MutantsArgs, tools: &Toolbox, built: &Artifacts) -> Result<ExitCode> {
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
    argv.extend(args.defect.iter().cloned());
    let records = match suite::run(&args.machine, &args.kernel, "mutants", rootfs, argv, (tools, built))? {
        Run::Records(path) => path,
        Run::Ended(code) => return Ok(code),
    };
    let mut command =
        Cmd::new(&built.podproof).arg("defects").arg(records).arg("--saboteur").arg(&built.saboteur);
    for (option, path) in [("--json", &args.json), ("--evidence", &args.evidence)] {
        if let Some(path) = path {
            command = command.arg(option).arg(path);
        }
    }
    suite::status(command)
}
