//! From run to rm, and what can be seen in between.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use nix::pty::{OpenptyResult, openpty};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixture::{Cell, output, wait};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("life::a_pod_runs_and_is_removed", a_pod_runs_and_is_removed),
    ("life::create_waits_for_start", create_waits_for_start),
    ("life::a_name_is_taken_once", a_name_is_taken_once),
    ("life::namespaces_are_shared_as_asked", namespaces_are_shared_as_asked),
    ("life::pids_are_shared_when_asked", pids_are_shared_when_asked),
    ("life::pids_and_ipc_are_the_node_s_when_asked", pids_and_ipc_are_the_node_s_when_asked),
    ("life::orphans_are_reaped_by_pause", orphans_are_reaped_by_pause),
    ("life::the_tree_shows_zombies", the_tree_shows_zombies),
    ("life::exec_is_where_the_container_is", exec_is_where_the_container_is),
    ("life::exec_has_a_terminal_when_asked", exec_has_a_terminal_when_asked),
    ("life::exec_reads_what_it_is_given", exec_reads_what_it_is_given),
    ("life::limits_are_in_the_cgroups", limits_are_in_the_cgroups),
    ("life::the_tree_shows_what_the_kernel_says", the_tree_shows_what_the_kernel_says),
    ("life::requests_share_the_node", requests_share_the_node),
    ("life::a_small_limit_is_the_smallest_that_there_is", a_small_limit_is_the_smallest_that_there_is),
    ("life::wait_tells_the_phase", wait_tells_the_phase),
    ("life::what_is_wrong_is_named", what_is_wrong_is_named),
    ("life::a_name_may_be_as_long_as_the_api_allows", a_name_may_be_as_long_as_the_api_allows),
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
    // In an mqueue file system a file is a POSIX message queue (mq_overview(7)).
    cell.ok(&["exec", "shared", "-c", "a", "--", "touch", "/dev/mqueue/queue"])?;
    let queues = cell.ok(&["exec", "shared", "-c", "b", "--", "ls", "/dev/mqueue"])?;
    expect("message queues", queues, "queue\n".to_owned())?;
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

fn pids_and_ipc_are_the_node_s_when_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("guest", &[cell.container("main", "exec sleep 1000")]);
    pod["spec"]["hostPID"] = json!(true);
    pod["spec"]["hostIPC"] = json!(true);
    cell.run(&pod, &[])?;
    let tree = tree(&cell, "guest")?;
    let list = tree["namespaces"].as_array().cloned().unwrap_or_default();
    for (kind, is_node) in [("pid", true), ("ipc", true), ("net", false), ("uts", false), ("mnt", false)] {
        let of_kind: Vec<bool> = list
            .iter()
            .filter(|namespace| namespace["kind"] == kind)
            .filter_map(|namespace| namespace["is_node"].as_bool())
            .collect();
        if of_kind.is_empty() || of_kind.contains(&!is_node) {
            return fail(format!("{kind} namespaces that are the node's: {of_kind:?}, wanted {is_node}"));
        }
    }
    let seen = cell.ok(&["exec", "guest", "--", "cat", "/proc/1/comm"])?;
    expect("PID 1", seen, fs::read_to_string("/proc/1/comm")?)?;
    cell.clean(&["guest"])
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

fn the_tree_shows_zombies() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // PID 1 of the container waits for nobody.
    let script = "(for i in 1 2 3; do (sleep 0.2 &); done); exec sleep 1000";
    cell.run(
        &cell.pod("zombies", &[cell.container("main", script), cell.container("other", "exec sleep 1000")]),
        &[],
    )?;
    let deadline = std::time::Instant::now() + crate::fixture::DEADLINE;
    loop {
        let tree = tree(&cell, "zombies")?;
        let zombies = |index: usize| {
            let processes = tree["containers"][index]["processes"].as_array().cloned().unwrap_or_default();
            processes.iter().filter(|process| process["is_zombie"] == true).count()
        };
        // The sandbox is the first.
        let n = [zombies(0), zombies(1), zombies(2)];
        if n == [0, 3, 0] {
            break;
        }
        if std::time::Instant::now() > deadline {
            return fail(format!("zombies of sandbox, main and other: {n:?}"));
        }
    }
    let text = cell.ok(&["tree", "zombies"])?;
    expect("lines of zombies", text.matches("(zombie)").count(), 3)?;
    cell.clean(&["zombies"])
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

fn exec_has_a_terminal_when_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("tty", &[cell.container("main", "exec sleep 1000")]), &[])?;
    let OpenptyResult { master, slave } = openpty(None, None)?;
    let script = "tty; stty -echo; echo ready; read word; echo got $word; exit 3";
    let mut command = cell.program();
    command.args(["exec", "-it", "tty", "--", "sh", "-c", script]);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let child = command.spawn()?;
    // The ends for the child.
    drop(command);
    let mut terminal = fs::File::from(master);
    let mut text = String::new();
    let mut until = |wanted: &str| -> Result<(), Failed> {
        let mut bytes = [0; 256];
        while !text.contains(wanted) {
            // EIO once nobody has the terminal open.
            match terminal.read(&mut bytes) {
                Ok(n @ 1..) => text.push_str(&String::from_utf8_lossy(&bytes[..n])),
                end => return fail(format!("no {wanted:?} in {text:?}: {end:?}")),
            }
        }
        Ok(())
    };
    until("/dev/pts/0\r\n")?;
    until("ready\r\n")?;
    (&terminal).write_all(b"word\n")?;
    let mut rest = Vec::new();
    let _eio = terminal.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest).into_owned();
    if !rest.contains("got word\r\n") {
        return fail(format!("the program says {rest:?}"));
    }
    expect("exit code", wait(child)?.status.code(), Some(3))?;
    cell.clean(&["tty"])
}

fn exec_reads_what_it_is_given() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.run(&cell.pod("pipe", &[cell.container("main", "exec sleep 1000")]), &[])?;
    // More than a pipe holds, with every byte in it.
    let text: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    for (options, wanted) in [(&["-i"][..], &text[..]), (&[], b"")] {
        let mut command = cell.program();
        command.arg("exec").args(options).args(["pipe", "--", "sha256sum"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        let written = stdin.write_all(&text);
        drop(stdin);
        let output = wait(child)?;
        expect("exit code", output.status.code(), Some(0))?;
        let digest: String = Sha256::digest(wanted).iter().map(|byte| format!("{byte:02x}")).collect();
        expect("digest", String::from_utf8(output.stdout)?, format!("{digest}  -\n"))?;
        expect("all is read", written.is_ok(), !options.is_empty())?;
    }
    cell.clean(&["pipe"])
}

fn the_tree_shows_what_the_kernel_says() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let limited = |name: &str, cpu: &str, memory: &str, script: &str| {
        let mut container = cell.container(name, script);
        container["resources"] = json!({"limits": {"cpu": cpu, "memory": memory}});
        container
    };
    let busy = "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo done; sleep 1000 & exec sleep 1000";
    let containers = [limited("a", "500m", "64Mi", "exec sleep 1000"), limited("b", "1", "32Mi", busy)];
    cell.run(&cell.pod("seen", &containers), &[])?;
    cell.until_logged("seen", "b", "done")?;
    let number = |below: &str| -> Result<u64, Failed> {
        Ok(fs::read_to_string(cell.cgroup("seen").join(below))?.trim().parse()?)
    };
    let usage = |below: &str| -> Result<u64, Failed> {
        let text = fs::read_to_string(cell.cgroup("seen").join(below).join("cpu.stat"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(line.ok_or("no usage_usec")?.parse()?)
    };
    let usages = || ["", "a", "b"].map(usage).into_iter().collect::<Result<Vec<_>, _>>();
    // The shell of b makes its second process after it has said that it is done.
    while number("b/pids.current")? < 2 {}
    let before = usages()?;
    let tree = tree(&cell, "seen")?;
    let after = usages()?;
    let groups = [
        ("", &tree["cgroup"]),
        ("a", &tree["containers"][1]["cgroup"]),
        ("b", &tree["containers"][2]["cgroup"]),
    ];
    for (index, (below, group)) in groups.into_iter().enumerate() {
        let path = format!("{}/seen{}{below}", cell.cgroup_path(), if below.is_empty() { "" } else { "/" });
        expect("path", group["path"].as_str(), Some(path.as_str()))?;
        let file = |name: &str| number(format!("{below}/{name}").trim_start_matches('/'));
        for (field, name) in
            [("memory_max_bytes", "memory.max"), ("cpu_weight", "cpu.weight"), ("pids", "pids.current")]
        {
            expect(&format!("{field} of {path}"), group[field].as_u64(), Some(file(name)?))?;
        }
        let cpu_max = group["cpu_max"].as_f64();
        expect(&format!("cpu_max of {path}"), cpu_max, [Some(1.5), Some(0.5), Some(1.0)][index])?;
        let used = group["cpu_usage_us"].as_u64().unwrap_or_default();
        if !(before[index]..=after[index]).contains(&used) || used == 0 {
            return fail(format!("CPU time of {path}: {used}, between {before:?} and {after:?}"));
        }
        let memory = group["memory_bytes"].as_u64().unwrap_or_default();
        if !(1..=96 << 20).contains(&memory) {
            return fail(format!("memory of {path}: {memory}"));
        }
    }
    let processes = tree["containers"].as_array().ok_or("no containers")?.iter();
    let processes: Vec<&Value> =
        processes.filter_map(|container| container["processes"].as_array()).flatten().collect();
    expect("processes", processes.len(), 4)?;
    for process in processes {
        for kind in ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user"] {
            let inode = fs::metadata(format!("/proc/{}/ns/{kind}", process["pid"]))?.ino();
            expect(&format!("{kind} of {process}"), process["namespaces"][kind].as_u64(), Some(inode))?;
        }
    }
    let text = cell.ok(&["tree", "seen"])?;
    expect("groups with their use of CPU", text.matches("  CPU time ").count(), 4)?;
    cell.clean(&["seen"])
}

fn requests_share_the_node() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let text = fs::read_to_string("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let quarter = total.ok_or("no MemTotal")?.parse::<u64>()? / 4;
    let containers = [
        ("a", json!({"requests": {"cpu": "500m", "memory": format!("{quarter}Ki")}})),
        ("b", json!({"requests": {"cpu": "500m"}})),
        ("c", json!({})),
    ]
    .map(|(name, resources)| {
        let mut container = cell.container(name, "exec sleep 1000");
        container["resources"] = resources;
        container
    });
    cell.run(&cell.pod("burstable", &containers), &[])?;
    cell.run(&cell.pod("besteffort", &containers[2..]), &[])?;
    // The weights of 512, 1024 and 2 shares, by the curve that the OCI runtimes have agreed on.
    for (below, wanted) in [
        ("burstable/a", "59"),
        ("burstable/b", "59"),
        ("burstable/c", "1"),
        ("burstable", "100"),
        ("besteffort/c", "1"),
        ("besteffort", "1"),
    ] {
        let weight = fs::read_to_string(cell.cgroup(below).join("cpu.weight"))?;
        expect(&format!("cpu.weight of {below}"), weight.trim(), wanted)?;
        expect("memory.max", fs::read_to_string(cell.cgroup(below).join("memory.max"))?.trim(), "max")?;
        let swap = fs::read_to_string(cell.cgroup(below).join("memory.swap.max"))?;
        expect(&format!("memory.swap.max of {below}"), swap.trim(), "0")?;
    }
    // A quarter of the node's memory is worth a quarter of 1000; 1000 itself is for those that ask for nothing.
    for (pod, name, wanted) in [
        ("burstable", "a", ["750\n", "751\n"]),
        ("burstable", "b", ["999\n"; 2]),
        ("burstable", "c", ["999\n"; 2]),
        ("besteffort", "c", ["1000\n"; 2]),
    ] {
        let score = cell.ok(&["exec", pod, "-c", name, "--", "cat", "/proc/1/oom_score_adj"])?;
        if !wanted.contains(&score.as_str()) {
            return fail(format!("oom_score_adj of {name} of {pod}: {score:?}"));
        }
    }
    for (pod, class) in [("burstable", "Burstable"), ("besteffort", "BestEffort")] {
        expect(pod, cell.inspect(pod)?["qosClass"].as_str(), Some(class))?;
    }
    cell.clean(&["burstable", "besteffort"])
}

fn a_small_limit_is_the_smallest_that_there_is() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut container = cell.container("main", "exec sleep 1000");
    container["resources"] = json!({"limits": {"cpu": "1m"}});
    let mut pod = cell.pod("small", &[container]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
    cell.run(&pod, &[])?;
    for below in ["cpu.max", "main/cpu.max"] {
        let text = fs::read_to_string(cell.cgroup("small").join(below))?;
        expect(below, text, "1000 100000\n".to_owned())?;
    }
    cell.clean(&["small"])
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
    for below in ["memory.swap.max", "a/memory.swap.max"] {
        expect(below, read(below), "0".to_owned())?;
    }
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

fn a_name_may_be_as_long_as_the_api_allows() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let name = format!("{}.e", vec!["l".repeat(62); 4].join("."));
    expect("length", name.len(), 253)?;
    cell.run(&cell.pod(&name, &[cell.container("main", "exec sleep 1000")]), &[])?;
    expect("exec", cell.ok(&["exec", &name, "--", "echo", "here"])?, "here\n".to_owned())?;
    cell.clean(&[&name])
}
