//! `podproof probes`: the list is whole, its page is up to date, and on this machine every program is told of.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::counters::Counter;
use podproof_ebpf::{ProbeStatus, SIGNALS, SignalStatus};
use serde_json::Value;

type Done = Result<(), Failed>;

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        Trial::test("the_list_names_every_program_signal_and_counter", the_list_names_everything),
        Trial::test("the_list_as_json_names_what_feeds_each_signal", the_list_as_json),
        Trial::test("the_page_has_the_tables_of_the_command", the_page_has_the_tables_of_the_command),
        Trial::test("wrong_options_are_named", wrong_options_are_named),
        with("attaching_needs_root", attaching_needs_root, missing_root),
        with(
            "every_program_is_attached_or_says_why_not",
            every_program_is_attached_or_says_why_not,
            missing_probes,
        ),
        with("the_text_tells_the_same", the_text_tells_the_same, missing_probes),
        with("a_refused_required_program_is_named", a_refused_required_program_is_named, || {
            missing_probes().or_else(missing_setpriv)
        }),
        with(
            "runs_are_counted_until_an_interruption",
            runs_are_counted_until_an_interruption,
            missing_probes,
        ),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// A test that is skipped with what it misses.
fn with(name: &str, test: fn() -> Done, missing: fn() -> Option<String>) -> Trial {
    Trial::ignorable_test(name, move || match missing() {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => test().map(|()| Completion::Completed),
    })
}

fn missing_root() -> Option<String> {
    (!nix::unistd::geteuid().is_root()).then(|| "needs root".to_owned())
}

fn missing_probes() -> Option<String> {
    let start = || podproof_ebpf::Tracer::start(&podproof_ebpf::TraceOptions::default());
    missing_root().or_else(|| Some(format!("no probes: {}", start().err()?)))
}

fn missing_setpriv() -> Option<String> {
    let found = Command::new("setpriv").arg("--version").output();
    found.err().map(|error| format!("setpriv (util-linux): {error}"))
}

fn podproof(arguments: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(env!("CARGO_BIN_EXE_podproof")).arg("probes").args(arguments).output()?)
}

fn expect(output: &Output, code: i32, said: &str) -> Done {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(code) && text.contains(said) {
        return Ok(());
    }
    Err(format!("expected exit {code} and {said:?}, got {} and:\n{text}", output.status).into())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Done {
    if holds { Ok(()) } else { Err(what().into()) }
}

fn the_list_names_everything() -> Done {
    let output = podproof(&[])?;
    for program in podproof_ebpf::programs() {
        expect(&output, 0, &program.name)?;
        expect(&output, 0, &format!("{}/{}", program.mechanism, program.hook))?;
        expect(&output, 0, &program.gives)?;
        expect(&output, 0, &program.fallback)?;
    }
    for signal in SIGNALS {
        expect(&output, 0, signal.name)?;
        for source in signal.sources {
            expect(&output, 0, &source.hooks().join(" + "))?;
            expect(&output, 0, source.lost)?;
        }
    }
    for counter in Counter::ALL {
        expect(&output, 0, counter.name())?;
    }
    Ok(())
}

fn the_list_as_json() -> Done {
    let output = podproof(&["--format", "json"])?;
    let list: Value = serde_json::from_slice(&output.stdout)?;
    let hooks: Vec<String> = list["probes"]
        .as_array()
        .ok_or("no probes")?
        .iter()
        .map(|probe| {
            ensure(probe.get("attached").is_none(), || format!("a fate without a kernel: {probe}"))?;
            let text = |key: &str| probe[key].as_str().ok_or(format!("no {key} in {probe}"));
            Ok(format!("{}/{}", text("mechanism")?, text("hook")?))
        })
        .collect::<Result<_, Failed>>()?;
    ensure(hooks.len() == podproof_ebpf::programs().len(), || format!("{} programs", hooks.len()))?;
    let signals = list["signals"].as_array().ok_or("no signals")?;
    let counters = list["counters"].as_array().ok_or("no counters")?;
    ensure(signals.len() == SIGNALS.len(), || format!("{} signals", signals.len()))?;
    let n_counters: usize =
        counters.iter().filter_map(|source| Some(source["names"].as_array()?.len())).sum();
    ensure(n_counters == Counter::ALL.len(), || format!("{n_counters} counters"))?;
    let sources = signals.iter().flat_map(|signal| signal["sources"].as_array().into_iter().flatten());
    let named = sources.flat_map(|source| source["source"].as_array().into_iter().flatten());
    for source in named.chain(counters.iter().map(|counters| &counters["source"])) {
        let is_known = source.as_str().is_some_and(|source| hooks.iter().any(|hook| hook == source));
        ensure(is_known, || format!("no program has the hook {source}"))?;
    }
    Ok(())
}

fn the_page_has_the_tables_of_the_command() -> Done {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/probes.md"))?;
    let output = podproof(&["--format", "markdown"])?;
    let tables = String::from_utf8(output.stdout)?;
    ensure(tables.lines().count() > SIGNALS.len(), || format!("no tables: {tables}"))?;
    let missing = tables.lines().find(|line| !page.lines().any(|known| known == *line));
    let hint = "put the output of `podproof probes --format markdown` in its place in docs/probes.md";
    ensure(page.contains(&tables), || format!("{hint}; the first line that it lacks: {missing:?}"))
}

fn wrong_options_are_named() -> Done {
    expect(&podproof(&["--stats"])?, 2, "--check")?;
    expect(&podproof(&["--for", "1"])?, 2, "--check")?;
    expect(&podproof(&["--check", "--format", "markdown"])?, 2, "without --check")
}

fn attaching_needs_root() -> Done {
    let dir =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in("/var/tmp")?;
    let program = dir.path().join("podproof");
    fs::copy(env!("CARGO_BIN_EXE_podproof"), &program)?;
    let as_nobody =
        |arguments: &[&str]| Command::new(&program).args(arguments).uid(65534).gid(65534).output();
    expect(&as_nobody(&["probes", "--check"])?, 2, "needs root")?;
    expect(&as_nobody(&["probes"])?, 0, "task_newtask")
}

fn probes_of(report: &Value) -> Result<Vec<ProbeStatus>, Failed> {
    Ok(serde_json::from_value(report["probes"].clone())?)
}

fn every_program_is_attached_or_says_why_not() -> Done {
    let output = podproof(&["--check", "--stats", "--format", "json"])?;
    expect(&output, 0, "")?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure(report["statistics"] == true && report["error"].is_null(), || report.to_string())?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    ensure(report["kernel"] == release.trim(), || format!("kernel {}", report["kernel"]))?;
    let probes = probes_of(&report)?;
    ensure(probes.len() == podproof_ebpf::programs().len(), || format!("{} programs", probes.len()))?;
    for probe in &probes {
        let counts = [probe.run_count, probe.run_time_ns, probe.missed];
        let is_told = match &probe.reason {
            None => probe.attached && probe.errno.is_none() && counts.iter().all(Option::is_some),
            Some(reason) => {
                let names_errno =
                    probe.errno.is_none_or(|errno| reason.contains(&format!("(os error {errno})")));
                !probe.attached && !probe.required && names_errno && counts.iter().all(Option::is_none)
            }
        };
        ensure(is_told, || format!("{probe:?}"))?;
    }
    let ran = probes.iter().find(|probe| probe.name == "sys_exit").and_then(|probe| probe.run_count);
    ensure(ran.is_some_and(|n| n > 0), || format!("sys_exit ran {ran:?} times although scopes are open"))?;

    let is_attached = |hook: &String| {
        probes.iter().any(|probe| probe.attached && *hook == format!("{}/{}", probe.mechanism, probe.hook))
    };
    let signals: Vec<SignalStatus> = serde_json::from_value(report["signals"].clone())?;
    ensure(signals.len() == SIGNALS.len(), || format!("{} signals", signals.len()))?;
    for signal in &signals {
        let has_source = !signal.source.is_empty() && signal.source.iter().all(is_attached);
        ensure(has_source == signal.unavailable.is_none(), || format!("{signal:?}"))?;
    }
    let counters: Vec<podproof_ebpf::CounterStatus> = serde_json::from_value(report["counters"].clone())?;
    ensure(counters.len() == Counter::ALL.len(), || format!("{} counters", counters.len()))?;
    for counter in &counters {
        ensure(is_attached(&counter.source) == counter.unavailable.is_none(), || format!("{counter:?}"))?;
    }
    Ok(())
}

fn the_text_tells_the_same() -> Done {
    let report: Value = serde_json::from_slice(&podproof(&["--check", "--format", "json"])?.stdout)?;
    let output = podproof(&["--check"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    for probe in probes_of(&report)? {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(&probe.name));
        let line = line.ok_or_else(|| format!("no line of {}:\n{text}", probe.name))?;
        let is_right = match probe.errno {
            Some(errno) => line.contains(&format!("refused: {:?}", nix::errno::Errno::from_raw(errno))),
            None if probe.attached => line.contains(" attached"),
            None => line.contains("not usable"),
        };
        ensure(is_right, || line.to_owned())?;
        expect(&output, 0, probe.reason.as_deref().unwrap_or(""))?;
    }
    if report["statistics"] == false {
        expect(&output, 0, "--stats turns them on")?;
    }
    let counters = report["counters"].as_array().ok_or("no counters")?;
    let n_available = counters.iter().filter(|counter| counter["unavailable"].is_null()).count();
    expect(&output, 0, &format!("{n_available} of {} counters are available", Counter::ALL.len()))
}

fn a_refused_required_program_is_named() -> Done {
    // With CAP_BPF alone maps can be made, but no program that traces can be loaded.
    let run = |format: &str| {
        Command::new("setpriv")
            .arg("--bounding-set=-sys_admin,-perfmon")
            .arg(env!("CARGO_BIN_EXE_podproof"))
            .args(["probes", "--check", "--format", format])
            .output()
    };
    let output = run("json")?;
    expect(&output, 1, "podproof: required probe")?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let error = report["error"].as_str().ok_or("no error")?;
    let probes = probes_of(&report)?;
    ensure(probes.len() == podproof_ebpf::programs().len(), || format!("{} programs", probes.len()))?;
    let first = probes.iter().find(|probe| probe.required).ok_or("nothing is required")?;
    ensure(error.contains(&format!("required probe {}", first.name)), || error.to_owned())?;
    for probe in &probes {
        ensure(!probe.attached && probe.errno == Some(1) && probe.run_count.is_none(), || {
            format!("{probe:?}")
        })?;
    }
    ensure(report["signals"].as_array().is_some_and(Vec::is_empty), || report["signals"].to_string())?;
    expect(&run("text")?, 1, "refused: EPERM")
}

fn runs_are_counted_until_an_interruption() -> Done {
    const N: u64 = 20;
    let mut child = Command::new(env!("CARGO_BIN_EXE_podproof"))
        .args(["probes", "--check", "--stats", "--for", "600", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().ok_or("no stderr")?);
    let mut line = String::new();
    stderr.read_line(&mut line)?;
    ensure(line.contains("attached for 600 s"), || line.clone())?;
    for _ in 0..N {
        Command::new("true").status()?;
    }
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    let mut text = String::new();
    child.stdout.take().ok_or("no stdout")?.read_to_string(&mut text)?;
    let status = child.wait()?;
    ensure(status.code() == Some(130), || format!("exited with {status}"))?;
    let report: Value = serde_json::from_str(&text)?;
    for name in ["task_newtask", "sched_process_exec", "sched_process_exit"] {
        let all = probes_of(&report)?;
        let probe = all.iter().find(|probe| probe.name == name).ok_or("a program is missing")?;
        let is_counted =
            probe.run_count.is_some_and(|n| n >= N) && probe.run_time_ns.is_some_and(|time| time > 0);
        ensure(is_counted, || format!("{N} processes, and {probe:?}"))?;
    }
    Ok(())
}
