//! A create that fails, or dies, at each of its steps in turn: nothing may be left.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use runtime::launch::{self, CreateRequest, FailAt, create, read_features};
use runtime::plan::{Actor, Plan, plan};
use runtime::spec::config;
use runtime::state::StateRoot;
use serde_json::{Value, json};

use crate::fixture::{Cell, Lines};
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("fault::each_step_of_a_full_container_fails", || each_step("step", full)),
    ("fault::each_step_of_a_full_container_dies", || each_step("death", full)),
    ("fault::each_step_of_a_pod_member_fails", || each_step("step", pod_member)),
    ("fault::each_step_of_a_pod_member_dies", || each_step("death", pod_member)),
    ("fault::each_step_in_a_new_user_namespace_fails", || each_step("step", with_user_namespace)),
    ("fault::a_process_that_is_stopped_is_given_up", process_is_stopped),
    ("fault::how_a_process_ended_before_its_start_is_told", end_before_the_start_is_told),
    ("fault::what_cannot_be_taken_back_is_found_again", what_is_left_is_found),
    ("fault::a_mount_namespace_of_others_is_left_as_it_was", mount_namespace_of_others),
];

/// Exit code of [`create_with_fault`] when the create failed.
const FAILED: i32 = 3;
/// How long a process may take that was made to stop.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);

/// A process of its own with one thread: `--create BUNDLE STATE_ROOT step|death|stop|wait|end INDEX`. Prints each step, then `end`.
/// Whatever the index, `stop` stops init before its last step, `wait` the runtime before its own, and `end` ends init before its start.
pub(crate) fn create_with_fault(args: &[String]) -> ExitCode {
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let [bundle, root, mode, index] = args else { return Err("four arguments".into()) };
        let (bundle, index) = (Path::new(bundle), index.parse()?);
        let id = "c".parse()?;
        let text = fs::read_to_string(bundle.join("config.json"))?;
        let spec = config::parse(&text, bundle)?;
        let pid_file = bundle.with_file_name("data").join("pid");
        let plan = plan(&id, &spec, Some(&pid_file), &read_features()?)?;
        let mut stdout = std::io::stdout();
        for step in &plan.steps {
            writeln!(stdout, "{}", step.action)?;
        }
        writeln!(stdout, "end")?;
        stdout.flush()?;
        let fail_at = fail_at(mode, index, &plan)?;
        let root = StateRoot::new(root);
        let request = CreateRequest {
            id: &id,
            bundle,
            spec: &spec,
            plan: &plan,
            root: &root,
            preserve_fds: 0,
            console: None,
            answer_within: (mode == "stop").then_some(LIMIT),
            fail_at,
        };
        if mode == "end" {
            launch::run(&request)?
        } else {
            create(&request)?
        };
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(u8::try_from(FAILED).unwrap_or_default())
        }
    }
}

/// Where a plan is to fail, and how.
pub(crate) fn fail_at(mode: &str, index: usize, plan: &Plan) -> Result<FailAt, &'static str> {
    match mode {
        "step" => Ok(FailAt::Step(index)),
        "death" => Ok(FailAt::Death(index)),
        "stop" => last_of(plan, Actor::Init),
        "wait" => last_of(plan, Actor::Runtime),
        "end" => Ok(FailAt::Step(plan.steps.len() + 1)),
        _ => Err("none of step, death, stop, wait and end"),
    }
}

fn last_of(plan: &Plan, actor: Actor) -> Result<FailAt, &'static str> {
    plan.steps.iter().rposition(|step| step.actor == actor).map(FailAt::Stop).ok_or("no step of that process")
}

/// Everything that podrt can set.
fn full(cell: &Cell) -> Result<Value, Failed> {
    let mut config = cell.config("new/c", &["hold"]);
    let hook = json!([{"path": std::env::current_exe()?, "args": ["hook", "--hook", "pass"]}]);
    config["hooks"] =
        json!({"prestart": hook, "createRuntime": hook, "createContainer": hook, "poststop": hook});
    config["hostname"] = json!("inner");
    config["domainname"] = json!("example");
    config["root"]["readonly"] = json!(true);
    let process = &mut config["process"];
    process["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [5]});
    let caps = json!(["CAP_KILL"]);
    process["capabilities"] = json!({"bounding": caps, "permitted": caps, "effective": caps,
        "inheritable": caps, "ambient": caps});
    process["noNewPrivileges"] = json!(true);
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE"});
    process["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    process["oomScoreAdj"] = json!(10);
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]);
    let mounts = config["mounts"].as_array_mut().ok_or("no mounts")?;
    mounts.push(json!({"destination": "/sys", "type": "sysfs", "options": ["ro", "nosuid"]}));
    mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}));
    mounts.push(json!({"destination": "/dev/pts", "type": "devpts", "options": ["newinstance"]}));
    mounts.push(json!({"destination": "/dev/mqueue", "type": "mqueue"}));
    mounts.push(json!({"destination": "/data", "type": "bind", "source": cell.path().join("data"),
        "options": ["rbind", "rro", "rslave"]}));
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().ok_or("no namespaces")?.push(json!({"type": "time"}));
    linux["resources"] =
        json!({"memory": {"limit": 67_108_864}, "cpu": {"quota": 50_000}, "pids": {"limit": 20}});
    linux["timeOffsets"] = json!({"boottime": {"secs": 10}});
    linux["personality"] = json!({"domain": "LINUX"});
    linux["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    linux["devices"] = json!([{"path": "/dev/fifo", "type": "p", "major": 0, "minor": 0}]);
    linux["rootfsPropagation"] = json!("rslave");
    linux["maskedPaths"] = json!(["/nowhere", "/proc/kcore", "/proc/tty"]);
    linux["readonlyPaths"] = json!(["/proc/sys"]);
    Ok(config)
}

/// Joins the namespaces of a container that runs, by way of the joiner.
fn pod_member(cell: &Cell) -> Result<Value, Failed> {
    let mut output = cell.create("sandbox", &cell.config("sandbox", &["hold"]))?;
    cell.ok(&["start", "sandbox"])?;
    output.expect("ready")?;
    let pid = cell.pid("sandbox")?;
    let mut config = cell.config("c", &["hold"]);
    let path = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    config["linux"]["namespaces"] = json!([
        {"type": "pid", "path": path("pid")}, {"type": "network", "path": path("net")},
        {"type": "ipc", "path": path("ipc")}, {"type": "uts", "path": path("uts")},
        {"type": "mount"}, {"type": "cgroup"},
    ]);
    Ok(config)
}

fn with_user_namespace(cell: &Cell) -> Result<Value, Failed> {
    let mut config = cell.config("c", &["hold"]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().ok_or("no namespaces")?.push(json!({"type": "user"}));
    linux["uidMappings"] = map.clone();
    linux["gidMappings"] = map;
    Ok(config)
}

fn each_step(mode: &str, config: fn(&Cell) -> Result<Value, Failed>) -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let bundle = cell.bundle(&config(&cell)?)?;
    // The sandbox's create has written a bundle and state of its own.
    cell.settle()?;
    let steps = create_failing(&cell, &bundle, mode, usize::MAX)?;
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()?;
    if steps.len() < 10 {
        return fail(format!("a plan of {} steps", steps.len()));
    }
    for index in (0..=steps.len()).filter(|index| !is_one_of_many(&steps, *index)) {
        create_failing(&cell, &bundle, mode, index)?;
        let step = steps.get(index).map_or("the end", String::as_str);
        let checked = if mode == "death" {
            // In turn; but once the state file names the process, gc leaves the container alone.
            let verb: &[&str] =
                if index % 2 == 1 && index < steps.len() { &["gc"] } else { &["delete", "--force", "c"] };
            cell.ok(verb).and_then(|_| cell.expect_nothing_left())
        } else {
            cell.expect_nothing_left()
        };
        if let Err(error) = checked {
            return fail(format!("step {index} ({step}): {}", error.message().unwrap_or_default()));
        }
    }
    Ok(())
}

/// In a pid namespace with others, who can stop it.
fn process_is_stopped() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let bundle = cell.bundle(&pod_member(&cell)?)?;
    cell.settle()?;
    expect_failure(&cell, &bundle, "stop", "did not answer within 2 s")?;
    cell.expect_nothing_left()
}

fn end_before_the_start_is_told() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let bundle = cell.bundle(&cell.config("c", &["hold"]))?;
    cell.settle()?;
    expect_failure(&cell, &bundle, "end", "ended before it was ready (exit status 1)")?;
    // The caller's: it was created.
    fs::remove_file(cell.path().join("data/pid"))?;
    cell.expect_nothing_left()
}

/// Fails unless the create fails and says this.
fn expect_failure(cell: &Cell, bundle: &Path, mode: &str, wanted: &str) -> Result<(), Failed> {
    let output = creating(cell, bundle, mode, 0).output()?;
    let message = String::from_utf8(output.stderr)?;
    if output.status.code() != Some(FAILED) || !message.contains(wanted) {
        return fail(format!("{}: {message}", output.status));
    }
    Ok(())
}

/// The process that [`create_with_fault`] is.
fn creating(cell: &Cell, bundle: &Path, mode: &str, index: usize) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("--create").args([bundle, &cell.state_root()]).args([mode, &index.to_string()]);
    command.stdin(Stdio::null());
    command
}

/// Without its state nobody would know of the cgroup, and each further create would be refused because of it.
fn what_is_left_is_found() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let bundle = cell.bundle(&cell.config("c", &["hold"]))?;
    let create = creating(&cell, &bundle, "wait", 0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(create.id())?);
    waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT)?;
    // A mount point cannot be removed.
    let group = cell.cgroup("c").join("held");
    fs::create_dir(&group)?;
    mount(Some(&group), &group, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let init = Pid::from_raw(fs::read_to_string(cell.cgroup("c").join("cgroup.procs"))?.trim().parse()?);
    kill(init, Signal::SIGKILL)?;
    // A create whose process ends later has succeeded.
    cell.wait_end(init)?;
    kill(pid, Signal::SIGCONT)?;
    let output = create.wait_with_output()?;
    let is_known = cell.state_root().join("c").exists();
    umount(&group)?;
    let message = String::from_utf8(output.stderr)?;
    if output.status.code() != Some(FAILED) || !message.contains("is still there") || !is_known {
        return fail(format!("{}, its state is there: {is_known}: {message}", output.status));
    }
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}

/// True within a row of steps that do the same to different objects (a device node, a link, a mount): the first and the last
/// stand for all.
fn is_one_of_many(steps: &[String], index: usize) -> bool {
    let word = |index: usize| steps.get(index).and_then(|step| step.split([' ', '[']).next());
    index > 0 && word(index).is_some() && word(index - 1) == word(index) && word(index) == word(index + 1)
}

/// Lets a create fail at a step, none if there is no such step; returns the steps.
fn create_failing(cell: &Cell, bundle: &Path, mode: &str, index: usize) -> Result<Vec<String>, Failed> {
    let create = creating(cell, bundle, mode, index).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (steps, output) = collect(create)?;
    // The pid file is the caller's once create has succeeded.
    if index >= steps.len() {
        match fs::remove_file(cell.path().join("data/pid")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let message = String::from_utf8(output.stderr)?;
    let code = output.status.code();
    let is_expected = match mode {
        _ if index == usize::MAX => code == Some(0),
        // Either the runtime died, or init did and the runtime took everything back.
        "death" => code != Some(0),
        _ => code == Some(FAILED),
    };
    if !is_expected {
        return fail(format!("step {index} of {}: {} {message}", steps.len(), output.status));
    }
    Ok(steps)
}

/// Reads the steps without waiting for the end of stdout, which the container may hold open.
fn collect(mut child: Child) -> Result<(Vec<String>, std::process::Output), Failed> {
    let mut lines = Lines::of(&mut child)?;
    let mut steps = Vec::new();
    loop {
        match lines.next()?.as_str() {
            "end" | "" => break,
            step => steps.push(step.to_owned()),
        }
    }
    let status = child.wait()?;
    let mut stderr = Vec::new();
    if let (false, Some(mut pipe)) = (status.success(), child.stderr.take()) {
        std::io::Read::read_to_end(&mut pipe, &mut stderr)?;
    }
    Ok((steps, std::process::Output { status, stdout: Vec::new(), stderr }))
}

fn mount_namespace_of_others() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let mut index = 0;
    loop {
        let mut holder = Command::new("/proc/self/exe")
            .arg("--hold-mounts")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Lines::of(&mut holder)?.expect("ready")?;
        let mountinfo = format!("/proc/{}/mountinfo", holder.id());
        let mut config = full(&cell)?;
        for ns in config["linux"]["namespaces"].as_array_mut().ok_or("no namespaces")? {
            if ns["type"] == "mount" {
                ns["path"] = json!(format!("/proc/{}/ns/mnt", holder.id()));
            }
        }
        let bundle = cell.bundle(&config)?;
        cell.settle()?;
        let before = fs::read_to_string(&mountinfo)?;
        let steps = create_failing(&cell, &bundle, "step", index)?;
        cell.expect_nothing_left()?;
        let pivot = steps.iter().position(|step| step == "pivot the root").ok_or("no pivot")?;
        let after = fs::read_to_string(&mountinfo)?;
        drop(holder.stdin.take());
        holder.wait()?;
        // The propagation of what was there is cut, and stays so.
        if index <= pivot && mount_points(&before) != mount_points(&after) {
            return fail(format!("step {index} left in the other namespace:\n{after}"));
        }
        // Nothing is done in that namespace before the clone.
        index = if index == 0 {
            steps.iter().position(|step| step.starts_with("clone")).unwrap_or(0)
        } else {
            index
        } + 1;
        while is_one_of_many(&steps, index) {
            index += 1;
        }
        if index > pivot {
            return Ok(());
        }
    }
}

fn mount_points(mountinfo: &str) -> Vec<&str> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).collect()
}
