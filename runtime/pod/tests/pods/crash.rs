//! What is left when somebody is killed, and how it is cleaned up.

use std::fs;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::fixture::{Cell, wait};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("crash::containers_outlive_their_supervisor", containers_outlive_their_supervisor),
    ("crash::a_pod_ends_with_its_sandbox", a_pod_ends_with_its_sandbox),
    ("crash::a_reboot_is_recognised", a_reboot_is_recognised),
    ("crash::damaged_files_are_named_and_removed", damaged_files_are_named_and_removed),
    ("crash::gc_leaves_pods_alone", gc_leaves_pods_alone),
    ("crash::gc_removes_an_interrupted_create", gc_removes_an_interrupted_create),
    ("crash::commands_at_the_same_time", commands_at_the_same_time),
];

fn supervisor(cell: &Cell, pod: &str) -> Result<Pid, Failed> {
    let text = fs::read_to_string(cell.root().join("pods").join(pod).join("supervisor.json"))?;
    let document: Value = serde_json::from_str(&text)?;
    Ok(Pid::from_raw(i32::try_from(document["pid"].as_i64().unwrap_or(0))?))
}

fn containers_outlive_their_supervisor() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("orphan", &[cell.container("main", "exec sleep 1000")]), &[])?;
    kill(supervisor(&cell, "orphan")?, Signal::SIGKILL)?;
    cell.until("orphan", "unsupervised", |document| document["state"] == "Unsupervised")?;
    let said = cell.fails(&["stop", "orphan"])?;
    if !said.contains("has no supervisor") || !said.contains("rm --force") {
        return fail(format!("stop says {said:?}"));
    }
    expect("exec", cell.ok(&["exec", "orphan", "--", "echo", "alive"])?, "alive\n".to_owned())?;
    let gc = cell.fails(&["gc"])?;
    if !gc.contains("rm --force orphan") {
        return fail(format!("gc says {gc:?}"));
    }
    cell.clean(&["orphan"])
}

fn a_pod_ends_with_its_sandbox() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("headless", &[cell.container("main", "exec sleep 1000")]), &[])?;
    let pause = cell.inspect("headless")?["sandboxPid"].as_i64().unwrap_or(0);
    kill(Pid::from_raw(i32::try_from(pause)?), Signal::SIGKILL)?;
    let _phase = cell.call(&["wait", "headless"])?;
    let document = cell.inspect("headless")?;
    expect("state", document["state"].as_str(), Some("Failed"))?;
    expect("reason", document["reason"].as_str(), Some("SandboxEnded"))?;
    cell.clean(&["headless"])
}

fn a_reboot_is_recognised() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("old", &[cell.container("main", "exec sleep 1000")]), &[])?;
    kill(supervisor(&cell, "old")?, Signal::SIGKILL)?;
    cell.until("old", "unsupervised", |document| document["state"] == "Unsupervised")?;
    // As the directory looks after another boot, but for the processes, which rm must not take for the pod's.
    let path = cell.root().join("pods/old/pod.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    record["boot_id"] = json!("00000000-0000-0000-0000-000000000000");
    fs::write(&path, record.to_string())?;
    let document = cell.inspect("old")?;
    expect("state", document["state"].as_str(), Some("Rebooted"))?;
    expect(
        "end",
        document["containers"][0]["state"]["terminated"]["reason"].as_str(),
        Some("ContainerStatusUnknown"),
    )?;
    cell.ok(&["rm", "old"])?;
    cell.expect_clean()
}

fn damaged_files_are_named_and_removed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for (index, name) in ["pod.json", "status.json", "supervisor.json"].into_iter().enumerate() {
        let pod = format!("broken{index}");
        cell.run(&cell.pod(&pod, &[cell.container("main", "exec sleep 1000")]), &[])?;
        for text in ["", "{", "[1,2]", "\0\0"] {
            fs::write(cell.root().join("pods").join(&pod).join(name), text)?;
            let said = cell.fails(&["inspect", &pod])?;
            if !said.contains(name) {
                return fail(format!("{name} as {text:?}: {said:?}"));
            }
        }
        cell.clean(&[&pod])?;
    }
    Ok(())
}

fn gc_leaves_pods_alone() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("living", &[cell.container("main", "exec sleep 1000")]), &[])?;
    expect("gc", cell.ok(&["gc"])?, String::new())?;
    expect("state", cell.inspect("living")?["state"].as_str(), Some("Running"))?;
    cell.clean(&["living"])
}

fn gc_removes_an_interrupted_create() -> Result<(), Failed> {
    let cell = Cell::new()?;
    fs::create_dir_all(cell.root().join("pods/half/bundles"))?;
    let said = cell.ok(&["gc"])?;
    if !said.contains("pod half: its create was interrupted") {
        return fail(format!("gc says {said:?}"));
    }
    cell.expect_clean()
}

fn commands_at_the_same_time() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for round in 0..3 {
        let name = format!("busy{round}");
        cell.run(&cell.pod(&name, &[cell.container("main", "exec sleep 1000")]), &[])?;
        let commands: [&[&str]; 5] = [
            &["stop", &name],
            &["rm", "--force", &name],
            &["stop", &name],
            &["rm", "--force", &name],
            &["gc"],
        ];
        let children = commands.into_iter().map(|args| cell.spawn(args)).collect::<Result<Vec<_>, _>>()?;
        for child in children {
            let output = wait(child)?;
            if output.status.code().is_none_or(|code| code > 1) {
                return fail(format!("a command ended with {:?}", output.status));
            }
        }
        cell.ok(&["rm", "--force", &name])?;
        cell.expect_clean()?;
    }
    Ok(())
}
