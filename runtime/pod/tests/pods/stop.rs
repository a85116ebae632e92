//! The ordered stop, and signals.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::fixture::{Cell, status, wait};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("stop::a_program_that_ends_by_itself_is_not_killed", a_program_that_ends_by_itself_is_not_killed),
    (
        "stop::one_that_ignores_the_signal_is_killed_after_the_grace",
        one_that_ignores_the_signal_is_killed_after_the_grace,
    ),
    ("stop::no_grace_means_kill", no_grace_means_kill),
    ("stop::the_stop_signal_can_be_chosen", the_stop_signal_can_be_chosen),
    ("stop::hooks_come_first_and_last", hooks_come_first_and_last),
    ("stop::a_hook_may_be_time_that_passes", a_hook_may_be_time_that_passes),
    ("stop::sidecars_end_after_the_rest_and_the_last_first", sidecars_end_after_the_rest_and_the_last_first),
    ("stop::a_failed_post_start_hook_ends_the_container", a_failed_post_start_hook_ends_the_container),
    ("stop::kill_sends_any_signal", kill_sends_any_signal),
    ("stop::many_may_wait_for_a_pod", many_may_wait_for_a_pod),
    ("stop::long_messages_arrive", long_messages_arrive),
    ("stop::the_file_of_the_message_can_be_chosen", the_file_of_the_message_can_be_chosen),
    ("stop::a_deadline_fails_the_pod", a_deadline_fails_the_pod),
    ("stop::what_left_the_pod_s_cgroup_ends_too", what_left_the_pod_s_cgroup_ends_too),
    ("stop::a_main_process_that_left_ends_too", a_main_process_that_left_ends_too),
    ("stop::a_realtime_signal_ends_a_container", a_realtime_signal_ends_a_container),
    ("stop::a_stopped_exec_does_not_hold_it_up", a_stopped_exec_does_not_hold_it_up),
    ("stop::the_supervisor_stops_the_pod_when_told_to_end", the_supervisor_stops_the_pod_when_told_to_end),
];

const HANDLER: &str = "trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.05; done";

fn a_program_that_ends_by_itself_is_not_killed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("polite", &[cell.container("main", HANDLER)]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    cell.run(&pod, &[])?;
    cell.until_logged("polite", "main", "ready")?;
    let begun = Instant::now();
    cell.ok(&["stop", "polite"])?;
    if begun.elapsed() > Duration::from_secs(30) {
        return fail("the stop waited for the grace period");
    }
    expect("output", cell.logs("polite", "main")?, "ready\nterm\n".to_owned())?;
    let end = cell.container_status("polite", "main")?["state"]["terminated"].clone();
    expect("exit code", end["exitCode"].as_i64(), Some(5))?;
    cell.clean(&["polite"])
}

fn one_that_ignores_the_signal_is_killed_after_the_grace() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod =
        cell.pod("deaf", &[cell.container("main", "trap '' TERM; echo ready; while :; do sleep 0.05; done")]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(2);
    cell.run(&pod, &[])?;
    cell.until_logged("deaf", "main", "ready")?;
    let begun = Instant::now();
    cell.ok(&["stop", "deaf"])?;
    if begun.elapsed() < Duration::from_secs(2) {
        return fail(format!("killed after {:?}", begun.elapsed()));
    }
    let end = cell.container_status("deaf", "main")?["state"]["terminated"].clone();
    expect("exit code", end["exitCode"].as_i64(), Some(137))?;
    expect("signal", end["signal"].as_i64(), Some(9))?;
    cell.clean(&["deaf"])
}

fn no_grace_means_kill() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("now", &[cell.container("main", HANDLER)]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(600);
    cell.run(&pod, &[])?;
    cell.until_logged("now", "main", "ready")?;
    cell.ok(&["stop", "now", "--time", "0"])?;
    expect("output", cell.logs("now", "main")?, "ready\n".to_owned())?;
    cell.clean(&["now"])
}

fn the_stop_signal_can_be_chosen() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script =
        "trap 'echo usr1; exit 0' USR1; trap 'echo term' TERM; echo ready; while :; do sleep 0.05; done";
    let mut container = cell.container("main", script);
    container["lifecycle"] = json!({"stopSignal": "SIGUSR1"});
    let mut pod = cell.pod("chosen", &[container]);
    pod["spec"]["os"] = json!({"name": "linux"});
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    cell.run(&pod, &[])?;
    cell.until_logged("chosen", "main", "ready")?;
    cell.ok(&["stop", "chosen"])?;
    expect("output", cell.logs("chosen", "main")?, "ready\nusr1\n".to_owned())?;
    cell.clean(&["chosen"])
}

fn hooks_come_first_and_last() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "trap 'cat /data/order; exit 0' TERM; \
                  until [ -s /data/order ]; do sleep 0.05; done; echo ready; while :; do sleep 0.05; done";
    let mut container = cell.container("main", script);
    container["lifecycle"] = json!({
        "postStart": {"exec": {"command": ["sh", "-c", "echo post >> /data/order"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo pre >> /data/order"]}},
    });
    let mut pod = cell.pod("hooks", &[container]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    cell.run(&pod, &[])?;
    // A stop does not wait for a postStart hook that runs.
    cell.until_logged("hooks", "main", "ready")?;
    cell.ok(&["stop", "hooks"])?;
    expect("order", cell.logs("hooks", "main")?, "ready\npost\npre\n".to_owned())?;
    cell.clean(&["hooks"])
}

fn a_hook_may_be_time_that_passes() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut container = cell.container("main", HANDLER);
    container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 1}}});
    let mut pod = cell.pod("pause", &[container]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    cell.run(&pod, &[])?;
    cell.until_logged("pause", "main", "ready")?;
    let begun = Instant::now();
    cell.ok(&["stop", "pause"])?;
    // The program ends by the signal, which comes after the hook.
    if begun.elapsed() < Duration::from_secs(1) {
        return fail(format!("the signal came after {:?}", begun.elapsed()));
    }
    expect("output", cell.logs("pause", "main")?, "ready\nterm\n".to_owned())?;
    let end = cell.container_status("pause", "main")?["state"]["terminated"].clone();
    expect("exit code", end["exitCode"].as_i64(), Some(5))?;
    cell.clean(&["pause"])
}

fn sidecars_end_after_the_rest_and_the_last_first() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // Who is to end sooner takes longer for it: told all at once, they would end the other way round.
    let container = |name: &str, seconds: &str| {
        let script = format!(
            "trap 'sleep {seconds}; echo {name} >> /v/order; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        );
        let mut container = cell.container(name, &script);
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        container
    };
    let (mut first, mut second) = (container("first", "0"), container("second", "0.2"));
    for sidecar in [&mut first, &mut second] {
        sidecar["restartPolicy"] = json!("Always");
    }
    let mut pod = cell.pod("sidecars", &[container("main", "0.4")]);
    pod["spec"]["initContainers"] = json!([first, second]);
    pod["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": cell.path()}}]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    cell.run(&pod, &[])?;
    for name in ["first", "second", "main"] {
        cell.until_logged("sidecars", name, "ready")?;
    }
    cell.ok(&["stop", "sidecars"])?;
    let order = std::fs::read_to_string(cell.path().join("order"))?;
    expect("order", order, "main\nsecond\nfirst\n".to_owned())?;
    cell.clean(&["sidecars"])
}

fn a_failed_post_start_hook_ends_the_container() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut container = cell.container("main", "exec sleep 1000");
    container["lifecycle"] = json!({"postStart": {"exec": {"command": ["sh", "-c", "exit 3"]}}});
    let mut pod = cell.pod("hook", &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let _code = cell.try_run(&pod, &[])?;
    expect("phase", String::from_utf8(cell.call(&["wait", "hook"])?.stdout)?, "Failed\n".to_owned())?;
    let end = cell.container_status("hook", "main")?["state"]["terminated"].clone();
    if !end.to_string().contains("exit code 3") {
        return fail(format!("the hook's failure is not told: {end}"));
    }
    cell.clean(&["hook"])
}

fn kill_sends_any_signal() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod(
        "signals",
        &[cell.container("main", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done")],
    );
    cell.run(&pod, &[])?;
    cell.until_logged("signals", "main", "ready")?;
    cell.ok(&["kill", "signals", "HUP", "-c", "main"])?;
    cell.until_logged("signals", "main", "hup")?;
    let said = cell.fails(&["kill", "signals", "NOSIG"])?;
    if !said.contains("NOSIG") {
        return fail(format!("kill says {said:?}"));
    }
    cell.clean(&["signals"])
}

fn many_may_wait_for_a_pod() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("popular", &[cell.container("main", "exec sleep 1000")]);
    cell.run(&pod, &[])?;
    // Who says nothing takes nobody's place either.
    let socket = cell.root().join("pods/popular/control.sock");
    let silent = (0..70).map(|_| UnixStream::connect(&socket)).collect::<Result<Vec<_>, _>>()?;
    let waiters = (0..70).map(|_| cell.spawn(&["wait", "popular"])).collect::<Result<Vec<_>, _>>()?;
    cell.ok(&["stop", "popular", "--time", "0"])?;
    drop(silent);
    for waiter in waiters {
        let output = wait(waiter)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_told = output.stdout == b"Failed\n";
        if !is_told && !said.contains("64 commands wait for it already") {
            return fail(format!("a wait says {output:?}"));
        }
    }
    cell.clean(&["popular"])
}

fn the_file_of_the_message_can_be_chosen() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "echo chosen > /run/of/mine; echo other > /dev/termination-log; exit 3";
    let mut container = cell.container("main", script);
    container["terminationMessagePath"] = json!("/run/of/mine");
    let mut pod = cell.pod("message", &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let _code = cell.try_run(&pod, &[])?;
    let _phase = cell.call(&["wait", "message"])?;
    let end = cell.container_status("message", "main")?["state"]["terminated"].clone();
    expect("message", end["message"].as_str(), Some("chosen\n"))?;
    cell.clean(&["message"])
}

fn long_messages_arrive() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "seq -w 1 2000 > /dev/termination-log; exit 1";
    let text: String = (1..=2000).map(|number| format!("{number:04}\n")).collect();
    let end = &text[text.len() - 4096..];
    // As the kubelet has it: the end of the file, and of that the begin where more share 12 KiB.
    for (n, wanted) in [(1, end), (10, &end[..12 * 1024 / 10])] {
        let containers: Vec<_> = (0..n).map(|index| cell.container(&format!("c{index}"), script)).collect();
        let mut pod = cell.pod("wordy", &containers);
        pod["spec"]["restartPolicy"] = json!("Never");
        let _code = cell.try_run(&pod, &[])?;
        let output = cell.call(&["wait", "wordy", "--format", "json"])?;
        expect(
            "phase",
            serde_json::from_slice::<serde_json::Value>(&output.stdout)?["phase"].as_str(),
            Some("Failed"),
        )?;
        let last = cell.container_status("wordy", &format!("c{}", n - 1))?;
        expect("message", last["state"]["terminated"]["message"].as_str(), Some(wanted))?;
        cell.clean(&["wordy"])?;
    }
    Ok(())
}

fn a_deadline_fails_the_pod() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("late", &[cell.container("main", "exec sleep 1000")]);
    pod["spec"]["activeDeadlineSeconds"] = json!(1);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
    let _code = cell.try_run(&pod, &[])?;
    expect("phase", String::from_utf8(cell.call(&["wait", "late"])?.stdout)?, "Failed\n".to_owned())?;
    expect("reason", cell.inspect("late")?["reason"].as_str(), Some("DeadlineExceeded"))?;
    cell.clean(&["late"])
}

fn what_left_the_pod_s_cgroup_ends_too() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "sleep 98765 & echo $!; echo begun; exec sleep 1000";
    let mut pod = cell.pod("escape", &[cell.container("main", script)]);
    // In a pid namespace of the pod it would end with that.
    pod["spec"]["hostPID"] = json!(true);
    cell.run(&pod, &[])?;
    cell.until_logged("escape", "main", "begun")?;
    let text = cell.logs("escape", "main")?;
    let pid = Pid::from_raw(text.lines().next().unwrap_or_default().parse()?);
    let pidfd = runtime::sys::process::pidfd_open(pid)?;
    // As a privileged container can do it.
    std::fs::write("/sys/fs/cgroup/cgroup.procs", pid.to_string())?;
    cell.ok(&["stop", "escape", "--time", "0"])?;
    if !runtime::sys::process::wait_end(pidfd.as_fd(), Duration::ZERO)? {
        return fail("the process that left is still there");
    }
    cell.clean(&["escape"])
}

fn a_main_process_that_left_ends_too() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("away", &[cell.container("main", "echo $$$$; echo begun; exec sleep 1000")]);
    pod["spec"]["hostPID"] = json!(true);
    cell.run(&pod, &[])?;
    cell.until_logged("away", "main", "begun")?;
    let text = cell.logs("away", "main")?;
    let pid = Pid::from_raw(text.lines().next().unwrap_or_default().parse()?);
    let pidfd = runtime::sys::process::pidfd_open(pid)?;
    std::fs::write("/sys/fs/cgroup/cgroup.procs", pid.to_string())?;
    cell.ok(&["stop", "away", "--time", "0"])?;
    if !runtime::sys::process::wait_end(pidfd.as_fd(), Duration::ZERO)? {
        return fail("the container's process is still there");
    }
    let end = cell.container_status("away", "main")?["state"]["terminated"].clone();
    expect("signal", end["signal"].as_i64(), Some(9))?;
    cell.clean(&["away"])
}

fn a_realtime_signal_ends_a_container() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut main = cell.container("main", "exec sleep 1000");
    main["lifecycle"] = json!({"stopSignal": "SIGRTMIN+3"});
    let mut pod = cell.pod("realtime", &[main, cell.container("side", "exec sleep 1000")]);
    pod["spec"]["os"] = json!({"name": "linux"});
    // PID 1 of a namespace would ignore it.
    pod["spec"]["shareProcessNamespace"] = json!(true);
    cell.run(&pod, &["--restart-backoff", "0"])?;
    cell.ok(&["kill", "--container", "side", "realtime", "RTMAX-1"])?;
    cell.until("realtime", "started again", |document| {
        let side = status(document, "side");
        side["restartCount"] == 1 && side["lastState"]["terminated"]["exitCode"] == 128 + 63
    })?;
    let begun = Instant::now();
    cell.ok(&["stop", "realtime", "--time", "60"])?;
    if begun.elapsed() > Duration::from_secs(45) {
        return fail("the stop waited for the grace period");
    }
    let end = cell.container_status("realtime", "main")?["state"]["terminated"].clone();
    expect("exit code", end["exitCode"].as_i64(), Some(128 + 37))?;
    expect("signal", end["signal"].as_i64(), Some(37))?;
    cell.clean(&["realtime"])
}

fn a_stopped_exec_does_not_hold_it_up() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("held", &[cell.container("main", "exec sleep 1000")]), &[])?;
    let script = "touch /tmp/here; exec sleep 1000";
    let exec = cell.spawn(&["exec", "held", "--", "/bin/sh", "-c", script])?;
    let begun = Instant::now();
    while !cell.call(&["exec", "held", "--", "test", "-e", "/tmp/here"])?.status.success() {
        if begun.elapsed() > Duration::from_secs(30) {
            return fail("the program of the exec never ran");
        }
    }
    let command = Pid::from_raw(i32::try_from(exec.id())?);
    kill(command, Signal::SIGSTOP)?;
    cell.ok(&["stop", "held", "--time", "0"])?;
    cell.ok(&["rm", "held"])?;
    kill(command, Signal::SIGCONT)?;
    expect("exit code", wait(exec)?.status.code(), Some(128 + Signal::SIGKILL as i32))?;
    cell.expect_clean()
}

fn the_supervisor_stops_the_pod_when_told_to_end() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("told", &[cell.container("main", HANDLER)]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    cell.run(&pod, &[])?;
    cell.until_logged("told", "main", "ready")?;
    let text = std::fs::read_to_string(cell.root().join("pods/told/supervisor.json"))?;
    let supervisor: serde_json::Value = serde_json::from_str(&text)?;
    let pid = i32::try_from(supervisor["pid"].as_i64().unwrap_or(0))?;
    kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    let _phase = cell.call(&["wait", "told"])?;
    expect("output", cell.logs("told", "main")?, "ready\nterm\n".to_owned())?;
    cell.clean(&["told"])
}
