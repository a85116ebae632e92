//! `podproof sweep` notices what a runtime leaves behind when it is killed: scripts around podrt make something at the
//! beginning of a command and remove it at the end, so that it is left only by a kill in between.
//!
//! Needs root and a cgroup v2 host of its own: a VM. `PODPROOF` and `PODRT` name the programs under test where they are not those
//! of this build.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// A script around podrt.
#[derive(Clone, Copy)]
struct Saboteur {
    name: &'static str,
    /// The command that is swept, and the verb at which it does something.
    command: (&'static str, &'static str),
    /// What it does before that.
    before: &'static str,
    /// What it does after it.
    after: &'static str,
    /// How what it leaves is called.
    left: &'static str,
    /// Cut points: what is still running is waited for, after each cut.
    sample: usize,
}

const SABOTEURS: [Saboteur; 5] = [
    Saboteur {
        name: "cgroup",
        command: ("create", "create"),
        before: "mkdir /sys/fs/cgroup/left-by-saboteur",
        after: "rmdir /sys/fs/cgroup/left-by-saboteur",
        left: "cgroup /sys/fs/cgroup/left-by-saboteur",
        sample: 8,
    },
    Saboteur {
        name: "mount",
        command: ("create", "create"),
        before: "mkdir -p /mnt/left; mount -t tmpfs none /mnt/left",
        after: "umount /mnt/left",
        left: "mount of tmpfs on /mnt/left",
        sample: 8,
    },
    Saboteur {
        name: "file",
        command: ("create", "create"),
        before: "echo x >/run/left-by-saboteur",
        after: "rm /run/left-by-saboteur",
        left: "file /run/left-by-saboteur",
        sample: 8,
    },
    Saboteur {
        name: "process",
        command: ("create", "create"),
        // No child of the script's own: its end would interrupt the script at any call, and their number would differ.
        before: "sleeper=$(sleep 1000 >/dev/null 2>&1 & echo $!)",
        after: "kill $sleeper",
        left: "process ",
        sample: 3,
    },
    Saboteur {
        name: "cgroup_beside_a_pod",
        command: ("pod-run", "run"),
        before: "mkdir /sys/fs/cgroup/left-by-saboteur",
        after: "rmdir /sys/fs/cgroup/left-by-saboteur",
        left: "cgroup /sys/fs/cgroup/left-by-saboteur",
        sample: 4,
    },
];

fn main() -> ExitCode {
    let mut trials = vec![Trial::test("unknown_commands_are_refused_by_name", || Ok(unknown()?))];
    for saboteur in SABOTEURS {
        trials.push(Trial::ignorable_test(
            format!("a_{}_left_by_a_kill_is_found", saboteur.name),
            move || match missing_prerequisite() {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => Ok(caught(saboteur).map(|()| Completion::Completed)?),
            },
        ));
    }
    trials.push(Trial::ignorable_test("a_command_that_fails_is_passed_over_and_told", || {
        match missing_prerequisite() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => Ok(passed_over().map(|()| Completion::Completed)?),
        }
    }));
    let mut arguments = Arguments::from_args();
    // They compare the whole host before and after.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn podproof() -> PathBuf {
    std::env::var_os("PODPROOF").map_or_else(|| env!("CARGO_BIN_EXE_podproof").into(), PathBuf::from)
}

fn missing_prerequisite() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root");
    }
    if std::env::var_os("PODRT").is_none() {
        return Some("PODRT does not name a podrt; run it in a VM by `cargo xtask test`");
    }
    (!Path::new("/sys/fs/cgroup/cgroup.controllers").exists()).then_some("needs cgroup v2")
}

fn unknown() -> Result<(), String> {
    let ran = Command::new(podproof()).args(["sweep", "runtime", "--command", "restart"]).output();
    let ran = ran.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let is_named = said.contains("restart: not one of create, create-joined, create-full, start,");
    if ran.status.code() == Some(2) && is_named { Ok(()) } else { Err(format!("{}: {said}", ran.status)) }
}

/// Writes a script around podrt that does something else for one verb.
fn wrap(script: &Path, verb: &str, instead: &str) -> Result<(), Failed> {
    let podrt = std::env::var("PODRT")?;
    let text = format!(
        "#!/bin/sh\npodrt={podrt}\ncase \"$*\" in\n*' {verb} '*) {instead};;\n*) exec $podrt \"$@\";;\nesac\n"
    );
    fs::write(script, text)?;
    Ok(fs::set_permissions(script, fs::Permissions::from_mode(0o755))?)
}

fn passed_over() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (script, json) = (dir.path().join("broken"), dir.path().join("json"));
    wrap(&script, "start", "mkdir /sys/fs/cgroup/left-by-start; exit 7")?;
    let ran = Command::new(podproof())
        .arg("sweep")
        .arg(&script)
        .args(["--command", "start", "--command", "create", "--sample", "2", "--json"])
        .arg(&json)
        .output()?;
    let document: Value = serde_json::from_slice(&fs::read(&json)?)?;
    let run = &document["runs"][0];
    let is_told = run["unplayed"][0]["command"] == "start"
        && run["unplayed"][0]["reason"].as_str().is_some_and(|reason| reason.contains("exited with 7"));
    let is_gone = !Path::new("/sys/fs/cgroup/left-by-start").exists();
    let goes_on = run["rows"][0]["command"] == "create" && run["rows"][0]["killed"] == 2 && run["leaks"] == 0;
    if ran.status.code() == Some(3) && is_told && is_gone && goes_on {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(Failed::from(format!("{}\n{run}\n{}{}", ran.status, text(&ran.stdout), text(&ran.stderr))))
}

fn caught(saboteur: Saboteur) -> Result<(), Failed> {
    let Saboteur { name, command: (command, verb), before, after, left, sample } = saboteur;
    let dir = tempfile::tempdir()?;
    let script = dir.path().join(name);
    wrap(&script, verb, &format!("{before}; $podrt \"$@\"; status=$?; {after}; exit $status"))?;
    let json = dir.path().join("json");
    let ran = Command::new(podproof())
        .arg("sweep")
        .arg(&script)
        .args(["--command", command, "--sample", &sample.to_string(), "--json"])
        .arg(&json)
        .output()?;
    let said = || {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Failed::from(format!("{}\n{}{}", ran.status, text(&ran.stdout), text(&ran.stderr)))
    };
    if ran.status.code() != Some(1) {
        return Err(said());
    }
    let document: Value = serde_json::from_slice(&fs::read(&json)?)?;
    let row = &document["runs"][0]["rows"][0];
    let of = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let leaks = of(&row["leaks"]);
    let is_found = leaks
        .iter()
        .flat_map(|leak| of(&leak["left"]))
        .any(|it| it.as_str().is_some_and(|it| it.contains(left)));
    // After each leak the sweep cleans up by itself, or the next cut would be charged with it.
    let is_clean =
        of(&row["left_unkilled"]).is_empty() && row["cut_points"] == sample && row["killed"] == sample;
    if is_found && is_clean && document["runs"][0]["leaks"] == leaks.len() { Ok(()) } else { Err(said()) }
}
