//! What interrupted commands leave, state files that cannot be trusted, and commands at the same time.

use std::fs;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};

use serde_json::{Value, json};

use crate::fixture::{Cell, Lines};
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("garbage::gc_leaves_containers_alone", gc_leaves_containers),
    ("garbage::gc_finishes_an_interrupted_delete", gc_finishes_a_delete),
    ("garbage::gc_removes_an_empty_directory_but_not_a_locked_one", gc_and_directories),
    ("garbage::gc_tells_of_cgroups_whose_state_is_gone", gc_and_cgroups),
    ("garbage::a_state_file_that_tells_nothing_signals_nobody", untrusted_state),
    ("garbage::a_state_file_that_names_a_stranger_harms_nobody", stranger),
    ("garbage::a_copied_state_harms_nobody", copied_state),
    ("garbage::a_cgroup_that_another_has_now_is_left_to_it", taken_cgroup),
    ("garbage::a_start_that_hangs_does_not_stop_delete", hanging_start),
    ("garbage::a_forced_delete_names_who_has_the_container_for_long", long_locked),
    ("garbage::commands_at_the_same_time", at_the_same_time),
];

/// A process that is no container's.
fn bystander() -> Result<Child, Failed> {
    let mut child =
        Command::new("/proc/self/exe").args(["--inside", "hold"]).stdout(Stdio::piped()).spawn()?;
    Lines::of(&mut child)?.expect("ready")?;
    Ok(child)
}

fn expect_alive(child: &mut Child) -> Result<(), Failed> {
    match child.try_wait()? {
        None => Ok(()),
        Some(status) => fail(format!("the bystander has ended: {status}")),
    }
}

fn end(mut child: Child) -> Result<(), Failed> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn running(cell: &Cell, id: &str) -> Result<Lines, Failed> {
    let mut output = cell.create(id, &cell.config(id, &["hold"]))?;
    cell.ok(&["start", id])?;
    output.expect("ready")?;
    Ok(output)
}

fn gc_leaves_containers() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _created = cell.create("created", &cell.config("created", &["hold"]))?;
    let _running = running(&cell, "running")?;
    let _paused = running(&cell, "paused")?;
    cell.ok(&["pause", "paused"])?;
    let _stopped = running(&cell, "stopped")?;
    let pid = cell.pid("stopped")?;
    cell.ok(&["kill", "stopped", "KILL"])?;
    cell.wait_end(pid)?;
    fs::write(cell.state_root().join("running/state.json.new"), "{")?;
    let said = cell.ok(&["gc"])?;
    if said != "removed container running: an unfinished state file\n" {
        return fail(said);
    }
    for id in ["created", "running", "paused", "stopped"] {
        cell.expect_status(id, id)?;
        cell.ok(&["delete", "--force", id])?;
    }
    if !cell.ok(&["gc"])?.is_empty() {
        return fail("there was something to remove");
    }
    cell.expect_nothing_left()
}

fn gc_finishes_a_delete() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _output = running(&cell, "c")?;
    let pid = cell.pid("c")?;
    cell.ok(&["kill", "c", "KILL"])?;
    cell.wait_end(pid)?;
    fs::remove_dir(cell.cgroup("c"))?;
    let said = cell.ok(&["gc"])?;
    if said != "removed container c: its delete was interrupted\n" {
        return fail(said);
    }
    cell.expect_nothing_left()
}

fn gc_and_directories() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let (empty, locked) = (cell.state_root().join("empty"), cell.state_root().join("locked"));
    fs::create_dir(&empty)?;
    let message = cell.refused(&["delete", "empty"])?;
    if !message
        .contains("container empty does not exist: its create was interrupted; podrt delete --force empty")
    {
        return fail(message);
    }
    fs::create_dir(&locked)?;
    let lock = fs::File::open(&locked)?;
    lock.lock()?;
    let said = cell.ok(&["gc"])?;
    if said != "removed container empty: a directory without a state file\n" || !locked.exists() {
        return fail(said);
    }
    drop(lock);
    cell.ok(&["gc"])?;
    let stray = cell.state_root().join("stray");
    fs::write(&stray, "")?;
    let message = cell.refused(&["gc"])?;
    if !message.contains("stray: not podrt's, not touched") {
        return fail(message);
    }
    fs::remove_file(stray)?;
    cell.expect_nothing_left()
}

fn gc_and_cgroups() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _output = running(&cell, "c")?;
    let pid = cell.pid("c")?;
    fs::remove_dir_all(cell.state_root().join("c"))?;
    let message = cell.refused(&["gc"])?;
    if !message.contains("/c: has processes, and ") {
        return fail(message);
    }
    kill(pid, None)?;
    kill(pid, Signal::SIGKILL)?;
    cell.wait_end(pid)?;
    let said = cell.ok(&["gc"])?;
    if !said.starts_with("removed cgroup /podrt-test") {
        return fail(said);
    }
    cell.expect_nothing_left()
}

fn untrusted_state() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut other = bystander()?;
    let pid = other.id();
    let foreign = json!({"oci_version": "1.2.0", "id": "another", "bundle": "/b", "rootfs": "/r", "created": "",
        "annotations": {}, "cgroup": "/", "process": {"pid": pid, "start_ticks": 0, "boot_id": ""}});
    let mut with_path = foreign.clone();
    with_path["cgroup"] = json!("/nowhere");
    for text in [
        String::new(),
        "{".to_owned(),
        "\0\0\0\0".to_owned(),
        "null".to_owned(),
        format!("{{\"id\": \"c\", \"init_process_pid\": {pid}}}"),
        foreign.to_string(),
        with_path.to_string(),
    ] {
        let mut output = running(&cell, "c")?;
        fs::write(cell.state_root().join("c/state.json"), &text)?;
        for args in [
            &["state", "c"][..],
            &["kill", "c", "KILL"],
            &["kill", "--all", "c", "KILL"],
            &["start", "c"],
            &["pause", "c"],
            &["resume", "c"],
            &["update", "--pids-limit", "5", "c"],
            &["delete", "c"],
            &["gc"],
        ] {
            let message = cell.refused(args)?;
            if !message.contains("state file ") {
                return fail(format!("{args:?} on {text}: {message}"));
            }
        }
        expect_alive(&mut other)?;
        // The cgroup tells whose it is: nothing is left, and the container's process has ended.
        cell.ok(&["delete", "--force", "c"])?;
        output.expect("")?;
        expect_alive(&mut other)?;
    }
    end(other)?;
    cell.expect_nothing_left()
}

fn stranger() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut other = bystander()?;
    let group = cell.cgroup("stranger");
    fs::create_dir(&group)?;
    fs::write(group.join("cgroup.procs"), other.id().to_string())?;
    let _output = cell.create("c", &cell.config("c", &["hold"]))?;
    let file = cell.state_root().join("c/state.json");
    let original: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let mut forged = original.clone();
    forged["cgroup"] = json!(original["cgroup"].as_str().ok_or("no cgroup")?.replace("/c", "/stranger"));
    // The number of another process, with another start.
    forged["process"]["pid"] = json!(other.id());
    fs::write(&file, forged.to_string())?;
    cell.expect_status("c", "stopped")?;
    for args in [
        &["kill", "c", "KILL"][..],
        &["kill", "--all", "c", "KILL"],
        &["delete", "c"],
        &["delete", "--force", "c"],
    ] {
        cell.refused(args)?;
        expect_alive(&mut other)?;
    }
    fs::write(&file, original.to_string())?;
    cell.ok(&["delete", "--force", "c"])?;
    end(other)?;
    fs::remove_dir(group)?;
    cell.expect_nothing_left()
}

/// All that a state file says is true, but of a container of another root.
fn copied_state() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _output = cell.create("c", &cell.config("c", &["hold"]))?;
    cell.ok(&["start", "c"])?;
    let copy = cell.path().join("copy");
    fs::create_dir_all(copy.join("c"))?;
    for name in ["state.json", "config.json"] {
        fs::copy(cell.state_root().join("c").join(name), copy.join("c").join(name))?;
    }
    for args in [
        &["kill", "c", "KILL"][..],
        &["kill", "--all", "c", "KILL"],
        &["pause", "c"],
        &["resume", "c"],
        &["update", "--memory", "64m", "c"],
        &["exec", "c", "/program", "--inside", "exit"],
        &["delete", "c"],
    ] {
        let output = cell.podrt_at(&copy).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || !said.contains("not this container's") {
            return fail(format!("{args:?} ended with {}: {said:?}", output.status));
        }
        cell.expect_status("c", "running")?;
    }
    if !cell.podrt_at(&copy).args(["delete", "--force", "c"]).status()?.success() || copy.join("c").exists() {
        return fail("the copy is still there");
    }
    cell.expect_status("c", "running")?;
    fs::remove_dir(copy)?;
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}

/// Two containers with one linux.cgroupsPath, of which the first was interrupted before it had made the cgroup, or after it
/// had removed it.
fn taken_cgroup() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _output = cell.create("c", &cell.config("c", &["hold"]))?;
    let state: Value = serde_json::from_slice(&fs::read(cell.state_root().join("c/state.json"))?)?;
    for (id, has_process, verb) in
        [("half", false, "delete"), ("rest", true, "delete"), ("junk", false, "gc"), ("dust", true, "gc")]
    {
        let mut interrupted = state.clone();
        interrupted["id"] = json!(id);
        if has_process {
            interrupted["process"]["start_ticks"] = json!(1);
        } else {
            interrupted["process"] = Value::Null;
        }
        fs::create_dir(cell.state_root().join(id))?;
        fs::write(cell.state_root().join(id).join("state.json"), interrupted.to_string())?;
        let args: &[&str] = if verb == "gc" { &["gc"] } else { &["delete", "--force", id] };
        cell.ok(args)?;
        if cell.state_root().join(id).exists() {
            return fail(format!("{id} is still there after {verb}"));
        }
        cell.expect_status("c", "created")?;
    }
    cell.ok(&["delete", "--force", "c"])?;
    cell.expect_nothing_left()
}

fn hanging_start() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let _output = cell.create("c", &cell.config("c", &["hold"]))?;
    kill(cell.pid("c")?, Signal::SIGSTOP)?;
    let mut start = cell.podrt().args(["start", "c"]).stderr(Stdio::null()).spawn()?;
    // The start has the lock, once nobody else can get it.
    let directory = fs::File::open(cell.state_root().join("c"))?;
    while directory.try_lock().is_ok() {
        directory.unlock()?;
        std::thread::yield_now();
    }
    cell.ok(&["delete", "--force", "c"])?;
    if start.wait()?.success() {
        return fail("the start has succeeded");
    }
    cell.expect_nothing_left()
}

fn long_locked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    let file = cell.path().join("data/asleep");
    let hook = json!({"path": std::env::current_exe()?, "args": ["h", "--hook", "sleep", file]});
    config["hooks"]["createRuntime"] = json!([hook]);
    let bundle = cell.bundle(&config)?.display().to_string();
    let mut create = cell.podrt().args(["create", "--bundle", &bundle, "c"]).stderr(Stdio::null()).spawn()?;
    while !file.exists() {
        std::thread::yield_now();
    }
    let message = cell.refused(&["delete", "--force", "c"])?;
    let holder = format!("container c is locked by process {} (`", create.id());
    if !message.contains(&holder) || !message.contains(" create --bundle ") {
        return fail(message);
    }
    create.kill()?;
    create.wait()?;
    cell.ok(&["delete", "--force", "c"])?;
    fs::remove_file(file)?;
    cell.expect_nothing_left()
}

fn at_the_same_time() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let bundle = cell.bundle(&cell.config("c", &["hold"]))?.display().to_string();
    let verbs: [&[&str]; 8] = [
        &["create", "--bundle", &bundle, "c"],
        &["start", "c"],
        &["pause", "c"],
        &["resume", "c"],
        &["update", "--pids-limit", "50", "c"],
        &["kill", "--all", "c", "KILL"],
        &["gc"],
        &["delete", "--force", "c"],
    ];
    for round in 0..6 {
        let spawn =
            |args: &&[&str]| cell.podrt().args(*args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut order: Vec<&&[&str]> = verbs.iter().chain(&verbs).collect();
        let n = order.len();
        order.rotate_left(round * 3 % n);
        let children: Vec<_> = order.into_iter().map(spawn).collect::<Result<_, _>>()?;
        for mut child in children {
            let status = child.wait()?;
            if status.code().is_none() {
                return fail(format!("round {round}: {status}"));
            }
        }
        cell.ok(&["delete", "--force", "c"])?;
        let mut rest = cell.create("c", &cell.config("c", &["hold"]))?;
        cell.ok(&["start", "c"])?;
        rest.expect("ready")?;
        cell.ok(&["delete", "--force", "c"])?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}
