//! Hooks on real containers. Each is this program, executed with `--hook`.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use serde_json::{Value, json};

use crate::fixture::Cell;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("hook::all_kinds_in_their_order_and_namespaces", all_kinds),
    ("hook::a_failed_hook_of_create_leaves_nothing", failed_in_create),
    ("hook::a_failed_hook_of_start_deletes_the_container", failed_in_start),
    ("hook::a_failed_poststart_hook_deletes_the_container", failed_poststart),
    ("hook::failed_poststop_hooks_are_warnings", failed_poststop),
    ("hook::one_that_hangs_is_killed_with_its_children", hanging),
    ("hook::one_that_leaves_a_child_is_over", leaves_a_child),
    ("hook::one_that_does_not_read_or_writes_much_is_not_stuck", floods),
    ("hook::one_that_cannot_be_executed_is_named", cannot_be_executed),
    ("hook::poststop_is_run_after_a_killed_create", killed_create),
];

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// `NAME --hook WHAT ...`.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(99)
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let rest: Vec<&str> = args[2..].iter().map(String::as_str).collect();
    match rest[..] {
        ["pass"] => {}
        // Appends what it was given to a file, one line of JSON.
        ["log", label, file, code] => {
            let mut state = String::new();
            std::io::stdin().read_to_string(&mut state)?;
            let env: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            let ns = |kind| fs::read_link(format!("/proc/self/ns/{kind}"));
            let line = json!({"label": label, "name": args[0], "env": env, "mnt": ns("mnt")?, "uts": ns("uts")?,
                "root": fs::exists("/program")?, "state": serde_json::from_str::<Value>(&state)?});
            writeln!(fs::OpenOptions::new().append(true).create(true).open(file)?, "{line}")?;
            println!("{label} ends with {code}");
            return Ok(ExitCode::from(code.parse::<u8>()?));
        }
        ["hang", file] => {
            ignore_sigterm()?;
            Command::new("/proc/self/exe").args(["--hook", "sleep", file]).stdout(Stdio::null()).spawn()?;
            park();
        }
        // In a session of its own, with the output of the hook.
        ["leave", file] => {
            Command::new("/proc/self/exe").args(["--hook", "sleep", file]).spawn()?;
            while !fs::exists(file)? {
                std::thread::yield_now();
            }
        }
        ["sleep", file] => {
            let new = format!("{file}.new");
            fs::write(&new, std::process::id().to_string())?;
            fs::rename(&new, file)?;
            park();
        }
        ["flood"] => {
            let line = [b'x'; 1023];
            for _ in 0..1024 {
                std::io::stdout().write_all(&line)?;
                std::io::stdout().write_all(b"\n")?;
            }
            eprintln!("the end");
            return Ok(ExitCode::from(5));
        }
        ["kill-parent"] => kill(getppid(), Signal::SIGKILL)?,
        _ => return Ok(ExitCode::from(98)),
    }
    Ok(ExitCode::SUCCESS)
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

#[expect(unsafe_code, reason = "changes the disposition of a signal")]
fn ignore_sigterm() -> nix::Result<()> {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGTERM, nix::sys::signal::SigHandler::SigIgn) }.map(drop)
}

/// A hook of a kind that logs and ends with a code.
fn logging(cell: &Cell, kind: &str, label: &str, code: u8) -> Result<Value, Failed> {
    let in_container = kind == "startContainer";
    let log = if in_container { PathBuf::from("/log") } else { log_file(cell) };
    let path = if in_container { PathBuf::from("/program") } else { std::env::current_exe()? };
    Ok(json!({"path": path, "args": ["the-hook", "--hook", "log", label, log, code.to_string()],
        "env": ["HOOK=yes", "EMPTY="]}))
}

fn log_file(cell: &Cell) -> PathBuf {
    cell.path().join("rootfs/log")
}

/// The lines that the hooks have written; the file is emptied.
fn take_log(cell: &Cell) -> Result<Vec<Value>, Failed> {
    let text = fs::read_to_string(log_file(cell)).unwrap_or_default();
    if !text.is_empty() {
        fs::remove_file(log_file(cell))?;
    }
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn labels(log: &[Value]) -> Vec<&str> {
    log.iter().filter_map(|line| line["label"].as_str()).collect()
}

pub(crate) fn expect(what: &str, found: &Value, expected: Value) -> Result<(), Failed> {
    if *found == expected { Ok(()) } else { fail(format!("{what}: {found} instead of {expected}")) }
}

fn all_kinds() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["annotations"] = json!({"org.example": "yes"});
    for kind in KINDS {
        config["hooks"][kind] = json!([
            logging(&cell, kind, &format!("{kind} 1"), 0)?,
            logging(&cell, kind, &format!("{kind} 2"), 0)?
        ]);
    }
    let mut output = cell.create("c", &config)?;
    let pid = cell.pid("c")?.as_raw();
    let uts_of_container = fs::read_link(format!("/proc/{pid}/ns/uts"))?;
    let mnt_of_container = fs::read_link(format!("/proc/{pid}/ns/mnt"))?;
    let created = take_log(&cell)?;
    expect(
        "the hooks of create",
        &json!(labels(&created)),
        json!([
            "prestart 1",
            "prestart 2",
            "createRuntime 1",
            "createRuntime 2",
            "createContainer 1",
            "createContainer 2"
        ]),
    )?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    let started = take_log(&cell)?;
    expect(
        "the hooks of start",
        &json!(labels(&started)),
        json!(["startContainer 1", "startContainer 2", "poststart 1", "poststart 2"]),
    )?;
    cell.ok(&["delete", "--force", "c"])?;
    let deleted = take_log(&cell)?;
    expect("the hooks of delete", &json!(labels(&deleted)), json!(["poststop 1", "poststop 2"]))?;

    for line in created.iter().chain(&started).chain(&deleted) {
        let label = line["label"].as_str().unwrap_or_default();
        let kind = label.split(' ').next().unwrap_or_default();
        let is_inside = matches!(kind, "createContainer" | "startContainer");
        let status = match kind {
            "startContainer" => "created",
            "poststart" => "running",
            "poststop" => "stopped",
            _ => "creating",
        };
        let state = &line["state"];
        expect(&format!("{label}: status {}", state["status"]), &state["status"], json!(status))?;
        expect("id", &state["id"], json!("c"))?;
        expect("bundle", &state["bundle"], json!(cell.path().join("bundle")))?;
        expect("annotations", &state["annotations"], config["annotations"].clone())?;
        expect("ociVersion", &state["ociVersion"], json!("1.0.2"))?;
        // In the pid namespace of the container it is 1.
        let seen = match kind {
            "poststop" => Value::Null,
            _ if is_inside => json!(1),
            _ => json!(pid),
        };
        expect(&format!("{label}: pid {}", state["pid"]), &state["pid"], seen)?;
        expect("argv[0]", &line["name"], json!("the-hook"))?;
        expect(&format!("{label}: env {}", line["env"]), &line["env"], json!(["HOOK=yes", "EMPTY="]))?;
        let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}"));
        let (mnt, uts) = if is_inside {
            (mnt_of_container.clone(), uts_of_container.clone())
        } else {
            (own("mnt")?, own("uts")?)
        };
        expect(&format!("{label}: mount namespace"), &line["mnt"], json!(mnt))?;
        expect(&format!("{label}: uts namespace"), &line["uts"], json!(uts))?;
        expect(
            &format!("{label}: the root is the container's"),
            &line["root"],
            json!(kind == "startContainer"),
        )?;
    }
    cell.expect_nothing_left()
}

fn failed_in_create() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    for (n_before, kind) in KINDS[..3].iter().enumerate() {
        let mut config = cell.config("c", &["hold"]);
        for other in KINDS {
            config["hooks"][other] = json!([logging(&cell, other, other, 0)?]);
        }
        config["hooks"][kind] = json!([logging(&cell, kind, kind, 7)?, logging(&cell, kind, "never", 0)?]);
        let bundle = cell.bundle(&config)?.display().to_string();
        cell.settle()?;
        let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
        for part in [&format!("hooks.{kind}[0]"), "exit status 7", &format!("it said: {kind} ends with 7")] {
            if !message.contains(part) {
                return fail(format!("{message} does not contain {part}"));
            }
        }
        let mut expected = KINDS[..=n_before].to_vec();
        expected.push("poststop");
        expect(kind, &json!(labels(&take_log(&cell)?)), json!(expected))?;
        cell.refused(&["state", "c"])?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn failed_in_start() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["hooks"] = json!({"startContainer": [logging(&cell, "startContainer", "bad", 3)?],
        "poststart": [logging(&cell, "poststart", "never", 0)?], "poststop": [logging(&cell, "poststop", "undo", 0)?]});
    let mut output = cell.create("c", &config)?;
    let message = cell.refused(&["start", "c"])?;
    if !message.contains("hooks.startContainer[0] /program: exit status 3, it said: bad ends with 3") {
        return fail(message);
    }
    output.expect("")?;
    expect("the log", &json!(labels(&take_log(&cell)?)), json!(["bad", "undo"]))?;
    cell.refused(&["state", "c"])?;
    cell.expect_nothing_left()
}

fn failed_poststart() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for verb in ["start", "run"] {
        let mut config = cell.config("c", &["hold"]);
        let poststart = [("before", 0), ("first", 3), ("second", 0)]
            .map(|(label, code)| logging(&cell, "poststart", label, code));
        config["hooks"]["poststart"] = poststart.into_iter().collect::<Result<Value, Failed>>()?;
        config["hooks"]["poststop"] = json!([logging(&cell, "poststop", "undo", 0)?]);
        let bundle = cell.bundle(&config)?.display().to_string();
        let message = if verb == "start" {
            let _output = cell.create("c", &config)?;
            let pid = cell.pid("c")?;
            let message = cell.refused(&["start", "c"])?;
            cell.wait_end(pid)?;
            message
        } else {
            cell.refused(&["run", "--bundle", &bundle, "c"])?
        };
        if !message.contains("hooks.poststart[1]") {
            return fail(message);
        }
        expect(verb, &json!(labels(&take_log(&cell)?)), json!(["before", "first", "undo"]))?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn failed_poststop() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["hooks"]["poststop"] =
        json!([logging(&cell, "poststop", "first", 1)?, logging(&cell, "poststop", "second", 0)?]);
    let mut output = cell.create("c", &config)?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    let result = cell.call(&["delete", "--force", "c"])?;
    let message = String::from_utf8(result.stderr)?;
    if !result.status.success() || !message.contains("warning: hooks.poststop[0]") {
        return fail(format!("{} {message}", result.status));
    }
    expect("poststop", &json!(labels(&take_log(&cell)?)), json!(["first", "second"]))?;
    cell.expect_nothing_left()
}

fn hanging() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for kind in &KINDS[..3] {
        let mut config = cell.config("c", &["hold"]);
        let file = cell.path().join("child");
        config["hooks"][kind] = json!([{"path": std::env::current_exe()?, "args": ["h", "--hook", "hang", file],
            "timeout": 2}]);
        let bundle = cell.bundle(&config)?.display().to_string();
        let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
        if !message.contains("killed after its timeout of 2 s") {
            return fail(message);
        }
        // Its child too: the test would be its new parent.
        cell.expect_nothing_left()?;
        fs::remove_file(file)?;
    }
    Ok(())
}

fn leaves_a_child() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    let file = cell.path().join("child");
    config["hooks"] = json!({"createRuntime": [{"path": std::env::current_exe()?, "args": ["h", "--hook", "leave", file]}]});
    let mut output = cell.create("c", &config)?;
    let child = Pid::from_raw(fs::read_to_string(&file)?.parse()?);
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    cell.ok(&["delete", "--force", "c"])?;
    kill(child, Signal::SIGKILL)?;
    cell.expect_nothing_left()
}

fn floods() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["annotations"] = json!({"big": "x".repeat(1 << 20)});
    config["hooks"] =
        json!({"prestart": [{"path": std::env::current_exe()?, "args": ["h", "--hook", "flood"]}]});
    let bundle = cell.bundle(&config)?.display().to_string();
    let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
    if !message.contains("exit status 5") || !message.contains("the end") || message.len() > 4096 {
        return fail(message);
    }
    cell.expect_nothing_left()
}

fn cannot_be_executed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["hooks"] = json!({"prestart": [{"path": "/nonesuch"}]});
    let bundle = cell.bundle(&config)?.display().to_string();
    let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
    if !message.contains("hooks.prestart[0] /nonesuch: execute it: ENOENT") {
        return fail(message);
    }
    cell.expect_nothing_left()
}

fn killed_create() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["hooks"] = json!({
        "prestart": [{"path": std::env::current_exe()?, "args": ["h", "--hook", "kill-parent"]}],
        "poststop": [logging(&cell, "poststop", "undo", 0)?],
    });
    let bundle = cell.bundle(&config)?.display().to_string();
    let output = cell.call(&["create", "--bundle", &bundle, "c"])?;
    if output.status.code().is_some() {
        return fail(format!("create was not killed: {}", output.status));
    }
    cell.expect_status("c", "creating")?;
    cell.refused(&["delete", "c"])?;
    cell.ok(&["delete", "--force", "c"])?;
    expect("the log", &json!(labels(&take_log(&cell)?)), json!(["undo"]))?;
    cell.expect_nothing_left()
}
