//! Restart policies, back-off, and how ends are told.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::fixture::{Cell, status};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("restart::policies_decide", policies_decide),
    (
        "restart::a_container_s_own_policy_decides_before_the_pod_s",
        a_container_s_own_policy_decides_before_the_pod_s,
    ),
    ("restart::a_wait_comes_before_the_next_start", a_wait_comes_before_the_next_start),
    ("restart::run_is_answered_when_all_have_been_started", run_is_answered_when_all_have_been_started),
    ("restart::hooks_leave_the_next_starts_alone", hooks_leave_the_next_starts_alone),
    ("restart::a_program_that_is_not_there_is_told", a_program_that_is_not_there_is_told),
    ("restart::ends_have_reasons", ends_have_reasons),
    ("restart::out_of_memory_is_told", out_of_memory_is_told),
    ("restart::out_of_memory_by_the_pod_s_limit_is_told", out_of_memory_by_the_pod_s_limit_is_told),
    ("restart::an_init_container_that_fails_is_told", an_init_container_that_fails_is_told),
    ("restart::a_root_deeper_than_descriptors_is_removed", a_root_deeper_than_descriptors_is_removed),
    ("restart::a_root_of_many_files_is_removed", a_root_of_many_files_is_removed),
    ("restart::each_run_has_a_fresh_root", each_run_has_a_fresh_root),
    ("restart::starts_that_fail_leave_nothing", starts_that_fail_leave_nothing),
    ("restart::termination_messages_are_read", termination_messages_are_read),
    ("restart::logs_of_the_last_two_runs_are_kept", logs_of_the_last_two_runs_are_kept),
];

fn policies_decide() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for (name, policy, script) in [("always", "Always", "exit 0"), ("onfailure", "OnFailure", "exit 1")] {
        let mut pod = cell.pod(name, &[cell.container("main", script)]);
        pod["spec"]["restartPolicy"] = json!(policy);
        let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
        cell.until(name, "started three times", |document| {
            document["containers"][0]["restartCount"].as_u64() >= Some(2)
        })?;
        cell.ok(&["stop", name, "--time", "0"])?;
    }
    let mut pod = cell.pod("ended", &[cell.container("main", "exit 0")]);
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    cell.run(&pod, &["--restart-backoff", "0"])?;
    expect("phase", cell.ok(&["wait", "ended"])?, "Succeeded\n".to_owned())?;
    expect("restarts", cell.container_status("ended", "main")?["restartCount"].as_u64(), Some(0))?;
    cell.clean(&["always", "onfailure", "ended"])
}

fn a_container_s_own_policy_decides_before_the_pod_s() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // Ends with one exit code the first time, and with another from then on.
    let container = |name: &str, first: u8, then: u8, own: Value| {
        let script = format!("[ -e /v/{name} ] && exit {then}; touch /v/{name}; exit {first}");
        let mut container = cell.container(name, &script);
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        if let (Some(container), Value::Object(own)) = (container.as_object_mut(), own) {
            container.extend(own);
        }
        container
    };
    let rule = |operator: &str| {
        let rules = json!([{"action": "Restart", "exitCodes": {"operator": operator, "values": [42]}}]);
        json!({"restartPolicy": "Never", "restartPolicyRules": rules})
    };
    let containers = [
        container("pods", 1, 0, json!({})),
        container("failure", 1, 0, json!({"restartPolicy": "OnFailure"})),
        container("in", 42, 1, rule("In")),
        container("notin", 1, 42, rule("NotIn")),
        container("always", 0, 0, json!({"restartPolicy": "Always"})),
    ];
    let mut pod = cell.pod("own", &containers);
    pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    let ended =
        [("pods", 0, 1, None), ("failure", 1, 0, Some(1)), ("in", 1, 1, Some(42)), ("notin", 1, 42, Some(1))];
    let restarts = |document: &Value, name: &str| status(document, name)["restartCount"].as_u64();
    let document = cell.until("own", "done but for one", |document| {
        ended.iter().all(|(name, wanted, ..)| {
            let is_over = !status(document, name)["state"]["terminated"].is_null();
            is_over && restarts(document, name) >= Some(*wanted)
        })
    })?;
    // What would be started again wrongly is so by now.
    let before = restarts(&document, "always").unwrap_or_default();
    cell.until("own", "started twice more", |document| restarts(document, "always") >= Some(before + 2))?;
    cell.ok(&["stop", "own", "--time", "0"])?;
    for (name, restarts, code, last) in ended {
        let status = cell.container_status("own", name)?;
        let code_of = |state: &str| status[state]["terminated"]["exitCode"].as_i64();
        let found = (status["restartCount"].as_u64(), code_of("state"), code_of("lastState"));
        expect(name, found, (Some(restarts), Some(code), last))?;
    }
    cell.clean(&["own"])
}

fn a_wait_comes_before_the_next_start() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("crash", &[cell.container("main", "exit 1")]);
    let _code = cell.try_run(&pod, &["--restart-backoff", "100"])?;
    let document = cell.until("crash", "waiting", |document| {
        document["containers"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    })?;
    expect("last end", document["containers"][0]["lastState"]["terminated"]["exitCode"].as_i64(), Some(1))?;
    let list = cell.ok(&["ps"])?;
    if !list.contains("CrashLoopBackOff") {
        return fail(format!("ps shows {list:?}"));
    }
    cell.ok(&["stop", "crash"])?;
    cell.clean(&["crash"])
}

fn run_is_answered_when_all_have_been_started() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("quick", &[cell.container("main", "exit 1"), cell.container("side", "exit 1")]);
    // However soon they end, and are in CrashLoopBackOff.
    for _run in 0..10 {
        cell.run(&pod, &["--restart-backoff", "100"])?;
        cell.ok(&["rm", "--force", "quick"])?;
    }
    cell.run(&pod, &["--restart-backoff", "100"])?;
    let mut control = UnixStream::connect(cell.root().join("pods/quick/control.sock"))?;
    control.write_all(b"\"Start\"\n")?;
    let mut answer = String::new();
    control.read_to_string(&mut answer)?;
    expect("a second start", answer.contains("it was started already"), true)?;
    cell.clean(&["quick"])
}

fn hooks_leave_the_next_starts_alone() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for (name, is_shared) in [("apart", false), ("shared", true)] {
        let mut main = cell.container("main", "exec sleep 1000");
        main["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}});
        let mut pod = cell.pod(name, &[main, cell.container("side", "exec sleep 1000")]);
        pod["spec"]["shareProcessNamespace"] = json!(is_shared);
        cell.run(&pod, &["--restart-backoff", "0"])?;
        cell.ok(&["kill", "--container", "main", name, "KILL"])?;
        cell.until(name, "started again", |document| {
            let main = status(document, "main");
            main["restartCount"] == 1 && main["ready"] == true
        })?;
        let tree: Value = serde_json::from_str(&cell.ok(&["tree", "--format", "json", name])?)?;
        for container in tree["containers"].as_array().into_iter().flatten() {
            // On the node, and in its own namespace: not in that of the container whose hook came before.
            let process = format!("/proc/{}/status", container["processes"][0]["pid"]);
            let text = fs::read_to_string(&process)?;
            let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            let of = container["name"].as_str().unwrap_or_default();
            expect(of, numbers.split_whitespace().count(), 2)?;
        }
        cell.clean(&[name])?;
    }
    Ok(())
}

fn a_program_that_is_not_there_is_told() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut container = cell.container("main", "");
    container["command"] = json!(["/no/such/program"]);
    let mut pod = cell.pod("absent", &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let said = cell.refused(&pod, &[])?;
    if !said.contains("/no/such/program") {
        return fail(format!("run says {said:?}"));
    }
    let status = cell.container_status("absent", "main")?;
    expect("exit code", status["state"]["terminated"]["exitCode"].as_i64(), Some(128))?;
    cell.clean(&["absent"])
}

fn ends_have_reasons() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let cases = [
        ("exit 0", 0, "Completed"),
        ("exit 42", 42, "Error"),
        ("exit 255", 255, "Error"),
        // Kubernetes makes one $ of two.
        ("kill -9 $$$$", 137, "Error"),
    ];
    for (index, (script, code, reason)) in cases.into_iter().enumerate() {
        let name = format!("end{index}");
        // The shell is PID 1, which no signal of its own namespace ends.
        let mut pod = cell.pod(&name, &[cell.container("main", &format!("sh -c '{script}'; exit $?"))]);
        pod["spec"]["restartPolicy"] = json!("Never");
        let _code = cell.try_run(&pod, &[])?;
        let _phase = cell.call(&["wait", &name])?;
        let end = cell.container_status(&name, "main")?["state"]["terminated"].clone();
        expect("exit code", end["exitCode"].as_i64(), Some(code))?;
        expect("reason", end["reason"].as_str(), Some(reason))?;
        if end["startedAt"].is_null() || end["finishedAt"].is_null() {
            return fail(format!("no times: {end}"));
        }
        cell.clean(&[&name])?;
    }
    Ok(())
}

fn out_of_memory_is_told() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut container = cell.container("main", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    container["resources"] = json!({"limits": {"memory": "24Mi"}});
    let mut pod = cell.pod("oom", &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let _code = cell.try_run(&pod, &[])?;
    let _phase = cell.call(&["wait", "oom"])?;
    let end = cell.container_status("oom", "main")?["state"]["terminated"].clone();
    expect("reason", end["reason"].as_str(), Some("OOMKilled"))?;
    expect("exit code", end["exitCode"].as_i64(), Some(137))?;
    cell.clean(&["oom"])
}

fn out_of_memory_by_the_pod_s_limit_is_told() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "head -c 200000000 /dev/zero | tail -c 200000000 | cat >/dev/null; echo survived";
    let container = cell.container("main", script);
    let mut pod = cell.pod("podoom", &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["resources"] = json!({"limits": {"memory": "16Mi"}});
    let _code = cell.try_run(&pod, &[])?;
    let _phase = cell.call(&["wait", "podoom"])?;
    let end = cell.container_status("podoom", "main")?["state"]["terminated"].clone();
    expect("reason", end["reason"].as_str(), Some("OOMKilled"))?;
    // The container goes as a whole, also without a limit of its own.
    expect("exit code", end["exitCode"].as_i64(), Some(137))?;
    expect("output", cell.logs("podoom", "main")?, String::new())?;
    cell.clean(&["podoom"])
}

fn an_init_container_that_fails_is_told() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("never", &[cell.container("main", "exec sleep 1000")]);
    pod["spec"]["initContainers"] =
        json!([cell.container("first", "printf 'no\\033luck' > /dev/termination-log; exit 3")]);
    let output = cell.try_run(&pod, &["--restart-backoff", "60"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(1)
        || !said.contains("container first: CrashLoopBackOff, last Error with exit code 3: no\\u{1b}luck")
    {
        return fail(format!("{:?}: {said}", output.status));
    }
    cell.ok(&["stop", "never", "--time", "0"])?;
    cell.clean(&["never"])
}

fn a_root_deeper_than_descriptors_is_removed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "n=0; while [ $n -lt 1500 ]; do mkdir d && cd -P d || exit 9; n=$((n+1)); done; exit 1";
    let pod = cell.pod("deep", &[cell.container("main", script)]);
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    cell.until("deep", "started twice", |document| {
        document["containers"][0]["restartCount"].as_u64() >= Some(1)
    })?;
    cell.ok(&["stop", "deep", "--time", "0"])?;
    let last = cell.container_status("deep", "main")?["lastState"]["terminated"]["exitCode"].as_i64();
    expect("exit code of the first run", last, Some(1))?;
    cell.clean(&["deep"])
}

fn a_root_of_many_files_is_removed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let volume = cell.path().join("once");
    fs::create_dir(&volume)?;
    // More than goes in one turn of the supervisor's loop.
    let script = "[ -e /v/seen ] && exec sleep 1000; touch /v/seen; mkdir /many && cd /many || exit 9; \
        n=0; while [ $n -lt 3000 ]; do : > $n; n=$((n+1)); done; exit 1";
    let mut main = cell.container("main", script);
    main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let mut pod = cell.pod("many", &[main]);
    pod["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": volume}}]);
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    let layers = cell.root().join("pods/many/bundles/main/scratch");
    // It serves meanwhile.
    cell.until("many", "without the layer of the first run", |document| {
        let is_again = document["containers"][0]["restartCount"].as_u64() == Some(1);
        is_again && fs::read_dir(&layers).is_ok_and(|entries| entries.count() == 1)
    })?;
    let last = cell.container_status("many", "main")?["lastState"]["terminated"]["exitCode"].as_i64();
    expect("exit code of the first run", last, Some(1))?;
    cell.ok(&["stop", "many", "--time", "0"])?;
    cell.clean(&["many"])
}

fn each_run_has_a_fresh_root() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("fresh", &[cell.container("main", "ls /tmp; touch /tmp/seen; exit 1")]);
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    cell.until("fresh", "started again", |document| {
        document["containers"][0]["restartCount"].as_u64() >= Some(1)
    })?;
    cell.ok(&["stop", "fresh", "--time", "0"])?;
    let output = cell.ok(&["logs", "fresh", "--previous"])? + &cell.logs("fresh", "main")?;
    expect("output of two runs", output, String::new())?;
    cell.clean(&["fresh"])
}

fn logs_of_the_last_two_runs_are_kept() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // Each run rotates its log.
    let pod = cell.pod("often", &[cell.container("main", "seq 1 400; exit 1")]);
    let _code =
        cell.try_run(&pod, &["--restart-backoff", "0", "--log-max-size", "4096", "--log-max-files", "2"])?;
    cell.until("often", "started five times", |document| {
        document["containers"][0]["restartCount"].as_u64() >= Some(4)
    })?;
    cell.ok(&["stop", "often", "--time", "0"])?;
    let last = cell.container_status("often", "main")?["restartCount"].as_u64().unwrap_or(0);
    for entry in fs::read_dir(cell.root().join("pods/often/logs/main"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let run: Option<u64> = name.split('.').next().and_then(|run| run.parse().ok());
        if run.is_none_or(|run| run + 1 < last) {
            return fail(format!("{name} is there after the restart number {last}"));
        }
    }
    let previous = cell.ok(&["logs", "often", "--previous"])?;
    expect("the end of the previous run", previous.lines().last(), Some("400"))?;
    cell.clean(&["often"])
}

fn starts_that_fail_leave_nothing() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let volume = cell.path().join("once");
    fs::create_dir(&volume)?;
    let program = volume.join("main");
    // What is written to the root is not worth a wait for the disk.
    fs::write(&program, "#!/bin/sh\ngrep -o volatile /proc/mounts\nrm /v/main\nexit 1\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mut main = cell.container("main", "");
    main["command"] = json!(["/v/main"]);
    main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let mut pod = cell.pod("once", &[main]);
    pod["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": volume}}]);
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    cell.until("once", "started five times", |document| {
        document["containers"][0]["restartCount"].as_u64() >= Some(4)
    })?;
    cell.ok(&["stop", "once", "--time", "0"])?;
    let of_pod = cell.root().join("pods/once");
    for directory in [of_pod.join("logs/main"), of_pod.join("bundles/main/scratch")] {
        let names = fs::read_dir(&directory)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<Result<Vec<_>, Failed>>()?;
        // That of the only run that has begun.
        expect(&directory.to_string_lossy(), names.len(), 1)?;
    }
    expect("the log of the last run", cell.logs("once", "main")?, "volatile\n".to_owned())?;
    cell.clean(&["once"])
}

fn termination_messages_are_read() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut from_log = cell.container("log", "echo the last words; exit 1");
    from_log["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    let from_file = cell.container("file", "echo why > /dev/termination-log; exit 1");
    // More than is kept, in one line, with both streams in their order.
    let mut long =
        cell.container("long", "seq -s ' ' 1 5000 | tr -d '\\n'; echo; sleep 0.1; echo end >&2; exit 1");
    long["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    let mut pod = cell.pod("words", &[from_log, from_file, long]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let _code = cell.try_run(&pod, &[])?;
    let _phase = cell.call(&["wait", "words"])?;
    for (name, wanted) in [("log", "the last words\n"), ("file", "why\n")] {
        let end = cell.container_status("words", name)?["state"]["terminated"].clone();
        expect("message", end["message"].as_str(), Some(wanted))?;
    }
    let end = cell.container_status("words", "long")?["state"]["terminated"].clone();
    let message = end["message"].as_str().unwrap_or_default();
    expect("bytes of a long message", message.len(), 2048)?;
    if !message.ends_with(" 4999 5000\nend\n") {
        return fail(format!("the message is {message:?}"));
    }
    cell.clean(&["words"])
}
