//! `podproof trace` on this machine: order, exit status, forms of output, and what it says to wrong input.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::{Event, EventKind};
use serde_json::Value;

type Done = Result<(), Failed>;

/// How long a line may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        Trial::test("one_subject_is_needed_and_only_one", one_subject_is_needed_and_only_one),
        as_root("what_is_not_there_is_named", what_is_not_there_is_named),
        as_root("tracing_needs_root", tracing_needs_root),
        probed("a_shell_is_told_in_order", a_shell_is_told_in_order),
        probed("the_command_begins_with_its_exec", the_command_begins_with_its_exec),
        probed("the_status_is_that_of_the_command", the_status_is_that_of_the_command),
        probed("json_lines_are_events", json_lines_are_events),
        probed("chrome_is_one_document", chrome_is_one_document),
        probed("the_output_of_the_command_goes_elsewhere", the_output_of_the_command_goes_elsewhere),
        probed("who_lives_on_is_named_and_followed", who_lives_on_is_named_and_followed),
        probed("details_come_only_when_asked_for", details_come_only_when_asked_for),
        probed("colours_come_only_when_asked_for", colours_come_only_when_asked_for),
        probed("a_process_is_traced_live_until_it_ends", a_process_is_traced_live_until_it_ends),
        probed("an_interruption_writes_the_document", an_interruption_writes_the_document),
        probed("a_signal_is_passed_on_to_the_command", a_signal_is_passed_on_to_the_command),
        probed("the_command_begins_with_no_signal_blocked", the_command_begins_with_no_signal_blocked),
        probed("a_reader_who_leaves_ends_it_quietly", a_reader_who_leaves_ends_it_quietly),
        with("a_cgroup_is_traced_until_it_is_removed", a_cgroup_is_traced_until_it_is_removed, || {
            missing_probes().or_else(missing_v2)
        }),
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

fn as_root(name: &str, test: fn() -> Done) -> Trial {
    with(name, test, missing_root)
}

fn probed(name: &str, test: fn() -> Done) -> Trial {
    with(name, test, missing_probes)
}

fn missing_root() -> Option<String> {
    (!nix::unistd::geteuid().is_root()).then(|| "needs root".to_owned())
}

fn missing_probes() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = || {
        let options = podproof_ebpf::TraceOptions { ring_bytes: 4096, ..Default::default() };
        Some(format!("no probes: {}", podproof_ebpf::Tracer::start(&options).err()?))
    };
    missing_root().or_else(|| MISSING.get_or_init(missing).clone())
}

fn missing_v2() -> Option<String> {
    conformance::trace::V2::find().is_none().then(|| "needs a mounted cgroup v2 hierarchy".to_owned())
}

fn trace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podproof"));
    command.arg("trace").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn shell(options: &[&str], script: &str) -> Result<Output, Failed> {
    Ok(trace().args(options).args(["--", "sh", "-c", script]).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn expect(output: &Output, code: i32, said: &str) -> Done {
    let all = text(&output.stdout) + &text(&output.stderr);
    if output.status.code() == Some(code) && all.contains(said) {
        return Ok(());
    }
    Err(format!("expected exit {code} and {said:?}, got {} and:\n{all}", output.status).into())
}

/// These words, each on a line after that of the words before.
fn in_order(trace: &str, expected: &[&str]) -> Done {
    let mut lines = trace.lines();
    for words in expected {
        if !lines.any(|line| line.contains(words)) {
            return Err(format!("no {words:?} in its place ({expected:?}):\n{trace}").into());
        }
    }
    Ok(())
}

fn events(output: &Output) -> Result<Vec<Event>, Failed> {
    text(&output.stdout).lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn one_subject_is_needed_and_only_one() -> Done {
    expect(&trace().output()?, 2, "--cgroup PATH | --pid PID | -- COMMAND...")?;
    expect(&trace().args(["--pid", "1", "--cgroup", "/x"]).output()?, 2, "cannot be used with")?;
    expect(&trace().args(["--pid", "1", "--", "true"]).output()?, 2, "cannot be used with")?;
    expect(&trace().args(["--pid", "0"]).output()?, 2, "0 is not in")?;
    expect(&trace().args(["--follow", "--pid", "1"]).output()?, 2, "--follow")
}

fn what_is_not_there_is_named() -> Done {
    let said = |arguments: &[&str], said: &str| expect(&trace().args(arguments).output()?, 2, said);
    said(&["--pid", "4194305"], "process 4194305: there is none")?;
    said(&["--", "no-such-program"], "command no-such-program: not found in PATH")?;
    said(&["--", "/no/such"], "command /no/such: no such file")?;
    said(&["--", "/etc/passwd"], "command /etc/passwd: not executable")?;
    if conformance::trace::V2::find().is_some() {
        said(&["--cgroup", "/no-such-cgroup"], "/no-such-cgroup is no directory of cgroup v2")?;
        said(&["--cgroup", "/proc"], "cgroup /proc: /proc is no directory of cgroup v2")?;
    }
    said(&["--output", "/no/such/file", "--", "true"], "--output /no/such/file")
}

fn tracing_needs_root() -> Done {
    let dir =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in("/var/tmp")?;
    let program = dir.path().join("podproof");
    fs::copy(env!("CARGO_BIN_EXE_podproof"), &program)?;
    let output = Command::new(&program).args(["trace", "--", "true"]).uid(65534).gid(65534).output()?;
    expect(&output, 2, "tracing needs root")
}

fn a_shell_is_told_in_order() -> Done {
    let output = shell(&[], "unshare -u true; (exit 4) & wait; kill -TERM $$")?;
    expect(&output, 128 + 15, "")?;
    in_order(
        &text(&output.stdout),
        &[
            "executes /",
            "clones ",
            "moves into a new uts namespace",
            "true",
            "ends with code 0",
            "reaps true ",
            "clones ",
            "ends with code 4",
            "reaps sh ",
            "sends SIGTERM to itself",
            "is killed by SIGTERM",
        ],
    )
}

fn the_command_begins_with_its_exec() -> Done {
    let output = shell(&["--format", "json"], "exit 0")?;
    let events = events(&output)?;
    let first = events.first().ok_or("no events")?;
    let EventKind::Exec { task, .. } = &first.kind else {
        return Err(format!("it begins with {first:?}").into());
    };
    let EventKind::Exit { task: end, status: 0, group_dead: true, .. } =
        &events.iter().rfind(|event| matches!(event.kind, EventKind::Exit { .. })).ok_or("no end")?.kind
    else {
        return Err(format!("it does not end:\n{}", text(&output.stdout)).into());
    };
    if task.task == end.task { Ok(()) } else { Err(format!("{task:?} is not {end:?}").into()) }
}

fn the_status_is_that_of_the_command() -> Done {
    expect(&shell(&[], "exit 3")?, 3, "ends with code 3")?;
    expect(&shell(&[], "kill -KILL $$")?, 128 + 9, "is killed by SIGKILL")?;
    expect(&shell(&[], "exit 0")?, 0, "ends with code 0")
}

fn json_lines_are_events() -> Done {
    let output = shell(&["--format", "json"], "true & wait; exec true")?;
    let events = events(&output)?;
    if !events.windows(2).all(|pair| pair[0].seq < pair[1].seq) {
        return Err("not in the order of the ring".into());
    }
    if !events
        .iter()
        .any(|event| matches!(event.kind, EventKind::SignalDeliver { .. } | EventKind::ZombieStart { .. }))
    {
        return Err("the details are missing".into());
    }
    for line in text(&output.stdout).lines() {
        let value: Value = serde_json::from_str(line)?;
        if value["text"].as_str().is_none_or(str::is_empty) {
            return Err(format!("no words in {line}").into());
        }
    }
    Ok(())
}

fn chrome_is_one_document() -> Done {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("trace.json");
    let file = path.to_str().ok_or("a path that is no UTF-8")?;
    expect(&shell(&["--format", "chrome", "--output", file], "sleep 0.01 & wait; exit 5")?, 5, "")?;
    let document: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let entries = document["traceEvents"].as_array().ok_or("no traceEvents")?;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for entry in entries {
        *counts.entry(entry["ph"].as_str().unwrap_or_default()).or_default() += 1;
    }
    if counts.get("s") != counts.get("f") || !counts.contains_key("s") {
        return Err(format!("arrows without an end: {counts:?}").into());
    }
    for name in ["sh", "sleep", "zombie"] {
        if !entries.iter().any(|entry| entry["ph"] == "X" && entry["name"] == name) {
            return Err(format!("no slice {name}: {document}").into());
        }
    }
    Ok(())
}

fn the_output_of_the_command_goes_elsewhere() -> Done {
    let output = shell(&[], "echo said-aloud")?;
    if text(&output.stdout).contains("said-aloud") || text(&output.stderr) != "said-aloud\n" {
        return Err(format!("stdout and stderr are mixed: {output:?}").into());
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("trace");
    let file = path.to_str().ok_or("a path that is no UTF-8")?;
    let output = shell(&["--output", file], "cat; echo said-aloud")?;
    if text(&output.stdout) != "said-aloud\n" {
        return Err(format!("the command lost its standard output: {output:?}").into());
    }
    in_order(&fs::read_to_string(&path)?, &["executes ", "ends with code 0"])
}

fn the_command_begins_with_no_signal_blocked() -> Done {
    // The shell's own process, which becomes grep.
    let output = shell(&[], "exec grep -E '^Sig(Blk|Pnd):' /proc/self/status")?;
    let seen = text(&output.stderr);
    for line in ["SigPnd:\t0000000000000000\n", "SigBlk:\t0000000000000000\n"] {
        if !seen.contains(line) {
            return Err(format!("signals of the command: {seen}").into());
        }
    }
    // One that ends it unless it is blocked.
    expect(&shell(&[], "kill -TERM $$; exit 9")?, 128 + Signal::SIGTERM as i32, "is killed by SIGTERM")
}

fn who_lives_on_is_named_and_followed() -> Done {
    let script = "sleep 0.3 & exit 6";
    expect(&shell(&[], script)?, 6, "still alive: s")?;
    let followed = shell(&["--follow"], script)?;
    expect(&followed, 6, "")?;
    if text(&followed.stderr).contains("still alive") {
        return Err(format!("it did not wait: {followed:?}").into());
    }
    in_order(&text(&followed.stdout), &["ends with code 6", "has been adopted by ", "ends with code 0"])
}

fn details_come_only_when_asked_for() -> Done {
    let brief = text(&shell(&[], "true & wait")?.stdout);
    let verbose = text(&shell(&["-v"], "true & wait")?.stdout);
    for detail in ["SIGCHLD", "is a zombie", "[tp_btf/sched_process_exec]"] {
        if brief.contains(detail) || !verbose.contains(detail) {
            return Err(format!("{detail}:\n{brief}\n{verbose}").into());
        }
    }
    Ok(())
}

fn colours_come_only_when_asked_for() -> Done {
    if text(&shell(&[], "exit 0")?.stdout).contains('\x1b') {
        return Err("colours in a pipe".into());
    }
    if !text(&shell(&["--color", "always"], "exit 0")?.stdout).contains("\x1b[") {
        return Err("no colours with --color always".into());
    }
    let forced = trace().args(["--", "true"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output()?;
    if text(&forced.stdout).contains('\x1b') { Err("NO_COLOR is not honoured".into()) } else { Ok(()) }
}

/// A trace that runs; killed when the test gives up.
struct Live {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Live {
    fn drop(&mut self) {
        // Gone already, mostly.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Live {
    fn start(command: &mut Command) -> Result<Self, Failed> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, lines })
    }

    /// Starts tracing what exists, and waits until it says that it does.
    fn of(options: &[&str]) -> Result<Self, Failed> {
        let mut live = Self::start(trace().args(options).stderr(Stdio::piped()))?;
        let mut said = String::new();
        BufReader::new(live.child.stderr.as_mut().ok_or("no stderr")?).read_line(&mut said)?;
        if said.starts_with("podproof: tracing ") { Ok(live) } else { Err(said.into()) }
    }

    fn signal(&self, signal: Signal) -> Done {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Waits for a line with these words.
    fn find(&self, words: &str) -> Done {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            if line.map_err(|error| format!("no line with {words:?}: {error}"))?.contains(words) {
                return Ok(());
            }
        }
    }

    /// All lines to the end, which has to come with this exit status.
    fn rest(mut self, status: i32) -> Result<String, Failed> {
        let mut rest = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => rest = rest + &line + "\n",
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(format!("it does not end:\n{rest}").into()),
            }
        }
        match self.child.wait()?.code() {
            Some(code) if code == status => Ok(rest),
            code => Err(format!("exit status {code:?}, expected {status}:\n{rest}").into()),
        }
    }
}

/// A shell that does what it reads.
struct Obedient(Child);

impl Obedient {
    fn start() -> Result<Self, Failed> {
        Ok(Self(Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?))
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }

    fn order(&mut self, command: &str) -> Done {
        let stdin = self.0.stdin.as_mut().ok_or("no stdin")?;
        Ok(writeln!(stdin, "{command}")?)
    }
}

impl Drop for Obedient {
    fn drop(&mut self) {
        // At the end of its input it ends.
        drop(self.0.stdin.take());
        _ = self.0.wait();
    }
}

fn a_process_is_traced_live_until_it_ends() -> Done {
    let mut shell = Obedient::start()?;
    shell.order("sleep 100 & echo")?;
    let traced = Live::of(&["--pid", &shell.id()])?;
    shell.order("/bin/true")?;
    // It comes while the shell lives.
    traced.find("executes /bin/true")?;
    shell.order("kill $!; wait; exit 2")?;
    in_order(&traced.rest(0)?, &["sends SIGTERM to ", "is killed by SIGTERM", "ends with code 2"])
}

fn an_interruption_writes_the_document() -> Done {
    let shell = Obedient::start()?;
    let traced = Live::of(&["--format", "chrome", "--pid", &shell.id()])?;
    traced.signal(Signal::SIGINT)?;
    let document: Value = serde_json::from_str(&traced.rest(0)?)?;
    if document["traceEvents"].is_array() { Ok(()) } else { Err(document.to_string().into()) }
}

fn a_signal_is_passed_on_to_the_command() -> Done {
    let script = "trap 'exit 9' TERM; while :; do sleep 0.02; done";
    let traced = Live::start(trace().args(["--", "sh", "-c", script]).stderr(Stdio::null()))?;
    // The loop runs, so the trap is set.
    traced.find("sleep")?;
    traced.signal(Signal::SIGTERM)?;
    in_order(&traced.rest(9)?, &["ends with code 9"])
}

fn a_reader_who_leaves_ends_it_quietly() -> Done {
    let mut traced = trace()
        .args(["--", "sh", "-c", "true & wait; read line; true & wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut first = String::new();
    BufReader::new(traced.stdout.take().ok_or("no stdout")?).read_line(&mut first)?;
    // Nobody reads its output from here on.
    drop(traced.stdin.take());
    let output = traced.wait_with_output()?;
    if output.status.code() == Some(128 + 13) && output.stderr.is_empty() && first.contains("executes") {
        return Ok(());
    }
    Err(format!("{first}{output:?}").into())
}

fn a_cgroup_is_traced_until_it_is_removed() -> Done {
    let v2 = conformance::trace::V2::find().ok_or("no cgroup v2")?;
    let name = format!("podproof-trace-test-{}", std::process::id());
    let dir = v2.mount().join(&name);
    fs::create_dir(&dir)?;
    let outcome = trace_cgroup(&name, &dir);
    if dir.exists() {
        fs::remove_dir(&dir)?;
    }
    outcome
}

fn trace_cgroup(name: &str, dir: &Path) -> Done {
    let traced = Live::of(&["--cgroup", &format!("/{name}")])?;
    let mut shell = Obedient::start()?;
    fs::write(dir.join("cgroup.procs"), shell.id())?;
    shell.order("/bin/true & wait; exit 0")?;
    drop(shell);
    fs::remove_dir(dir)?;
    let (entered, removed) = (format!("to cgroup /{name}"), format!("removes cgroup /{name}"));
    in_order(&traced.rest(0)?, &[&entered, "clones ", "executes ", "ends with code 0", &removed])
}
