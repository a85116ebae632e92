//! `cargo xtask conformance`: builds, boots a VM per kernel, judges the runtimes there, prints one table.
//!
//! The suite itself is `podproof`, which runs in the VM and sends its records out; the same program, on this
//! side, makes the table and the report of them. A VM that dies keeps the verdicts that it gave.

mod pause;

use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::pause::{Pause, PauseArgs};
use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::suite::{self, MachineArgs, Run};
use crate::workspace;

/// Where the baselines of the runtimes are that podproof knows by name.
const BASELINES: &str = "conformance/baselines";
/// What one runtime may take with one adapter, on a machine that emulates and has other work: some minutes, and much slack.
const PER_RUN: Duration = Duration::from_mins(20);
/// Runtimes that are known by name.
const KNOWN: [&str; 4] = ["podrt", "runc", "crun", "youki"];

/// The options of `cargo xtask conformance`.
#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// A runtime to judge: podrt, runc, crun, youki, or the path of any OCI runtime; may be given several times
    #[arg(long, value_name = "NAME|PATH", default_value = "podrt")]
    pub(crate) runtime: Vec<String>,
    /// oci, the command line of the runtimes, or podrt, the pod layer of podrt; may be given several times. Without it oci, and for
    /// podrt both
    #[arg(long, value_name = "ADAPTER")]
    pub(crate) adapter: Vec<String>,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux with BTF; may be given several times
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    pub(crate) kernel: Vec<String>,
    #[command(flatten)]
    sandbox: PauseArgs,
    /// Judge on this machine, as root, instead of in a VM
    #[arg(long, conflicts_with_all = ["kernel", "accel", "memory", "timeout"])]
    host: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    runner: RunnerArgs,
    #[command(flatten)]
    outcome: OutcomeArgs,
    /// The same filters and options as before `--`, such as `--test-threads 1`
    #[arg(last = true, value_name = "OPTIONS")]
    last: Vec<String>,
}

/// Which checks, and how often; podproof's own options.
#[derive(Debug, Args)]
struct RunnerArgs {
    /// Only checks whose id or name contains one of these (REAP, NS-01, hostname)
    filter: Vec<String>,
    /// A filter is the whole id or the whole name of a check
    #[arg(long)]
    exact: bool,
    /// Without those whose id or name contains this; may be given several times
    #[arg(long, value_name = "FILTER")]
    skip: Vec<String>,
    /// Checks that run at the same time
    #[arg(long, value_name = "N")]
    test_threads: Option<u16>,
    /// Play every check so often, and name each whose verdict ever changes
    #[arg(long, value_name = "N")]
    repeat: Option<u32>,
    /// Only list the checks that would run
    #[arg(long)]
    list: bool,
}

impl RunnerArgs {
    fn words(&self) -> Vec<String> {
        let mut words = self.filter.clone();
        for (option, is_set) in [("--exact", self.exact), ("--list", self.list)] {
            words.extend(is_set.then(|| option.to_owned()));
        }
        words.extend(self.skip.iter().flat_map(|filter| ["--skip".to_owned(), filter.clone()]));
        let numbers = [("--test-threads", self.test_threads.map(u32::from)), ("--repeat", self.repeat)];
        for (option, number) in numbers {
            words.extend(number.into_iter().flat_map(|number| [option.to_owned(), number.to_string()]));
        }
        words
    }
}

/// How verdicts are told, and what they are compared with; podproof's own options.
#[derive(Debug, Args)]
struct OutcomeArgs {
    /// pretty, terse or json
    #[arg(long, value_name = "FORMAT", default_value = "pretty", value_parser = ["pretty", "terse", "json"])]
    format: String,
    /// auto, always or never; auto is for terminals, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    color: String,
    /// Write report.json, report.html, junit.xml and trace.json into this directory
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// The known failures: a file, or a directory in which each runtime has its own; for runtimes that are known by name
    /// it is conformance/baselines
    #[arg(long, value_name = "FILE|DIR")]
    baseline: Option<PathBuf>,
    /// Compare with no baseline
    #[arg(long, conflicts_with_all = ["baseline", "bless"])]
    no_baseline: bool,
    /// Write what the runs show into the baseline; new entries get an explanation from you
    #[arg(long)]
    bless: bool,
}

impl OutcomeArgs {
    /// How podproof in the guest tells, whose output is no terminal.
    fn guest_words(&self) -> [String; 4] {
        let is_wanted = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        let color = match (self.color.as_str(), is_wanted) {
            ("auto", true) => "always",
            ("auto", false) => "never",
            (given, _) => given,
        };
        ["--format", &self.format, "--color", color].map(str::to_owned)
    }

    /// What podproof on this side does with finished runs.
    fn arguments(&self, is_known: bool) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            ["--format", &self.format, "--color", &self.color].map(OsString::from).into();
        let default = (is_known && !self.no_baseline).then(|| workspace::root().join(BASELINES));
        for (option, path) in
            [("--report-dir", self.report_dir.clone()), ("--baseline", self.baseline.clone().or(default))]
        {
            words.extend(path.into_iter().flat_map(|path| [option.into(), path.into_os_string()]));
        }
        words.extend(self.bless.then(|| OsString::from("--bless")));
        words
    }
}

impl ConformanceArgs {
    /// How often every check is played.
    fn n_rounds(&self) -> u32 {
        let last = self.last.iter().enumerate().find_map(|(i, word)| {
            let next = || self.last.get(i + 1).map(String::as_str);
            word.strip_prefix("--repeat=").or_else(|| next().filter(|_| word == "--repeat"))?.parse().ok()
        });
        last.or(self.runner.repeat).unwrap_or(1).max(1)
    }

    /// What podproof on this side does with finished runs.
    fn outcome_options(&self) -> Vec<OsString> {
        // The baselines are about runtimes with podproof's own sandbox program.
        let is_known = self.runtime.iter().any(|name| KNOWN.contains(&name.as_str()));
        self.outcome.arguments(is_known && !self.sandbox.is_given())
    }

    /// The command that judges a runtime again, up to the ids of checks.
    fn again(&self, name: &str, place: &[&str]) -> String {
        let given =
            ["cargo", "xtask", "conformance", "--runtime", name].into_iter().chain(place.iter().copied());
        let words = given.map(str::to_owned).chain(self.sandbox.words());
        words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }
}

/// Judges.
pub(crate) fn run(args: &ConformanceArgs) -> Result<ExitCode> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(args.runtime.iter().filter_map(|name| Tool::runtime(name)));
    wanted.extend(args.sandbox.tool()?);
    if !args.host {
        wanted.extend(suite::tools(&args.kernel));
    }
    // What the user named is looked at before anything is fetched or built for it.
    for name in &args.runtime {
        if name != "podrt" && Tool::runtime(name).is_none() {
            check_program(name)?;
        }
    }
    for name in args.kernel.iter().filter(|name| Tool::kernel(name).is_none()) {
        ensure!(
            Path::new(name).is_file(),
            "--kernel {name}: neither a series that podproof knows (6.1, 6.12) nor a file"
        );
    }
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    let pause = args.sandbox.find(&tools)?;
    let is_listed = args.runner.list || args.last.iter().any(|word| word == "--list");
    // A filter that matches nothing is found out before a VM is booted for it.
    let list = Cmd::new(&built.podproof).args(["run", "--list"]).args(args.sandbox.words());
    let list = list.args(args.runner.words()).arg("--").args(&args.last);
    if is_listed {
        return suite::status(list);
    }
    let listed = list.output()?;
    if !listed.status.success() {
        eprint!("{}", String::from_utf8_lossy(&listed.stderr));
        return Ok(ExitCode::from(2));
    }
    let subjects =
        args.runtime.iter().map(|name| Subject::find(name, &tools, &built)).collect::<Result<Vec<_>>>()?;
    if args.host {
        return on_host(args, &built, &subjects, pause.as_ref());
    }
    let mut records = Vec::new();
    for kernel in &args.kernel {
        match in_vm(args, kernel, (&tools, &built), &subjects, pause.as_ref())? {
            Run::Records(path) => records.push(path),
            Run::Ended(code) => return Ok(code),
        }
    }
    let command = Cmd::new(&built.podproof).arg("report").args(records);
    suite::status(command.args(args.outcome_options()))
}

/// A runtime to judge.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) path: PathBuf,
    pub(crate) libraries: Option<PathBuf>,
}

impl Subject {
    /// By its name, or by its path, which was checked.
    pub(crate) fn find(name: &str, tools: &Toolbox, built: &Artifacts) -> Result<Self> {
        if name == "podrt" {
            return Ok(Self { path: built.podrt.clone(), libraries: None });
        }
        if let Some(tool) = Tool::runtime(name) {
            let found = tools.tool(tool)?;
            return Ok(Self { path: found.path.clone(), libraries: found.libraries.clone() });
        }
        Ok(Self {
            path: std::path::absolute(name).with_context(|| format!("--runtime {name}"))?,
            libraries: None,
        })
    }

    /// The pod layer, where it lies beside the runtime.
    pub(crate) fn pod_layer(&self) -> Option<PathBuf> {
        Some(self.path.with_file_name("podrt-pod")).filter(|path| path.is_file())
    }

    /// Where it is in the guest.
    pub(crate) fn in_guest(&self, number: usize) -> String {
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        format!("/opt/runtimes/{number}/{name}")
    }
}

/// A runtime that is given by its path is there.
pub(crate) fn check_program(name: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = fs::metadata(name);
    ensure!(
        file.as_ref().is_ok_and(fs::Metadata::is_file),
        "--runtime {name}: no such file, and not one of podrt, runc, crun, youki; give the path of an OCI runtime"
    );
    let is_executable = file.is_ok_and(|file| file.permissions().mode() & 0o111 != 0);
    ensure!(is_executable, "--runtime {name}: not executable; chmod +x it, or give another path");
    Ok(())
}

/// A word of a command line as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn on_host(
    args: &ConformanceArgs,
    built: &Artifacts,
    subjects: &[Subject],
    pause: Option<&Pause>,
) -> Result<ExitCode> {
    let mut command = Cmd::new(&built.podproof).arg("run").arg("--own-pause").arg(&built.pause);
    if let Some(pause) = pause {
        command = command.args(pause.options(pause.path.display().to_string()));
    }
    for (subject, name) in subjects.iter().zip(&args.runtime) {
        command =
            command.arg("--runtime").arg(&subject.path).args(["--again", &args.again(name, &["--host"])]);
    }
    command = command.args(args.outcome_options()).args(adapter_options(args));
    command = command.args(args.runner.words()).arg("--").args(&args.last);
    suite::status(command)
}

fn adapter_options(args: &ConformanceArgs) -> Vec<String> {
    args.adapter.iter().flat_map(|adapter| ["--adapter".to_owned(), adapter.clone()]).collect()
}

fn in_vm(
    args: &ConformanceArgs,
    kernel: &str,
    (tools, built): (&Toolbox, &Artifacts),
    subjects: &[Subject],
    pause: Option<&Pause>,
) -> Result<Run> {
    let mut rootfs = suite::image(tools, built)?;
    let mut argv = vec!["podproof".to_owned(), "run".to_owned()];
    if let Some(pause) = pause {
        rootfs.program(&pause.in_guest(), &pause.path, &[])?;
        argv.extend(pause.options(pause.in_guest()));
    }
    argv.extend(suite::records_option());
    for (number, (subject, name)) in subjects.iter().zip(&args.runtime).enumerate() {
        let guest = subject.in_guest(number);
        suite::add_runtime(&mut rootfs, &guest, &subject.path, subject.libraries.as_slice())?;
        if let Some(layer) = subject.pod_layer() {
            let guest = Path::new(&guest).with_file_name("podrt-pod");
            rootfs.program(&guest.to_string_lossy(), &layer, &[])?;
        }
        let again = args.again(name, &["--kernel", kernel]);
        argv.extend(["--runtime".to_owned(), guest, "--again".to_owned(), again]);
    }
    argv.extend(args.outcome.guest_words());
    argv.extend(adapter_options(args));
    argv.extend(args.runner.words());
    argv.push("--".to_owned());
    argv.extend(args.last.iter().cloned());
    let n_runs: u32 = subjects.iter().map(|subject| 1 + u32::from(subject.pod_layer().is_some())).sum();
    let n_rounds = args.n_rounds();
    let mut machine = args.machine.clone().with_patience(PER_RUN * n_runs * n_rounds);
    machine.is_for_programs = args.outcome.format == "json";
    if machine.is_for_programs {
        eprintln!("==> kernel {kernel}");
    } else {
        println!("==> kernel {kernel}");
    }
    suite::run(&machine, kernel, "conformance", rootfs, argv, (tools, built))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ConformanceArgs,
    }

    #[test]
    fn rounds_are_waited_for_however_they_are_asked_for() {
        let of = |words: &[&str]| Line::parse_from([&["conformance"], words].concat()).args.n_rounds();
        assert_eq!(of(&[]), 1);
        assert_eq!(of(&["--repeat", "3"]), 3);
        assert_eq!(of(&["--", "--repeat", "30", "NS-01"]), 30);
        assert_eq!(of(&["--", "--repeat=7"]), 7);
        assert_eq!(of(&["--", "--repeat"]), 1);
    }

    #[test]
    fn a_run_can_be_repeated_by_its_command() {
        let args = ["conformance", "--pause", "tini", "--pause-arg=-v"];
        let again = Line::parse_from(args).args.again("./my runtime", &["--kernel", "6.12"]);
        assert_eq!(
            again,
            "cargo xtask conformance --runtime './my runtime' --kernel 6.12 --pause tini --pause-arg=-v"
        );
    }
}
