//! What is left when somebody is killed, and how it is cleaned up.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, set_rlimit, wait_end};
use serde_json::{Value, json};

use crate::fixture::{Cell, DEADLINE, output, until, wait};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("crash::containers_outlive_their_supervisor", containers_outlive_their_supervisor),
    (
        "crash::a_container_that_no_report_tells_of_is_not_lost",
        a_container_that_no_report_tells_of_is_not_lost,
    ),
    ("crash::a_pod_without_containers_is_lost", a_pod_without_containers_is_lost),
    ("crash::a_supervisor_without_free_descriptors_says_so", a_supervisor_without_free_descriptors_says_so),
    ("crash::a_pod_ends_with_its_sandbox", a_pod_ends_with_its_sandbox),
    ("crash::a_reboot_is_recognised", a_reboot_is_recognised),
    ("crash::files_of_another_boot_are_removed", files_of_another_boot_are_removed),
    ("crash::output_does_not_end_a_container_without_a_supervisor", output_does_not_end_a_container),
    ("crash::ps_tells_that_nobody_starts_a_container_again", ps_tells_that_nobody_starts_it_again),
    ("crash::damaged_files_are_named_and_removed", damaged_files_are_named_and_removed),
    ("crash::gc_leaves_pods_alone", gc_leaves_pods_alone),
    ("crash::gc_removes_an_interrupted_create", gc_removes_an_interrupted_create),
    ("crash::rm_leaves_a_cgroup_that_was_made_since", rm_leaves_a_cgroup_that_was_made_since),
    ("crash::commands_at_the_same_time", commands_at_the_same_time),
    ("crash::a_pod_is_started_once", a_pod_is_started_once),
    ("crash::a_run_beside_other_commands", a_run_beside_other_commands),
    ("crash::a_killed_run_leaves_nothing_that_stays", a_killed_run_leaves_nothing_that_stays),
    ("crash::a_killed_stop_or_rm_can_be_repeated", a_killed_stop_or_rm_can_be_repeated),
    (
        "crash::a_supervisor_killed_while_it_restarts_leaves_nothing",
        a_supervisor_killed_while_it_restarts_leaves_nothing,
    ),
    ("crash::a_report_that_cannot_be_written_is_tried_again", a_report_that_cannot_be_written_is_tried_again),
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

/// It is no PID 1, whom the kernel would spare SIGPIPE.
fn output_does_not_end_a_container() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "n=0; while :; do echo out; echo err >&2; n=$((n+1)); echo $n > /tmp/n; sleep 0.05; done";
    let mut pod = cell.pod("chatty", &[cell.container("main", script)]);
    pod["spec"]["shareProcessNamespace"] = json!(true);
    cell.run(&pod, &[])?;
    kill(supervisor(&cell, "chatty")?, Signal::SIGKILL)?;
    cell.until("chatty", "unsupervised", |document| document["state"] == "Unsupervised")?;
    let written = || -> Result<u32, Failed> {
        let said = cell.ok(&["exec", "chatty", "--", "cat", "/tmp/n"])?;
        // It may just be written.
        Ok(said.trim().parse().unwrap_or(0))
    };
    let before = written()?;
    until("more output", || Ok(written()? > before + 5))?;
    cell.clean(&["chatty"])
}

fn ps_tells_that_nobody_starts_it_again() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("loop", &[cell.container("main", "exit 1")]), &["--restart-backoff", "1000"])?;
    let word = || -> Result<String, Failed> {
        let said = cell.ok(&["ps"])?;
        let row = said.lines().find(|line| line.starts_with("loop ")).unwrap_or_default();
        Ok(row.split_whitespace().nth(2).unwrap_or_default().to_owned())
    };
    until("the back-off", || Ok(word()? == "CrashLoopBackOff"))?;
    kill(supervisor(&cell, "loop")?, Signal::SIGKILL)?;
    cell.until("loop", "lost", |document| document["state"] == "Lost")?;
    expect("ps", word()?, "Lost".to_owned())?;
    cell.clean(&["loop"])
}

/// The supervisor was killed after the start, and before the report of it.
fn a_container_that_no_report_tells_of_is_not_lost() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let report = cell.root().join("pods/early/status.json");
    let pod = cell.pod("early", &[cell.container("main", "exec sleep 1000")]);
    let created = output(cell.command("create", &pod, &[])?)?;
    expect("create", created.status.code(), Some(0))?;
    let before = fs::read_to_string(&report)?;
    cell.ok(&["start", "early"])?;
    kill(supervisor(&cell, "early")?, Signal::SIGKILL)?;
    cell.until("early", "unsupervised", |document| document["state"] == "Unsupervised")?;
    let mut before: Value = serde_json::from_str(&before)?;
    before["is_begun"] = json!(true);
    fs::write(&report, before.to_string())?;

    let document = cell.inspect("early")?;
    expect("state", document["state"].as_str(), Some("Unsupervised"))?;
    if document["containers"][0]["state"]["running"]["startedAt"].is_null() {
        return fail(format!("its container does not run: {document}"));
    }
    let said = cell.fails(&["rm", "early"])?;
    if !said.contains("it is Unsupervised") {
        return fail(format!("rm says {said:?}"));
    }
    let said = cell.fails(&["gc"])?;
    if !said.contains("rm --force early") {
        return fail(format!("gc says {said:?}"));
    }
    expect("exec", cell.ok(&["exec", "early", "--", "echo", "alive"])?, "alive\n".to_owned())?;
    cell.clean(&["early"])
}

/// Cleans up, and expects these words of it; then there is nothing left to tell.
fn gc_tells_once(cell: &Cell, words: &str) -> Result<(), Failed> {
    let said = cell.ok(&["gc"])?;
    if !said.contains(words) {
        return fail(format!("gc says {said:?}"));
    }
    expect("gc again", cell.ok(&["gc"])?, String::new())
}

fn a_pod_without_containers_is_lost() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("lost", &[cell.container("main", "exec sleep 1000")]);
    for verb in ["rm", "gc"] {
        cell.run(&pod, &[])?;
        kill(supervisor(&cell, "lost")?, Signal::SIGKILL)?;
        cell.until("lost", "unsupervised", |document| document["state"] == "Unsupervised")?;
        fs::write(cell.cgroup("lost/main").join("cgroup.kill"), "1")?;
        let document = cell.until("lost", "lost", |document| document["state"] == "Lost")?;
        let end = &document["containers"][0]["state"]["terminated"];
        expect("end", end["reason"].as_str(), Some("ContainerStatusUnknown"))?;
        if verb == "gc" {
            gc_tells_once(&cell, "remains of its containers")?;
        }
        cell.ok(&["rm", "lost"])?;
        cell.expect_clean()?;
    }
    Ok(())
}

/// A connection that nobody can take is the next thing that happens, again and again.
fn a_supervisor_without_free_descriptors_says_so() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("full", &[cell.container("main", "exec sleep 1000")]), &[])?;
    let pid = supervisor(&cell, "full")?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.map(|entry| Ok(entry?.file_name()));
    let descriptors = descriptors.collect::<std::io::Result<Vec<_>>>()?;
    let last: u64 = descriptors.iter().filter_map(|name| name.to_str()?.parse().ok()).max().unwrap_or(0);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    set_rlimit(pid, libc::RLIMIT_NOFILE, last + 1, hard)?;
    // They take the numbers that are free below the limit.
    let socket = cell.root().join("pods/full/control.sock");
    let silent = (0..=last).map(|_| UnixStream::connect(&socket)).collect::<Result<Vec<_>, _>>()?;
    let said = cell.fails(&["stop", "full"])?;
    if !said.contains("too many open files (RLIMIT_NOFILE)") {
        return fail(format!("stop says {said:?}"));
    }
    set_rlimit(pid, libc::RLIMIT_NOFILE, soft, hard)?;
    drop(silent);
    cell.ok(&["stop", "full"])?;
    cell.clean(&["full"])
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
    // As the directory looks after another boot, but for the processes.
    of_another_boot(&cell, "old")?;
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

fn of_another_boot(cell: &Cell, pod: &str) -> Result<(), Failed> {
    let path = cell.root().join("pods").join(pod).join("pod.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    record["boot_id"] = json!("00000000-0000-0000-0000-000000000000");
    Ok(fs::write(&path, record.to_string())?)
}

fn files_of_another_boot_are_removed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("boot", &[cell.container("main", "echo before; exec sleep 1000")]);
    for verb in ["rm", "gc"] {
        cell.run(&pod, &["--network", "bridge:pt2,10.213.9.0/24"])?;
        cell.until_logged("boot", "main", "before")?;
        // Nothing but files survives: no process, no cgroup, no link.
        kill(supervisor(&cell, "boot")?, Signal::SIGKILL)?;
        let _document = cell.until("boot", "unsupervised", |document| document["state"] == "Unsupervised")?;
        fs::write(cell.cgroup("boot").join("cgroup.kill"), "1")?;
        for below in ["boot/main", "boot/_sandbox", "boot", "_boot"] {
            let begun = Instant::now();
            // Until the last process is gone.
            while let Err(error) = fs::remove_dir(cell.cgroup(below)) {
                if begun.elapsed() > DEADLINE {
                    return fail(format!("remove cgroup {below}: {error}"));
                }
            }
        }
        let deleted = Command::new("/bin/busybox").args(["ip", "link", "delete", "pt2"]).status()?;
        expect("ip link delete", deleted.code(), Some(0))?;
        of_another_boot(&cell, "boot")?;
        expect("state", cell.inspect("boot")?["state"].as_str(), Some("Rebooted"))?;
        for args in [&["start", "boot"][..], &["exec", "boot", "--", "true"], &["kill", "boot"]] {
            if cell.call(args)?.status.success() {
                return fail(format!("{args:?} succeeds after another boot"));
            }
        }
        let listed = cell.ok(&["ps"])?;
        if !listed.contains("Rebooted") {
            return fail(format!("ps shows {listed:?}"));
        }
        let tree: Value = serde_json::from_str(&cell.ok(&["tree", "--format", "json", "boot"])?)?;
        expect("state in the tree", tree["state"].as_str(), Some("Rebooted"))?;
        expect("processes", tree["containers"][0]["processes"].clone(), json!([]))?;
        expect("log", cell.logs("boot", "main")?, "before\n".to_owned())?;
        cell.ok(&["stop", "boot"])?;
        let waited = cell.fails(&["wait", "boot"])?;
        if !waited.contains("podrt pod rm boot") {
            return fail(format!("wait says {waited:?}"));
        }
        let refused = cell.refused(&pod, &[])?;
        if !refused.contains("pod boot exists already") {
            return fail(format!("run says {refused:?}"));
        }
        if verb == "gc" {
            gc_tells_once(&cell, "pod boot: 2 remains of its containers")?;
        }
        cell.ok(&["rm", "boot"])?;
        cell.expect_clean()?;
    }
    Ok(())
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

/// What the pod had made above its cgroup went with that.
fn rm_leaves_a_cgroup_that_was_made_since() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let parent = cell.cgroup("");
    // podrt makes it then.
    fs::remove_dir(&parent)?;
    let mut pod = cell.pod("old", &[cell.container("main", "exit 0")]);
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &[])?;
    cell.ok(&["stop", "old"])?;
    cell.ok(&["gc"])?;
    expect("the pod's cgroups", parent.exists(), false)?;
    fs::create_dir(&parent)?;
    cell.ok(&["rm", "old"])?;
    expect("the cgroup of somebody else", parent.exists(), true)?;
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

fn a_run_beside_other_commands() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("beside", &[cell.container("main", "exec sleep 1000")]);
    let mut command = cell.command("run", &pod, &["--network", "bridge:pt3,10.213.10.0/24"])?;
    for others in [&["gc"][..], &["rm", "--force", "beside"], &["stop", "beside"], &["ps"]] {
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // Again and again while it is made.
        let pidfd = pidfd_open(Pid::from_raw(i32::try_from(run.id())?))?;
        while !wait_end(pidfd.as_fd(), Duration::ZERO)? {
            let output = cell.call(others)?;
            if output.status.code().is_none_or(|code| code > 1) {
                return fail(format!("{others:?} ends with {output:?}"));
            }
        }
        let run = wait(run)?;
        let is_disturbed = matches!(others, ["rm" | "stop", ..]);
        if run.status.code() != Some(0) && !is_disturbed {
            return fail(format!("run beside {others:?}: {run:?}"));
        }
        cell.clean(&["beside"])?;
    }
    Ok(())
}

fn a_pod_is_started_once() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("once", &[cell.container("main", "echo begun; exec sleep 1000")]);
    let created = output(cell.command("create", &pod, &[])?)?;
    expect("create", created.status.code(), Some(0))?;
    let children = (0..4).map(|_| cell.spawn(&["start", "once"])).collect::<Result<Vec<_>, _>>()?;
    let outputs = children.into_iter().map(wait).collect::<Result<Vec<_>, _>>()?;
    expect("starts that succeed", outputs.iter().filter(|output| output.status.success()).count(), 1)?;
    cell.until_logged("once", "main", "begun")?;
    expect("output", cell.logs("once", "main")?, "begun\n".to_owned())?;
    cell.clean(&["once"])
}

/// How many moments are tried; the crash sweep tries them all.
const N_KILLS: u32 = 12;

fn a_killed_run_leaves_nothing_that_stays() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("killed", &[cell.container("main", "exec sleep 1000")]);
    let bridge = ["--network", "bridge:pt1,10.213.8.0/24"];
    let begun = Instant::now();
    cell.run(&pod, &bridge)?;
    let whole = begun.elapsed();
    cell.clean(&["killed"])?;
    for n in 0..N_KILLS {
        let child =
            cell.command("run", &pod, &bridge)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        kill_after(child, whole * n / N_KILLS)?;
        // What was too far to be taken back is a pod, which a clean-up leaves alone.
        cell.ok(&["gc"])?;
        cell.clean(&["killed"])?;
    }
    Ok(())
}

/// Kills a command some time after its start, if it still runs.
fn kill_after(mut child: Child, delay: Duration) -> Result<(), Failed> {
    let pidfd = pidfd_open(Pid::from_raw(i32::try_from(child.id())?))?;
    wait_end(pidfd.as_fd(), delay)?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn a_killed_stop_or_rm_can_be_repeated() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("killed", &[cell.container("main", "exec sleep 1000")]);
    let bridge = ["--network", "bridge:pt1,10.213.8.0/24"];
    for args in [&["stop", "killed", "--time", "0"][..], &["rm", "--force", "killed"]] {
        cell.run(&pod, &bridge)?;
        let begun = Instant::now();
        cell.ok(args)?;
        let whole = begun.elapsed();
        cell.clean(&["killed"])?;
        for n in 0..N_KILLS {
            cell.run(&pod, &bridge)?;
            kill_after(cell.spawn(args)?, whole * n / N_KILLS)?;
            if n % 2 == 0 {
                let gc = cell.call(&["gc"])?;
                // A supervisor that was killed, and containers that were not yet: that needs a decision.
                if gc.status.code() != Some(0)
                    && !String::from_utf8_lossy(&gc.stderr).contains("rm --force killed")
                {
                    return fail(format!("gc after {args:?}: {gc:?}"));
                }
            }
            cell.clean(&["killed"])?;
        }
    }
    Ok(())
}

fn a_supervisor_killed_while_it_restarts_leaves_nothing() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for n in 0..6 {
        let pod =
            cell.pod("again", &[cell.container("main", "exit 1"), cell.container("side", "exec sleep 1000")]);
        let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
        cell.until("again", "restarted", |document| {
            document["containers"][0]["restartCount"].as_u64() > Some(n)
        })?;
        kill(supervisor(&cell, "again")?, Signal::SIGKILL)?;
        cell.until("again", "unsupervised", |document| document["state"] == "Unsupervised")?;
        cell.clean(&["again"])?;
    }
    Ok(())
}

fn a_report_that_cannot_be_written_is_tried_again() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("full", &[cell.container("main", "exec sleep 1000")]);
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &[])?;
    // In the way of the new report, as a full disk would be.
    let obstacle = cell.root().join("pods/full/status.json.new");
    fs::create_dir(&obstacle)?;
    cell.ok(&["kill", "full", "KILL"])?;
    let pidfd = pidfd_open(supervisor(&cell, "full")?)?;
    expect("phase", String::from_utf8(cell.call(&["wait", "full"])?.stdout)?, "Failed\n".to_owned())?;
    if wait_end(pidfd.as_fd(), Duration::from_secs(2))? {
        return fail("the supervisor has ended without its last report");
    }
    fs::remove_dir(&obstacle)?;
    if !wait_end(pidfd.as_fd(), DEADLINE)? {
        return fail("the supervisor has not ended");
    }
    let document = cell.inspect("full")?;
    expect("state", document["state"].as_str(), Some("Failed"))?;
    expect("exit code", document["containers"][0]["state"]["terminated"]["exitCode"].as_i64(), Some(137))?;
    cell.clean(&["full"])
}
