//! From run to rm, and what can be seen in between.

use std::fs;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::fixture::{Cell, output, wait};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("life::a_pod_runs_and_is_removed", a_pod_runs_and_is_removed),
    ("life::create_waits_for_start", create_waits_for_start),
    ("life::a_name_is_taken_once", a_name_is_taken_once),
    ("life::namespaces_are_shared_as_asked", namespaces_are_shared_as_asked),
    ("life::pids_are_shared_when_asked", pids_are_shared_when_asked),
    ("life::orphans_are_reaped_by_pause", orphans_are_reaped_by_pause),
    ("life::exec_is_where_the_container_is", exec_is_where_the_container_is),
    ("life::limits_are_in_the_cgroups", limits_are_in_the_cgroups),
    ("life::wait_tells_the_phase", wait_tells_the_phase),
    ("life::what_is_wrong_is_named", what_is_wrong_is_named),
];

fn a_pod_runs_and_is_removed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let sleeper = "exec sleep 1000";
    let pod = cell.pod("web", &[cell.container("front", sleeper), cell.container("back", sleeper)]);
    cell.run(&pod, &[])?;
    let document = cell.inspect("web")?;
    expect("state", document["state"].as_str(), Some("Running"))?;
    for name in ["front", "back"] {
        let status = cell.container_status("web", name)?;
        if status["state"]["running"].is_null() || status["ready"] != true {
            return fail(format!("container {name} does not run: {status}"));
        }
    }
    let list = cell.ok(&["ps"])?;
    let line = list.lines().find(|line| line.starts_with("web")).unwrap_or_default().to_owned();
    if !line.contains("2/2") || !line.contains("Running") {
        return fail(format!("ps shows {list:?}"));
    }
    let refused = cell.fails(&["rm", "web"])?;
    if !refused.contains("stop it first") {
        return fail(format!("rm says {refused:?}"));
    }
    cell.ok(&["stop", "web"])?;
    expect("state", cell.inspect("web")?["state"].as_str(), Some("Failed"))?;
    cell.ok(&["rm", "web"])?;
    let unknown = cell.fails(&["inspect", "web"])?;
    if !unknown.contains("pod web does not exist") {
        return fail(format!("inspect says {unknown:?}"));
    }
    cell.ok(&["rm", "--force", "web"])?;
    cell.expect_clean()
}

fn create_waits_for_start() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("later", &[cell.container("main", "echo begun; exec sleep 1000")]);
    let output = output(cell.command("create", &pod, &[])?)?;
    expect("create", output.status.code(), Some(0))?;
    expect("state", cell.inspect("later")?["state"].as_str(), Some("Created"))?;
    cell.fails(&["logs", "later"])?;
    cell.ok(&["start", "later"])?;
    cell.until_logged("later", "main", "begun")?;
    let again = cell.fails(&["start", "later"])?;
    if !again.contains("it is Running") {
        return fail(format!("start says {again:?}"));
    }
    cell.clean(&["later"])
}

fn a_name_is_taken_once() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("twin", &[cell.container("main", "exec sleep 1000")]);
    let (mut first, mut second) = (cell.command("run", &pod, &[])?, cell.command("run", &pod, &[])?);
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let (first, second) = (quiet(&mut first)?, quiet(&mut second)?);
    let mut codes = [first, second].map(|child| wait(child).ok().and_then(|output| output.status.code()));
    codes.sort_unstable();
    expect("exit codes of two at once", codes, [Some(0), Some(1)])?;
    expect("state", cell.inspect("twin")?["state"].as_str(), Some("Running"))?;
    let refused = cell.refused(&pod, &[])?;
    if !refused.contains("pod twin exists already") {
        return fail(format!("run says {refused:?}"));
    }
    cell.clean(&["twin"])
}

/// Containers of a namespace of the pod, by kind.
fn members(tree: &Value, kind: &str) -> Vec<Vec<String>> {
    let list = tree["namespaces"].as_array().cloned().unwrap_or_default();
    let of_kind = list.iter().filter(|namespace| namespace["kind"] == kind);
    of_kind
        .map(|namespace| serde_json::from_value(namespace["members"].clone()).unwrap_or_default())
        .collect()
}

fn tree(cell: &Cell, pod: &str) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&cell.ok(&["tree", pod, "--format", "json"])?)?)
}

fn namespaces_are_shared_as_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let sleeper = "exec sleep 1000";
    let pod = cell.pod("shared", &[cell.container("a", sleeper), cell.container("b", sleeper)]);
    cell.run(&pod, &[])?;
    let tree = tree(&cell, "shared")?;
    for kind in ["net", "ipc", "uts"] {
        expect(kind, members(&tree, kind), vec![["_sandbox", "a", "b"].map(str::to_owned).to_vec()])?;
    }
    for kind in ["pid", "mnt", "cgroup"] {
        expect(kind, members(&tree, kind).len(), 3)?;
    }
    expect("host name", cell.ok(&["exec", "shared", "-c", "a", "--", "hostname"])?, "shared\n".to_owned())?;
    // A file of one is a file of the other only in what they share.
    cell.ok(&["exec", "shared", "-c", "a", "--", "sh", "-c", "echo x > /dev/shm/x; echo y > /tmp/y"])?;
    expect("shm", cell.ok(&["exec", "shared", "-c", "b", "--", "cat", "/dev/shm/x"])?, "x\n".to_owned())?;
    let absent = cell.call(&["exec", "shared", "-c", "b", "--", "cat", "/tmp/y"])?;
    expect("exit code of cat of a file of another", absent.status.code(), Some(1))?;
    cell.clean(&["shared"])
}

fn pids_are_shared_when_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let sleeper = "exec sleep 1000";
    let mut pod = cell.pod("pids", &[cell.container("a", sleeper), cell.container("b", sleeper)]);
    pod["spec"]["shareProcessNamespace"] = json!(true);
    cell.run(&pod, &[])?;
    let tree = tree(&cell, "pids")?;
    expect("pid", members(&tree, "pid"), vec![["_sandbox", "a", "b"].map(str::to_owned).to_vec()])?;
    let seen = cell.ok(&["exec", "pids", "-c", "a", "--", "cat", "/proc/1/comm"])?;
    expect("PID 1", seen, "pause\n".to_owned())?;
    let text = cell.ok(&["tree", "pids"])?;
    if !text.contains("pause") || !text.contains("sleep 1000") || !text.contains("1 inside") {
        return fail(format!("tree shows {text}"));
    }
    cell.clean(&["pids"])
}

fn orphans_are_reaped_by_pause() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "for i in 1 2 3 4 5; do (sleep 0 &); done; echo made; exec sleep 1000";
    let mut pod = cell.pod("reaper", &[cell.container("main", script)]);
    pod["spec"]["shareProcessNamespace"] = json!(true);
    cell.run(&pod, &[])?;
    cell.until_logged("reaper", "main", "made")?;
    let deadline = std::time::Instant::now() + crate::fixture::DEADLINE;
    loop {
        let tree = tree(&cell, "reaper")?;
        let containers = tree["containers"].as_array().cloned().unwrap_or_default();
        let processes: Vec<Value> = containers
            .iter()
            .flat_map(|container| container["processes"].as_array().cloned().unwrap_or_default())
            .collect();
        if processes.len() == 2 && processes.iter().all(|process| process["is_zombie"] == false) {
            break;
        }
        if std::time::Instant::now() > deadline {
            return fail(format!("still there: {processes:?}"));
        }
    }
    cell.clean(&["reaper"])
}

fn exec_is_where_the_container_is() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut container = cell.container("main", "exec sleep 1000");
    container["env"] = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(A)"}]);
    container["workingDir"] = json!("/data");
    cell.run(&cell.pod("exec", &[container]), &[])?;
    expect("env", cell.ok(&["exec", "exec", "--", "sh", "-c", "echo $B; pwd"])?, "11\n/data\n".to_owned())?;
    let code = cell.call(&["exec", "exec", "--", "sh", "-c", "exit 7"])?.status.code();
    expect("exit code", code, Some(7))?;
    let code = cell.call(&["exec", "exec", "--", "sh", "-c", "kill -9 $$"])?.status.code();
    expect("exit code of a killed program", code, Some(137))?;
    let none = cell.call(&["exec", "exec", "--", "/no/such"])?;
    expect("exit code without a program", none.status.code(), Some(255))?;
    let unknown = cell.call(&["exec", "exec", "-c", "other", "--", "true"])?;
    if !String::from_utf8_lossy(&unknown.stderr).contains("no container other; it has: main") {
        return fail(format!("exec says {unknown:?}"));
    }
    cell.clean(&["exec"])
}

fn limits_are_in_the_cgroups() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let with = |name: &str, cpu: &str, memory: &str| {
        let mut container = cell.container(name, "exec sleep 1000");
        container["resources"] = json!({"limits": {"cpu": cpu, "memory": memory}});
        container
    };
    cell.run(&cell.pod("limits", &[with("a", "500m", "64Mi"), with("b", "1", "32Mi")]), &[])?;
    let read = |below: &str| {
        fs::read_to_string(cell.cgroup("limits").join(below)).unwrap_or_default().trim().to_owned()
    };
    expect("a memory.max", read("a/memory.max"), (64 << 20).to_string())?;
    expect("a cpu.max", read("a/cpu.max"), "50000 100000".to_owned())?;
    expect("pod memory.max", read("memory.max"), (96 << 20).to_string())?;
    expect("pod cpu.max", read("cpu.max"), "150000 100000".to_owned())?;
    expect("a memory.oom.group", read("a/memory.oom.group"), "1".to_owned())?;
    expect("class", cell.inspect("limits")?["qosClass"].as_str(), Some("Guaranteed"))?;
    let score = cell.ok(&["exec", "limits", "-c", "a", "--", "cat", "/proc/1/oom_score_adj"])?;
    expect("oom_score_adj", score, "-997\n".to_owned())?;
    cell.clean(&["limits"])
}

fn wait_tells_the_phase() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for (name, script, phase, code) in
        [("good", "exit 0", "Succeeded\n", 0), ("bad", "exit 3", "Failed\n", 1)]
    {
        let mut pod = cell.pod(name, &[cell.container("main", script)]);
        pod["spec"]["restartPolicy"] = json!("Never");
        let _code = cell.try_run(&pod, &[])?;
        let output = cell.call(&["wait", name])?;
        expect("phase", String::from_utf8(output.stdout)?, phase.to_owned())?;
        expect("exit code of wait", output.status.code(), Some(code))?;
    }
    cell.clean(&["good", "bad"])
}

fn what_is_wrong_is_named() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("wrong", &[cell.container("main", "true")]);
    pod["spec"]["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["true"]}});
    pod["spec"]["frobnicate"] = json!(1);
    let said = cell.refused(&pod, &[])?;
    for path in ["spec.containers[0].livenessProbe", "spec.frobnicate"] {
        if !said.contains(path) {
            return fail(format!("{path} is not named: {said:?}"));
        }
    }
    let mut pod = cell.pod("wrong", &[cell.container("main", "true")]);
    pod["spec"]["containers"][0]["image"] = json!("/no/such/image");
    let said = cell.refused(&pod, &[])?;
    if !said.contains("/no/such/image") || !said.contains("main") {
        return fail(format!("the image is not named: {said:?}"));
    }
    let said =
        cell.refused(&cell.pod("wrong", &[cell.container("main", "true")]), &["--pause", "/no/pause"])?;
    if !said.contains("/no/pause") {
        return fail(format!("pause is not named: {said:?}"));
    }
    cell.expect_clean()
}
