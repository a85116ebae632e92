//! Init containers and sidecars.

use std::fs;

use libtest_mimic::Failed;
use serde_json::json;

use crate::fixture::{Cell, output, refuse, wait};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("order::init_containers_come_one_by_one", init_containers_come_one_by_one),
    ("order::a_failed_init_container_fails_the_pod", a_failed_init_container_fails_the_pod),
    ("order::a_sidecar_runs_beside_the_rest", a_sidecar_runs_beside_the_rest),
    ("order::a_pod_ends_without_its_sidecars", a_pod_ends_without_its_sidecars),
    ("order::ps_tells_how_far_the_init_containers_are", ps_tells_how_far_the_init_containers_are),
];

fn init_containers_come_one_by_one() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let shared = json!([{"name": "data", "mountPath": "/data"}]);
    let step = |name: &str, script: &str| {
        let mut container = cell.container(name, script);
        container["volumeMounts"] = shared.clone();
        container
    };
    let mut pod = cell.pod("steps", &[step("main", "echo main >> /data/order; cat /data/order")]);
    pod["spec"]["initContainers"] =
        json!([step("one", "sleep 0.2; echo one >> /data/order"), step("two", "echo two >> /data/order"),]);
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "steps"])?;
    expect("order", cell.logs("steps", "main")?, "one\ntwo\nmain\n".to_owned())?;
    cell.clean(&["steps"])
}

fn a_failed_init_container_fails_the_pod() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("stuck", &[cell.container("main", "true")]);
    pod["spec"]["initContainers"] = json!([cell.container("bad", "exit 4")]);
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.refused(&pod, &[])?;
    cell.fails(&["wait", "stuck"]).map(drop)?;
    expect("phase", cell.inspect("stuck")?["phase"].as_str(), Some("Failed"))?;
    let status = cell.container_status("stuck", "bad")?;
    expect("exit code", status["state"]["terminated"]["exitCode"].as_i64(), Some(4))?;
    let main = cell.container_status("stuck", "main")?;
    if main["state"]["waiting"].is_null() && !main["state"]["terminated"]["startedAt"].is_null() {
        return fail(format!("main was started: {main}"));
    }
    cell.clean(&["stuck"])
}

fn a_sidecar_runs_beside_the_rest() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut sidecar = cell.container("proxy", "echo up; exec sleep 1000");
    sidecar["restartPolicy"] = json!("Always");
    let mut pod = cell.pod("beside", &[cell.container("main", "echo main; exec sleep 1000")]);
    pod["spec"]["initContainers"] = json!([sidecar, cell.container("init", "true")]);
    cell.run(&pod, &[])?;
    for name in ["proxy", "main"] {
        let status = cell.container_status("beside", name)?;
        if status["state"]["running"].is_null() {
            return fail(format!("{name} does not run: {status}"));
        }
    }
    let init = cell.container_status("beside", "init")?;
    expect("init", init["state"]["terminated"]["reason"].as_str(), Some("Completed"))?;
    // As kubectl counts: what has ended for good is not ready, and is not missed.
    expect("ps", ps(&cell)?, ["beside", "2/2", "Running"].map(str::to_owned))?;
    cell.clean(&["beside"])
}

/// Name, readiness and status of the only pod, as `ps` shows them.
fn ps(cell: &Cell) -> Result<[String; 3], Failed> {
    let table = cell.ok(&["ps"])?;
    let line = table.lines().nth(1).ok_or("no pod")?;
    let mut words = line.split_whitespace().map(str::to_owned);
    Ok(std::array::from_fn(|_| words.next().unwrap_or_default()))
}

fn ps_tells_how_far_the_init_containers_are() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let shared = json!([{"name": "data", "mountPath": "/data"}]);
    let mut second = cell.container("two", "until [ -e /data/go ]; do sleep 0.05; done; exit 3");
    second["volumeMounts"] = shared;
    let mut pod = cell.pod("far", &[cell.container("main", "true")]);
    pod["spec"]["initContainers"] = json!([cell.container("one", "true"), second]);
    pod["spec"]["volumes"] = json!([{"name": "data", "hostPath": {"path": cell.path()}}]);
    output(cell.command("create", &pod, &[])?)?;
    let start = cell.spawn(&["start", "far"])?;
    cell.until("far", "at its second init container", |pod| {
        !pod["containers"][1]["state"]["running"].is_null()
    })?;
    expect("ps", ps(&cell)?, ["far", "0/1", "Init:1/2"].map(str::to_owned))?;
    fs::write(cell.path().join("go"), "")?;
    let said = refuse(&wait(start)?)?;
    if !said.contains("container two: CrashLoopBackOff") {
        return fail(format!("start said: {said}"));
    }
    expect("ps", ps(&cell)?, ["far", "0/1", "Init:CrashLoopBackOff"].map(str::to_owned))?;
    cell.clean(&["far"])
}

fn a_pod_ends_without_its_sidecars() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut sidecar = cell.container("proxy", "trap 'echo told; exit 0' TERM; while :; do sleep 0.1; done");
    sidecar["restartPolicy"] = json!("Always");
    let mut pod = cell.pod("job", &[cell.container("main", "exit 0")]);
    pod["spec"]["initContainers"] = json!([sidecar]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(30);
    cell.run(&pod, &[])?;
    expect("phase", cell.ok(&["wait", "job"])?, "Succeeded\n".to_owned())?;
    cell.until_logged("job", "proxy", "told")?;
    cell.clean(&["job"])
}
