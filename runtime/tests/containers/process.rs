//! What the process is given, and the verbs that show containers.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::exec::{expect, facts_of, hold};
use crate::fixture::Cell;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("process::priorities_domain_and_clocks", priorities_domain_and_clocks),
    ("process::namespaces_of_a_sibling_are_joined", namespaces_of_a_sibling_are_joined),
    ("process::home_is_from_the_image_unless_it_is_given", home),
    ("process::the_root_is_changed_without_a_pivot_on_request", no_pivot),
    ("process::an_unknown_capability_is_left_out", unknown_capability),
    ("process::wrong_usage_is_in_the_log", usage_in_log),
    ("process::an_apparmor_profile_must_be_loaded", apparmor_profile_must_be_loaded),
    ("process::the_keyring_is_the_callers_only_on_request", keyring_is_the_callers_on_request),
    ("show::list_and_ps_show_what_runs", list_and_ps_show),
    ("show::spec_writes_a_bundle_that_runs", spec_writes_a_bundle),
];

fn run_facts(cell: &Cell, flags: &[&str], config: &Value) -> Result<Value, Failed> {
    let bundle = cell.bundle(config)?.display().to_string();
    facts_of(&cell.podrt().args(["run", "--bundle", &bundle]).args(flags).arg("c").output()?)
}

fn priorities_domain_and_clocks() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for has_user_namespace in [false, true] {
        let mut config = cell.config("c", &["facts"]);
        let process = &mut config["process"];
        process["ioPriority"] = json!({"class": "IOPRIO_CLASS_RT", "priority": 3});
        process["scheduler"] =
            json!({"policy": "SCHED_FIFO", "priority": 2, "flags": ["SCHED_RESET_ON_FORK"]});
        let linux = &mut config["linux"];
        linux["personality"] = json!({"domain": "LINUX32"});
        let namespaces = linux["namespaces"].as_array_mut().ok_or("no namespaces")?;
        namespaces.push(json!({"type": "time"}));
        if has_user_namespace {
            namespaces.push(json!({"type": "user"}));
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            linux["uidMappings"] = map.clone();
            linux["gidMappings"] = map;
            cell.open_to_all()?;
        }
        linux["timeOffsets"] =
            json!({"monotonic": {"secs": 1_000_000}, "boottime": {"secs": 2_000_000, "nanosecs": 5}});
        let facts = run_facts(&cell, &[], &config)?;
        for (pointer, expected) in [
            ("/io_priority", json!(1 << 13 | 3)),
            // With SCHED_RESET_ON_FORK.
            ("/scheduler", json!(0x4000_0001)),
            ("/personality", json!(8)),
            ("/clock_megaseconds", json!([1, 2])),
        ] {
            expect(&facts, pointer, &expected)?;
        }
        expect(&facts, "/ns/time_for_children", &facts["ns"]["time"])?;
        cell.expect_nothing_left()?;
    }
    Ok(())
}

/// The sibling's cgroup namespace has its root in the sibling's cgroup, and a process in that could not be born in another.
fn namespaces_of_a_sibling_are_joined() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut output = cell.create("sibling", &cell.config("sibling", &["hold"]))?;
    cell.ok(&["start", "sibling"])?;
    output.expect("ready")?;
    let pid = cell.pid("sibling")?;
    let joined = [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")];
    let mut config = cell.config("c", &["facts"]);
    let mut namespaces = vec![json!({"type": "mount"})];
    namespaces.extend(
        joined.iter().map(|(kind, file)| json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")})),
    );
    config["linux"]["namespaces"] = json!(namespaces);
    let facts = run_facts(&cell, &[], &config)?;
    for (_, file) in joined {
        let of_sibling = fs::read_link(format!("/proc/{pid}/ns/{file}"))?;
        expect(&facts, &format!("/ns/{file}"), &json!(of_sibling))?;
    }
    expect(&facts, "/cgroup", &json!("0::/../c"))?;
    cell.ok(&["delete", "--force", "sibling"])?;
    cell.expect_nothing_left()
}

/// The values of `HOME`, as the program has them.
fn homes(facts: &Value) -> Vec<&str> {
    let entries = facts["env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    entries.filter_map(|entry| entry.strip_prefix("HOME=")).collect()
}

fn home() -> Result<(), Failed> {
    let cell = Cell::new()?;
    cell.open_to_all()?;
    let etc = cell.path().join("rootfs/etc");
    let passwd = etc.join("passwd");
    fs::create_dir(&etc)?;
    let cases = [
        (Some("root:x:0:0::/root:/bin/sh\napp:x:7:7::/srv/app:\n"), 7, "PATH=/", "/srv/app"),
        (Some("root:x:0:0::/root:/bin/sh\n"), 0, "HOME=", "/root"),
        (Some("root:x:0:0::/root:/bin/sh\n"), 7, "PATH=/", "/"),
        (Some("root:x:0:0::/root:/bin/sh\n"), 0, "HOME=/mine", "/mine"),
        (None, 0, "PATH=/", "/"),
    ];
    for (text, uid, entry, expected) in cases {
        match text {
            Some(text) => fs::write(&passwd, text)?,
            None => fs::remove_file(&passwd)?,
        }
        let mut config = cell.config("c", &["facts"]);
        config["process"]["user"]["uid"] = json!(uid);
        config["process"]["env"] = json!([entry]);
        let facts = run_facts(&cell, &[], &config)?;
        if homes(&facts) != [expected] {
            return fail(format!("HOME of {uid} with {text:?} and {entry} is {:?}", homes(&facts)));
        }
    }
    // One that would never end, or leads out, is none.
    for target in ["/dev/zero", "/proc/self/mem", "../../../../../../../../../etc/passwd"] {
        std::os::unix::fs::symlink(target, &passwd)?;
        let facts = run_facts(&cell, &[], &cell.config("c", &["facts"]))?;
        if homes(&facts) != ["/"] {
            return fail(format!("HOME with {target} is {:?}", homes(&facts)));
        }
        fs::remove_file(&passwd)?;
    }
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU)?;
    let facts = run_facts(&cell, &[], &cell.config("c", &["facts"]))?;
    if homes(&facts) != ["/"] {
        return fail(format!("HOME with a pipe is {:?}", homes(&facts)));
    }
    fs::remove_dir_all(&etc)?;
    cell.expect_nothing_left()
}

fn no_pivot() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["facts"]);
    config["process"]["cwd"] = json!("/data");
    config["root"]["readonly"] = json!(true);
    let bundle = cell.bundle(&config)?.display().to_string();
    let output = cell.podrt().args(["run", "--no-pivot", "--bundle", &bundle, "c"]).output()?;
    expect(&facts_of(&output)?, "/cwd", &json!("/data"))?;
    let said = String::from_utf8(output.stderr)?;
    if !said.contains("warning: --no-pivot: the node's mounts stay below") {
        return fail(said);
    }
    // /program is all that the container's root has besides empty directories.
    config["process"]["args"] = json!(["/program", "--inside", "stat", "/", "/bin", "/sys/fs/cgroup"]);
    let bundle = cell.bundle(&config)?.display().to_string();
    let inside = |flags: &[&str]| -> Result<String, Failed> {
        Ok(String::from_utf8(
            cell.podrt().arg("run").args(flags).args(["--bundle", &bundle, "c"]).output()?.stdout,
        )?)
    };
    let (pivoted, changed) = (inside(&[])?, inside(&["--no-pivot"])?);
    if pivoted != changed || pivoted.is_empty() {
        return fail(format!("{pivoted} and without a pivot {changed}"));
    }
    cell.expect_nothing_left()
}

fn unknown_capability() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["facts"]);
    let set = json!(["CAP_CHOWN", "CAP_OF_TOMORROW"]);
    config["process"]["capabilities"] = json!({"bounding": set, "effective": set, "permitted": set});
    let bundle = cell.bundle(&config)?.display().to_string();
    let output = cell.podrt().args(["run", "--bundle", &bundle, "c"]).output()?;
    expect(&facts_of(&output)?, "/status/CapEff", &json!("0000000000000001"))?;
    let said = String::from_utf8(output.stderr)?;
    let warning = "warning: process.capabilities.bounding: \"CAP_OF_TOMORROW\" is no capability that podrt knows, left out";
    if !said.contains(warning) {
        return fail(said);
    }
    cell.expect_nothing_left()
}

fn usage_in_log() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let log = cell.path().join("data/log");
    let path = log.display().to_string();
    for (args, format) in [
        (["--log", &path, "--log-format=json", "checkpoint"], "json"),
        (["--log-format", "text", "--log", &path], "text"),
    ] {
        cell.refused(&args)?;
        let line = fs::read_to_string(&log)?;
        let is_good = match format {
            "json" => {
                let line: Value = serde_json::from_str(&line)?;
                line["level"] == "error"
                    && line["msg"].as_str().is_some_and(|text| text.contains("'checkpoint'"))
            }
            _ => line.contains("level=error msg=\""),
        };
        if !is_good {
            return fail(line);
        }
        fs::remove_file(&log)?;
    }
    cell.expect_nothing_left()
}

fn apparmor_profile_must_be_loaded() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let is_on =
        fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with('Y'));
    let mut config = cell.config("c", &["facts"]);
    config["process"]["apparmorProfile"] = json!("podrt-nonesuch");
    let bundle = cell.bundle(&config)?.display().to_string();
    let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
    let expected = if is_on {
        "set process.apparmorProfile \"podrt-nonesuch\": is the profile loaded?"
    } else {
        "asks for AppArmor"
    };
    if !message.contains(expected) {
        return fail(format!("{message} does not contain {expected}"));
    }
    if is_on {
        config["process"]["apparmorProfile"] = json!("unconfined");
        expect(&run_facts(&cell, &[], &config)?, "/apparmor", &json!("unconfined"))?;
    }
    cell.expect_nothing_left()
}

fn keyring_is_the_callers_on_request() -> Result<(), Failed> {
    let cell = Cell::new()?;
    runtime::sys::process::new_session_keyring()?;
    let config = cell.config("c", &["facts"]);
    let own = crate::facts::session_keyring();
    let others = run_facts(&cell, &[], &config)?["keyring"].clone();
    let same = run_facts(&cell, &["--no-new-keyring"], &config)?["keyring"].clone();
    if others == own || same != own {
        return fail(format!(
            "keyring {own} of the caller: {others} by default, {same} with --no-new-keyring"
        ));
    }
    cell.expect_nothing_left()
}

fn list_and_ps_show() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    if cell.ok(&["list", "--format", "json"])? != "[]\n" {
        return fail("an empty root has containers");
    }
    let config = cell.config("c", &["hold"]);
    let _output = hold(&mut cell, &config)?;
    fs::create_dir(cell.state_root().join("half-made"))?;
    let pid = cell.pid("c")?;
    let list: Value = serde_json::from_str(&cell.ok(&["list", "--format", "json"])?)?;
    for (pointer, expected) in [
        ("/0/id", json!("c")),
        ("/0/pid", json!(pid.as_raw())),
        ("/0/status", json!("running")),
        ("/0/bundle", json!(cell.path().join("bundle"))),
        ("/0/owner", json!("root")),
        ("/1", Value::Null),
    ] {
        expect(&list, pointer, &expected)?;
    }
    let table = cell.ok(&["list"])?;
    let mut lines = table.lines();
    let (header, row) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let columns: Vec<&str> = header.split_whitespace().collect();
    let row: Vec<&str> = row.split_whitespace().collect();
    if columns != ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
        || row[..3] != ["c", &pid.to_string(), "running"]
    {
        return fail(table);
    }
    if cell.ok(&["list", "-q"])? != "c\n" {
        return fail("list -q does not give the id alone");
    }
    let pids: Vec<i32> = serde_json::from_str(&cell.ok(&["ps", "--format", "json", "c"])?)?;
    if pids != [pid.as_raw()] {
        return fail(format!("ps gives {pids:?} instead of {pid}"));
    }
    // busybox's ps knows -o only.
    let table = cell.ok(&["ps", "c", "-o", "pid,comm"])?;
    let rows: Vec<&str> = table.lines().skip(1).collect();
    if !table.starts_with("PID") && !table.trim_start().starts_with("PID")
        || rows.len() != 1
        || !rows[0].trim_start().starts_with(&pid.to_string())
    {
        return fail(table);
    }
    fs::remove_dir(cell.state_root().join("half-made"))?;
    cell.expect_nothing_left()
}

fn spec_writes_a_bundle() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let bundle = cell.path().join("bundle");
    fs::create_dir_all(&bundle)?;
    let path = bundle.display().to_string();
    cell.ok(&["spec", "--bundle", &path])?;
    let message = cell.refused(&["spec", "-b", &path])?;
    if !message.contains("config.json exists; remove it first") {
        return fail(message);
    }
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    config["process"]["args"] = json!(["/program", "--inside", "exit", "6"]);
    config["linux"]["cgroupsPath"] = cell.config("c", &[])["linux"]["cgroupsPath"].take();
    config["root"]["path"] = json!(cell.path().join("rootfs"));
    fs::write(&file, config.to_string())?;
    let output = cell.call(&["run", "--bundle", &path, "c"])?;
    if output.status.code() != Some(6) {
        return fail(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    fs::remove_dir_all(bundle)?;
    cell.expect_nothing_left()
}
