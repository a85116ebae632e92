//! Pause, resume and update.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use libtest_mimic::Failed;
use nix::unistd::Pid;
use serde_json::json;

use crate::fixture::Cell;
use crate::resources::expect_file;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("control::a_paused_container_stands_still_and_goes_on", paused_stands_still),
    ("control::a_created_container_can_be_paused", created_is_paused),
    ("control::a_paused_container_can_be_killed_and_deleted", paused_is_killed),
    ("control::an_update_changes_what_it_names", update_by_flags),
    ("control::an_update_by_document", update_by_document),
    ("control::a_refused_update_changes_nothing", refused_update),
];

fn is_frozen(cell: &Cell, id: &str) -> Result<bool, Failed> {
    let events = fs::read_to_string(cell.cgroup(id).join("cgroup.events"))?;
    Ok(events.lines().any(|line| line == "frozen 1"))
}

fn has_pending(pid: Pid, signal: u32) -> Result<bool, Failed> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).ok_or("no ShdPnd")?;
    Ok(u64::from_str_radix(line.trim(), 16)? & 1 << (signal - 1) != 0)
}

fn paused_stands_still() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("c", &cell.config("c", &["signals"]))?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    let pid = cell.pid("c")?;
    cell.refused(&["resume", "c"])?;
    for _ in 0..2 {
        cell.ok(&["pause", "c"])?;
        cell.expect_status("c", "paused")?;
        if !is_frozen(&cell, "c")? || cell.pid("c")? != pid {
            return fail("not frozen, or another pid");
        }
        for verb in ["pause", "start", "delete"] {
            let message = cell.refused(&[verb, "c"])?;
            if !message.contains("it is paused") {
                return fail(message);
            }
        }
        // Waits until the process runs.
        cell.ok(&["kill", "c", "USR1"])?;
        if !has_pending(pid, 10)? {
            return fail("the signal has not waited");
        }
        cell.ok(&["resume", "c"])?;
        output.expect("10")?;
        cell.expect_status("c", "running")?;
    }
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}

fn created_is_paused() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("c", &cell.config("c", &["hold"]))?;
    cell.ok(&["pause", "c"])?;
    cell.expect_status("c", "paused")?;
    cell.refused(&["start", "c"])?;
    cell.ok(&["resume", "c"])?;
    cell.expect_status("c", "created")?;
    cell.ok(&["start", "c"])?;
    output.expect("ready")?;
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}

fn paused_is_killed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for how in [&["kill", "c", "KILL"][..], &["kill", "--all", "c", "KILL"], &["delete", "--force", "c"]] {
        let mut output = cell.create("c", &cell.config("c", &["hold"]))?;
        cell.ok(&["start", "c"])?;
        output.expect("ready")?;
        let pid = cell.pid("c")?;
        cell.ok(&["pause", "c"])?;
        cell.ok(how)?;
        if how[0] == "kill" {
            cell.wait_end(pid)?;
            cell.expect_status("c", "stopped")?;
            cell.refused(&["resume", "c"])?;
            cell.ok(&["delete", "c"])?;
        }
        cell.expect_nothing_left()?;
    }
    Ok(())
}

fn update_by_flags() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["linux"]["resources"] =
        json!({"memory": {"limit": 64 << 20, "swap": 128 << 20}, "cpu": {"quota": 20_000}});
    let _output = cell.create("c", &config)?;
    let pid = cell.pid("c")?;
    for (flags, files) in [
        (&["--memory", "96m"][..], &[("memory.max", "100663296"), ("memory.swap.max", "33554432")][..]),
        (&["--memory-swap", "-1"], &[("memory.swap.max", "max")]),
        (&["--memory-reservation", "1M"], &[("memory.low", "1048576")]),
        (&["--pids-limit", "9"], &[("pids.max", "9")]),
        (&["--pids-limit", "0"], &[("pids.max", "0")]),
        (&["--pids-limit=-1"], &[("pids.max", "max")]),
        (&["--cpu-period", "50000"], &[("cpu.max", "20000 50000")]),
        (
            &["--cpu-quota", "40000", "--cpu-burst", "30000"],
            &[("cpu.max", "40000 50000"), ("cpu.max.burst", "30000")],
        ),
        (
            &["--cpu-quota", "10000", "--cpu-burst", "5000"],
            &[("cpu.max", "10000 50000"), ("cpu.max.burst", "5000")],
        ),
        (&["--cpu-share", "2048"], &[("cpu.weight", "174")]),
        (&["--cpu-quota", "-1"], &[("cpu.max", "max 50000"), ("cpu.weight", "174")]),
        (&["--cpuset-cpus", "0", "--cpuset-mems", "0"], &[("cpuset.cpus", "0"), ("cpuset.mems", "0")]),
        (&["--cpu-idle", "1"], &[("cpu.idle", "1")]),
        (&["--cpu-idle", "0"], &[("cpu.idle", "0")]),
    ] {
        let args: Vec<&str> = ["update"].into_iter().chain(flags.iter().copied()).chain(["c"]).collect();
        cell.ok(&args)?;
        files.iter().try_for_each(|(file, text)| expect_file(&cell, "c", file, text))?;
    }
    if cell.pid("c")? != pid {
        return fail("the process is another one");
    }
    cell.ok(&["kill", "c", "KILL"])?;
    cell.wait_end(pid)?;
    cell.refused(&["update", "--pids-limit", "5", "c"])?;
    cell.ok(&["delete", "c"])?;
    cell.expect_nothing_left()
}

fn update_by_document() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    // With the controller on from the start: what a process has used before is not counted.
    config["linux"]["resources"] = json!({"memory": {"limit": 96 << 20}});
    let _output = cell.create("c", &config)?;
    let document = json!({"memory": {"limit": 64 << 20, "swap": 0, "checkBeforeUpdate": true}, "pids": {"limit": 12},
        "cpu": {"shares": 0, "quota": 30_000, "cpus": ""}, "devices": [{"allow": true}],
        "unified": {"memory.high": "33554432"}});
    let mut child = cell.podrt().args(["update", "--resources", "-", "c"]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no stdin")?.write_all(document.to_string().as_bytes())?;
    if !child.wait()?.success() {
        return fail("the update failed");
    }
    for (file, text) in [
        ("memory.max", "67108864"),
        ("pids.max", "12"),
        ("cpu.max", "30000 100000"),
        ("memory.high", "33554432"),
    ] {
        expect_file(&cell, "c", file, text)?;
    }
    // Less than a process uses.
    let file = cell.path().join("small.json");
    fs::write(&file, json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}}).to_string())?;
    let message = cell.refused(&["update", "-r", &file.display().to_string(), "c"])?;
    if !message.contains("linux.resources.memory.limit: 4096 bytes are less than the") {
        return fail(message);
    }
    expect_file(&cell, "c", "memory.max", "67108864")?;
    cell.ok(&["delete", "--force", "c"])?;
    fs::remove_file(file)?;
    cell.expect_nothing_left()
}

fn refused_update() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["linux"]["resources"] =
        json!({"memory": {"limit": 64 << 20}, "cpu": {"quota": 20_000, "burst": 10_000}});
    let _output = cell.create("c", &config)?;
    let files = [
        "memory.max",
        "memory.low",
        "cpu.max",
        "cpu.max.burst",
        "cpu.idle",
        "pids.max",
        "cpuset.cpus",
        "io.max",
    ];
    let read = || files.map(|file| fs::read_to_string(cell.cgroup("c").join(file)).unwrap_or_default());
    // The controllers are on afterwards, whatever comes.
    cell.ok(&["update", "--cpuset-cpus", "0", "--pids-limit", "30", "c"])?;
    let before = read();
    for (flags, message) in [
        (
            &["--memory", "96m", "--cpu-quota", "30000", "--cpuset-cpus", "999", "c"][..],
            "linux.resources.cpu.cpus: \"999\" was refused, and nothing changed: write",
        ),
        (
            &["--memory", "96m", "--memory-reservation", "5m", "--cpu-quota", "1", "c"],
            "linux.resources.cpu.quota",
        ),
        (&["--cpu-idle", "1", "--cpu-burst", "40000", "c"], "linux.resources.cpu.burst"),
        (&["--memory", "96m", "--cpu-idle", "5", "c"], "linux.resources.cpu.idle: 5 is neither"),
        (&["--memory-swap", "1m", "c"], "linux.resources.memory.swap: 1048576 is the limit"),
        (&["--cpu-rt-runtime", "5", "c"], "linux.resources.cpu.realtimeRuntime"),
        (&["--memory", "5q", "c"], "--memory 5q"),
    ] {
        let args: Vec<&str> = ["update"].into_iter().chain(flags.iter().copied()).collect();
        let said = cell.refused(&args)?;
        if !said.contains(message) {
            return fail(format!("{said} does not contain {message}"));
        }
        if read() != before {
            return fail(format!("{args:?} has changed {before:?} to {:?}", read()));
        }
    }
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}
