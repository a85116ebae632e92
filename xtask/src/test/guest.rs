//! The stages that run in VMs: the tests of the probes and of podrt under each kernel, the engines that drive podrt, the
//! suite on podrt, and the suite on what the saboteur makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use vm_images::{Event, Observer, Rootfs, Stream, Vm};

use crate::build;
use crate::cmd::Cmd;
use crate::dist;
use crate::engine::Engine;
use crate::setup::{self, Tool};
use crate::test::host::{self, SERIES};
use crate::test::{Context, Tally};
use crate::vm;

/// The test programs that run under a kernel of their own, with the package that each belongs to.
const PROGRAMS: [(&str, &str); 9] = [
    ("podproof-ebpf", "truth"),
    ("podproof-ebpf", "endurance"),
    ("podrt", "containers"),
    ("podrt-pod", "images"),
    ("podrt-pod", "net"),
    ("podrt-pod", "pods"),
    ("podproof-exporter", EXPORTER),
    ("podproof", SWEEP),
    ("podproof", HOSTILE),
];

/// Those that need the suite itself.
const SWEEP: &str = "sweep";
const HOSTILE: &str = "hostile";

/// What of the exporter's tests is about its pages, options and privileges of starting, and not about what a kernel counts.
const EXPORTER: &str = "node";
const NOT_OF_THE_KERNEL: [&str; 5] = ["check::", "hostile::", "options::", "systemd::", "web::"];

/// The one that needs programs that log.
const LINES: (&str, &str) = ("podproof-ebpf", "log");

/// Tests that may be skipped in a VM, by program and name, with the reason. Whatever else they need is there, so that any other skip
/// is a test that is lost.
const SKIPS: [(&str, &str, &str); 1] = [(
    "endurance",
    "peer::bpftrace_counts_the_same",
    "no image has bpftrace: it counts beside the probes on this machine",
)];

/// Each test program under each kernel.
pub(crate) fn programs(context: &Context) -> Result<Tally> {
    let mut built = build::guest_tests(&PROGRAMS, &context.built.probes, &[])?;
    if context.is_full {
        let probes = build::logging_probes(&context.tools)?;
        built.extend(build::guest_tests(&[LINES], &probes, &["podproof-ebpf/log"])?);
    }
    let waiting: BTreeMap<String, PathBuf> = built.remove_entry(HOSTILE).into_iter().collect();
    // An emulated machine takes one processor, and waits much of its time; what does hardly anything else runs beside the others.
    let (built, waiting) = (&built, &waiting);
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let busy = SERIES.map(|series| scope.spawn(move || one_series(context, series, built)));
        let waiting = scope.spawn(|| {
            // How the suite bears a runtime that means it ill does not depend on the kernel: a full run tries that under each.
            let series = SERIES.iter().rev().take(if context.is_full { SERIES.len() } else { 1 });
            series.map(|series| one_series(context, series, waiting)).try_fold(
                Tally::default(),
                |mut total, tally| {
                    total.add(&tally?);
                    Ok(total)
                },
            )
        });
        busy.into_iter()
            .chain([waiting])
            .map(|machine| machine.join().unwrap_or_else(|_panic| bail!("a thread has panicked")))
            .collect()
    });
    let mut total = Tally::default();
    for tally in tallies {
        total.add(&tally?);
    }
    Ok(total)
}

/// Each of these programs under one kernel.
fn one_series(context: &Context, series: &str, built: &BTreeMap<String, PathBuf>) -> Result<Tally> {
    let mut total = Tally::default();
    for (name, path) in built {
        total.add(&program(context, series, name, path)?);
    }
    Ok(total)
}

fn program(context: &Context, series: &str, name: &str, path: &Path) -> Result<Tally> {
    tests(&machine(context, series, name, path)?, name, series)
}

/// A machine whose command is this test program, beside all that test programs need.
pub(super) fn machine(context: &Context, series: &str, name: &str, path: &Path) -> Result<Vm> {
    let mut machine = plain(context, series, Rootfs::new(), name, path)?;
    let rootfs = &mut machine.rootfs;
    rootfs
        .program("/bin/podrt", &context.built.podrt, &[])?
        .program("/bin/podrt-pod", &context.built.podrt_pod, &[])?
        .program("/bin/pause", &context.built.pause, &[])?;
    if [SWEEP, HOSTILE].contains(&name) {
        rootfs.program("/bin/podproof", &context.built.podproof, &[])?;
        rootfs.program("/bin/podproof-witness", &context.built.witness, &[])?;
        rootfs.program("/bin/podproof-saboteur", &context.built.saboteur, &[])?;
    }
    if name == EXPORTER && !context.is_full && SERIES.last() != Some(&series) {
        let skipped = NOT_OF_THE_KERNEL.iter().flat_map(|part| ["--skip".to_owned(), (*part).to_owned()]);
        machine.argv.extend(skipped);
    }
    // Loading the probes takes seconds here.
    let extent = if context.is_full { "PODPROOF_TEST_FULL" } else { "PODPROOF_TEST_SHORT" };
    machine.env = vec![("PODRT".to_owned(), "/bin/podrt".to_owned()), (extent.to_owned(), "1".to_owned())];
    machine.env.push(("PODPROOF".to_owned(), "/bin/podproof".to_owned()));
    machine.env.push(("PODPROOF_SABOTEUR".to_owned(), "/bin/podproof-saboteur".to_owned()));
    machine.env.push(("PODRT_POD".to_owned(), "/bin/podrt-pod".to_owned()));
    machine.env.push(("PODRT_PAUSE".to_owned(), "/bin/pause".to_owned()));
    machine.modules.extend(vm_images::POD_MODULES.map(str::to_owned));
    machine.env.push((host::LOGGING_VAR.to_owned(), "1".to_owned()));
    machine.deadlines.command = Some(Duration::from_secs(900));
    Ok(machine)
}

/// A machine whose command is this test program, with busybox beside it in this root file system.
fn plain(context: &Context, series: &str, mut rootfs: Rootfs, name: &str, path: &Path) -> Result<Vm> {
    let guest = format!("/bin/{name}");
    rootfs.busybox(&context.tools.tool(Tool::Busybox)?.path)?.program(&guest, path, &[])?;
    let kernel = vm::kernel(series, &context.tools)?;
    let mut machine = Vm::new(kernel, rootfs, &context.built.vm_init, vec![guest], &vm::work_dir());
    machine.log_path = vm::work_dir().join(format!("{name}-{series}.log"));
    Ok(machine)
}

/// Runs a machine whose command is a test program, and counts its tests under its name and the kernel's.
fn tests(machine: &Vm, program: &str, series: &str) -> Result<Tally> {
    let name = &format!("{program}_{series}");
    let mut lines = Lines { prefix: format!("{name}::"), pending: String::new(), tally: Tally::default() };
    let report = machine.run(&mut lines)?;
    let mut tally = lines.tally;
    if report.outcome.exit_status() != 0 && tally.failed == 0 {
        eprintln!("error: {name}: {}", report.explain());
        tally.add(&Tally::check(name, false));
    }
    tally.add(&lost(&tally, program, name));
    Ok(tally)
}

/// A failure for each test of a program in a VM that was skipped and is none of [`SKIPS`]. `prefix` is what its tests are counted
/// under.
fn lost(tally: &Tally, program: &str, prefix: &str) -> Tally {
    let mut failures = Tally::default();
    for (name, reason) in &tally.skips {
        let test = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix("::")).unwrap_or(name);
        if SKIPS.iter().all(|(of, may_be_skipped, _)| (*of, *may_be_skipped) != (program, test)) {
            eprintln!("error: {name} was skipped, and nothing is missing in a VM: {reason}");
            failures.add(&Tally::check(&format!("{name} is not skipped"), false));
        }
    }
    failures
}

/// podman and containerd with podrt as their runtime; under each kernel in a full run.
pub(crate) fn engines(context: &Context) -> Result<Tally> {
    let name = "engines";
    let built = build::guest_tests(&[("podrt", name)], &context.built.probes, &[])?;
    let path = built.get(name).context("no test program of the engines")?;
    let mut total = Tally::default();
    for series in SERIES.iter().rev().take(if context.is_full { SERIES.len() } else { 1 }) {
        for engine in [Engine::Podman, Engine::Containerd] {
            let mut machine = plain(context, series, engine.rootfs(), name, path)?;
            machine.rootfs.program("/bin/podrt", &context.built.podrt, &[])?;
            engine.boot(&mut machine, &context.tools)?;
            machine.env = vec![
                ("PODRT".to_owned(), "/bin/podrt".to_owned()),
                ("PODPROOF_TEST_ENGINE".to_owned(), engine.tool().name().to_owned()),
            ];
            machine.deadlines.command = Some(Duration::from_secs(600));
            machine.log_path = vm::work_dir().join(format!("{}-{series}.log", engine.tool()));
            total.add(&tests(&machine, name, series)?);
        }
    }
    Ok(total)
}

/// The exporter as a service of systemd, which is PID 1 there. Only in a full run: the image is of hardly any other use.
pub(crate) fn service(context: &Context) -> Result<Tally> {
    let name = "service";
    let mut total = Tally::default();
    if !context.is_full {
        return Ok(total);
    }
    let systemd = setup::ensure(&[Tool::Systemd])?;
    let built = build::guest_tests(&[("podproof-exporter", name)], &context.built.probes, &[])?;
    let path = built.get(name).context("no test program of the service")?;
    let archive = dist::tarball(&context.built)?;
    let in_guest = Path::new("/root").join(archive.file_name().context("an archive without a name")?);
    for series in SERIES {
        let mut machine = plain(context, series, Rootfs::over_image(), name, path)?;
        machine
            .rootfs
            .program("/usr/local/bin/podproof-exporter", &context.built.exporter, &[])?
            .file(&in_guest.to_string_lossy(), &archive)?
            // Nobody is there to be asked at a first boot, nor logs in.
            .content("/etc/machine-id", format!("{:032x}\n", 1), 0o444)
            .symlink("/etc/systemd/system/default.target", "/lib/systemd/system/basic.target");
        machine.disk = Some(systemd.tool(Tool::Systemd)?.path.clone());
        machine.memory_mib = 2048;
        machine.service_manager = Some("/lib/systemd/systemd".to_owned());
        machine.env = vec![("PODPROOF_TEST_SYSTEMD".to_owned(), "1".to_owned())];
        machine.deadlines.command = Some(Duration::from_secs(900));
        total.add(&tests(&machine, name, series)?);
    }
    Ok(total)
}

/// The examples of the pod layer under each kernel, as a user runs them.
pub(crate) fn examples(_context: &Context) -> Result<Tally> {
    let mut tally = Tally::default();
    for series in SERIES {
        let is_good = Cmd::ourselves()?.args(["example", "--kernel", series]).succeeds()?;
        tally.add(&Tally::check(&format!("examples_{series}"), is_good));
    }
    Ok(tally)
}

/// The exporter and its alerts with a Prometheus, as a user sees them; only those that resolve soon, under one kernel, unless the run is
/// full: the others take minutes.
pub(crate) fn alerts(context: &Context) -> Result<Tally> {
    let mut tally = Tally::default();
    let (n_kernels, form): (_, &[&str]) =
        if context.is_full { (SERIES.len(), &[]) } else { (1, &["--quick"]) };
    for series in SERIES.iter().rev().take(n_kernels) {
        let is_good = Cmd::ourselves()?.args(["exporter-demo", "--kernel", series]).args(form).succeeds()?;
        tally.add(&Tally::check(&format!("alerts_{series}"), is_good));
    }
    Ok(tally)
}

/// Passes a test program's lines on with the kernel in the names of its tests, and counts them.
struct Lines {
    prefix: String,
    pending: String,
    tally: Tally,
}

impl Observer for Lines {
    fn output(&mut self, _stream: Stream, bytes: &[u8]) {
        self.pending.push_str(&String::from_utf8_lossy(bytes));
        while let Some(end) = self.pending.find('\n') {
            let line: String = self.pending.drain(..=end).collect();
            let line = line.trim_end();
            let line = match line.strip_prefix("test ") {
                Some(test) if test.contains(" ... ") => format!("test {}{test}", self.prefix),
                _ => line.to_owned(),
            };
            println!("{line}");
            self.tally.line(&line);
        }
    }

    fn event(&mut self, event: &Event) {
        println!("vm: {event}");
    }
}

/// Checks of what podrt does not have: it runs a sandbox process, and knows neither user namespaces of pods nor debug containers.
/// The saboteur's stand-ins are what they are proved on.
const LACKING: [&str; 4] = ["NS-19", "NS-33", "NS-35", "NS-38"];

/// The suite on podrt under each kernel, as a user calls it.
pub(crate) fn conformance(context: &Context) -> Result<Tally> {
    let dir = context.tmp.join("report");
    let mut command = Cmd::ourselves()?.arg("conformance").arg("--report-dir").arg(&dir);
    for series in SERIES {
        command = command.args(["--kernel", series]);
    }
    let is_good = command.succeeds()?;
    let text = fs::read(dir.join("report.json")).context("cannot read the report")?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    let report: serde_json::Value = serde_json::from_slice(&text).context("the report is no JSON")?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let mut tally = Tally::check("conformance of podrt", is_good);
    let mut n_judged = 0;
    for run in list(&report["runs"]) {
        for check in list(&run["checks"]) {
            let word = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
            let name = format!("{} under {}", word("id"), run["kernel"].as_str().unwrap_or_default());
            let (id, is_skip) = (word("id"), word("verdict") == "skip");
            if is_skip && LACKING.contains(&id.as_str()) {
                tally.add(&Tally::skip(&name, &word("reason")));
                continue;
            }
            if is_skip {
                // In a VM podrt has everything else that a check needs, so a skip is a step back.
                eprintln!("error: {name} was skipped: {}", word("reason"));
            }
            tally.add(&Tally::check(&name, word("verdict") == "pass"));
            n_judged += 1;
        }
    }
    tally.add(&Tally::check("podrt is judged by every check", n_judged > 0));
    Ok(tally)
}

/// The suite on podrt twenty times in a row, each time in another order, and with other numbers of checks at the same time: each
/// must give the verdicts of the baseline. Only in a full run.
pub(crate) fn conformance_again(context: &Context) -> Result<Tally> {
    let mut tally = Tally::default();
    if !context.is_full {
        return Ok(tally);
    }
    for words in [["--repeat", "20"], ["--test-threads", "1"], ["--test-threads", "8"]] {
        let is_same = Cmd::ourselves()?.arg("conformance").args(words).succeeds()?;
        tally.add(&Tally::check(&format!("the same verdicts with {}", words.join(" ")), is_same));
    }
    Ok(tally)
}

/// Every defect against its own check; against all in a full run.
pub(crate) fn mutants(context: &Context) -> Result<Cmd> {
    let command = Cmd::ourselves()?.args(["mutants", "--json"]).arg(matrix(context));
    Ok(command.arg(if context.is_full { "--full" } else { "--own" }))
}

/// Where [`mutants`] leaves its figures.
fn matrix(context: &Context) -> PathBuf {
    context.tmp.join("mutants.json")
}

/// Counts the defects that were caught.
pub(crate) fn mutants_tally(context: &Context, is_good: bool) -> Result<Tally> {
    let json = matrix(context);
    let text = fs::read(&json).with_context(|| format!("cannot read {}", json.display()))?;
    for path in [json.with_extension("md"), json] {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let matrix: serde_json::Value = serde_json::from_slice(&text).context("the matrix is no JSON")?;
    let mut tally = Tally::default();
    for defect in matrix["defects"].as_array().into_iter().flatten() {
        let is_caught =
            defect["missed"].is_null() && defect["unexpected_red"].as_array().is_some_and(Vec::is_empty);
        tally.add(&Tally::check(defect["name"].as_str().unwrap_or("a defect"), is_caught));
    }
    tally.add(&Tally::check("the matrix of defects", is_good));
    Ok(tally)
}

/// What the sweep of a run that is not full has: the kernel, and where in a call a process is killed. The cut points are shared out.
const SWEEPS: [(&str, &str); SERIES.len()] = [(SERIES[0], "entry"), (SERIES[1], "exit")];
/// Cut points per command in each.
const SAMPLE: &str = "12";

/// Each command of podrt, killed at some of its system calls; in a full run at all, under each kernel.
pub(crate) fn sweep(context: &Context) -> Result<Tally> {
    let of_kernel = |(series, at)| ["--kernel", series, "--", "--at", at, "--sample", SAMPLE];
    if !context.is_full {
        let mut total = Tally::default();
        for one in SWEEPS {
            total.add(&one_sweep(context, &of_kernel(one))?);
        }
        return Ok(total);
    }
    one_sweep(context, &["--full", "--kernel", SERIES[0], "--kernel", SERIES[1]])
}

fn one_sweep(context: &Context, options: &[&str]) -> Result<Tally> {
    let json = context.tmp.join("sweep.json");
    let is_clean = Cmd::ourselves()?.args(["sweep", "--json"]).arg(&json).args(options).succeeds()?;
    let text = fs::read(&json).with_context(|| format!("cannot read {}", json.display()))?;
    for path in [json.with_extension("md"), json] {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let document: serde_json::Value = serde_json::from_slice(&text).context("the sweep is no JSON")?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let mut tally = Tally::check(&format!("the crash sweep with {}", options.join(" ")), is_clean);
    for run in list(&document["runs"]).iter().filter(|run| run["runtime"]["name"] == "podrt") {
        let kernel = run["kernel"].as_str().unwrap_or_default();
        for row in list(&run["rows"]) {
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let (victim, command, position) = (word("victim"), word("command"), word("position"));
            let name = format!("{victim} of {command} killed at {position} under {kernel}");
            let is_good = list(&row["leaks"]).is_empty() && row["killed"] == row["cut_points"];
            tally.add(&Tally::check(&name, is_good));
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_in_a_vm_is_a_failure_unless_it_is_listed() {
        let of_program = |program: &str| {
            let mut lines =
                Lines { prefix: format!("{program}_6.1::"), pending: String::new(), tally: Tally::default() };
            let text = "test peer::bpftrace_counts_the_same ... ignored (no bpftrace)\n\
                test peer::other ... ignored (not root)\ntest good ... ok\n\
                test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out\n";
            lines.output(Stream::Stdout, text.as_bytes());
            let failures = lost(&lines.tally, program, &format!("{program}_6.1")).failures;
            failures.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(of_program("endurance"), ["endurance_6.1::peer::other is not skipped"]);
        let of_another = [
            "truth_6.1::peer::bpftrace_counts_the_same is not skipped",
            "truth_6.1::peer::other is not skipped",
        ];
        assert_eq!(of_program("truth"), of_another);
    }
}
