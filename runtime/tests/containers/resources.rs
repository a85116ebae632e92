//! `linux.resources` on real cgroups, read from outside.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use libtest_mimic::Failed;
use runtime::cgroup::group;
use serde_json::{Value, json};

use crate::fixture::{Cell, Lines};
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("resources::each_field_is_in_its_file", each_field),
    ("resources::a_controller_that_is_missing_is_named", missing_controller),
    ("resources::a_value_that_the_kernel_refuses_leaves_nothing", refused_value),
    ("resources::device_rules_decide_about_open_and_mknod", device_rules),
    ("resources::a_long_list_of_devices_is_accepted", long_list),
];

/// Fails unless a file of the container's cgroup has this text.
pub(crate) fn expect_file(cell: &Cell, id: &str, file: &str, expected: &str) -> Result<(), Failed> {
    let path = cell.cgroup(id).join(file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if text.trim() != expected {
        return fail(format!("{file} is {:?} instead of {expected:?}", text.trim()));
    }
    Ok(())
}

/// The number of a block device of the machine.
fn block_device() -> Option<String> {
    let entry = fs::read_dir("/sys/block").ok()?.flatten().next()?;
    fs::read_to_string(entry.path().join("dev")).ok().map(|text| text.trim().to_owned())
}

fn each_field() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    let mut resources = json!({
        "memory": {"limit": 100 << 20, "swap": 150 << 20, "reservation": 50 << 20, "kernel": 5,
            "useHierarchy": true, "checkBeforeUpdate": true},
        "cpu": {"quota": 50_000, "period": 200_000, "burst": 10_000, "shares": 512},
        "pids": {"limit": 20},
        "unified": {"memory.oom.group": "1", "memory.high": "90000000", "cgroup.max.depth": "3"},
    });
    let mut expected = vec![
        ("memory.max", "104857600".to_owned()),
        ("memory.swap.max", "52428800".to_owned()),
        ("memory.low", "52428800".to_owned()),
        ("memory.oom.group", "1".to_owned()),
        ("memory.high", (90_000_000_u64 / 4096 * 4096).to_string()),
        ("cpu.max", "50000 200000".to_owned()),
        ("cpu.max.burst", "10000".to_owned()),
        ("cpu.weight", "59".to_owned()),
        ("pids.max", "20".to_owned()),
        ("cgroup.max.depth", "3".to_owned()),
    ];
    let controllers = group::root_controllers();
    let has = |name: &str| controllers.iter().any(|have| have == name);
    if has("cpuset") {
        resources["cpu"]["cpus"] = json!("0");
        resources["cpu"]["mems"] = json!("0");
        expected.extend([("cpuset.cpus", "0".to_owned()), ("cpuset.mems", "0".to_owned())]);
    }
    if has("hugetlb") && Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        resources["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
        let text = (4 << 20).to_string();
        expected.extend([("hugetlb.2MB.max", text.clone()), ("hugetlb.2MB.rsvd.max", text)]);
    }
    if let Some((major, minor)) =
        block_device().filter(|_| has("io")).as_deref().and_then(|number| number.split_once(':'))
    {
        let device = |rate: u64| {
            json!([{"major": major.parse::<u64>().unwrap_or_default(),
            "minor": minor.parse::<u64>().unwrap_or_default(), "rate": rate}])
        };
        resources["blockIO"] =
            json!({"throttleReadBpsDevice": device(1 << 20), "throttleWriteIOPSDevice": device(7)});
        let text = format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=7");
        expected.push(("io.max", text));
    }
    config["linux"]["resources"] = resources;
    let _output = cell.create("c", &config)?;
    expected.iter().try_for_each(|(file, text)| expect_file(&cell, "c", file, text))?;
    cell.ok(&["delete", "--force", "c"])?;

    config["linux"]["resources"] = json!({"cpu": {"idle": 1}, "pids": {"limit": -1}});
    let _output = cell.create("c", &config)?;
    expect_file(&cell, "c", "cpu.idle", "1")?;
    expect_file(&cell, "c", "pids.max", "max")?;
    cell.ok(&["delete", "--force", "c"])?;
    weight(&cell, config)?;
    cell.expect_nothing_left()
}

/// One of two files, where the machine has one.
fn weight(cell: &Cell, mut config: Value) -> Result<(), Failed> {
    config["linux"]["resources"] = json!({"blockIO": {"weight": 500}});
    if !group::root_controllers().iter().any(|controller| controller == "io") {
        return Ok(());
    }
    let bundle = cell.bundle(&config)?;
    // Not to a pipe: the container holds it open.
    let said = cell.path().join("said");
    let status = cell
        .podrt()
        .args(["create", "--bundle"])
        .arg(bundle)
        .arg("c")
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said)?)
        .status()?;
    let message = fs::read_to_string(&said)?;
    let group = cell.cgroup("c");
    if !status.success() {
        // A kernel with neither scheduler.
        let is_named = message.contains("linux.resources.blockIO.weight")
            && message.contains("io.weight (this kernel has no such file");
        return if is_named { Ok(()) } else { fail(message) };
    }
    let (file, weight) =
        if group.join("io.bfq.weight").exists() { ("io.bfq.weight", "500") } else { ("io.weight", "4950") };
    let text = fs::read_to_string(group.join(file))?;
    if text.lines().next().and_then(|line| line.split_whitespace().last()) != Some(weight) {
        return fail(format!("{file} is {text:?}"));
    }
    cell.ok(&["delete", "--force", "c"]).map(drop)
}

fn missing_controller() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    config["linux"]["resources"] = json!({"unified": {"nonesuch.max": "1"}});
    let bundle = cell.bundle(&config)?.display().to_string();
    let message = cell.refused(&["create", "--bundle", &bundle, "c"])?;
    if !message.contains("linux.resources.unified[\"nonesuch.max\"]: needs the cgroup controller nonesuch") {
        return fail(message);
    }
    cell.expect_nothing_left()
}

fn refused_value() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    for (resources, message) in [
        (json!({"cpu": {"quota": 1}}), "linux.resources.cpu.quota: write \"1 100000\" to cpu.max"),
        (json!({"unified": {"memory.nonesuch": "1"}}), "this kernel has no such file"),
        (json!({"memory": {"swappiness": 5}}), "linux.resources.memory.swappiness: 5: cgroup v2 has no"),
    ] {
        config["linux"]["resources"] = resources;
        let bundle = cell.bundle(&config)?.display().to_string();
        let said = cell.refused(&["create", "--bundle", &bundle, "c"])?;
        if !said.contains(message) {
            return fail(format!("{said} does not contain {message}"));
        }
        cell.expect_nothing_left()?;
    }
    Ok(())
}

/// Runs a container that tries devices, and compares how it went.
fn try_devices(cell: &Cell, rules: &Value, tries: &[(&str, &str)]) -> Result<(), Failed> {
    let args: Vec<&str> = ["devices"].into_iter().chain(tries.iter().map(|(device, _)| *device)).collect();
    let mut config = cell.config("c", &args);
    // A number that no driver has: where it may be opened, the kernel finds nothing.
    let caps = json!(["CAP_MKNOD"]);
    config["process"]["capabilities"] = json!({"bounding": caps, "permitted": caps, "effective": caps});
    config["linux"]["devices"] = json!([{"path": "/dev/absent", "type": "c", "major": 240, "minor": 7},
        {"path": "/dev/second-zero", "type": "c", "major": 1, "minor": 5}]);
    config["linux"]["resources"] = json!({"devices": rules});
    let bundle = cell.bundle(&config)?;
    let mut child =
        cell.podrt().args(["run", "--bundle"]).arg(bundle).arg("c").stdout(Stdio::piped()).spawn()?;
    let mut lines = Lines::of(&mut child)?;
    let mut wrong = String::new();
    for (device, expected) in tries {
        let said = lines.next()?;
        if !said.starts_with(expected) {
            wrong.push_str(&format!("{device}: {said} instead of {expected}; "));
        }
    }
    if !child.wait()?.success() || !wrong.is_empty() {
        return fail(format!("with {rules}: {wrong}"));
    }
    cell.expect_nothing_left()
}

fn device_rules() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let deny_all = json!({"allow": false, "access": "rwm"});
    // Without a list: the devices of every container, and nodes of others that cannot be opened.
    try_devices(
        &cell,
        &json!([]),
        &[
            ("/dev/null", "ok"),
            ("/dev/second-zero", "ok"),
            ("/dev/absent", "EPERM"),
            ("b:8:0", "ok"),
            ("c:1:3", "ok"),
        ],
    )?;
    try_devices(
        &cell,
        &json!([deny_all]),
        &[
            ("/dev/null", "ok"),
            ("/dev/absent", "EPERM"),
            ("b:8:0", "EPERM"),
            ("c:10:1", "EPERM"),
            ("c:1:3", "ok"),
        ],
    )?;
    let absent = json!({"allow": true, "type": "c", "major": 240, "minor": 7, "access": "r"});
    try_devices(&cell, &json!([deny_all, absent]), &[("/dev/absent", "ENXIO"), ("c:240:7", "EPERM")])?;
    // The order counts.
    try_devices(&cell, &json!([absent, deny_all]), &[("/dev/absent", "EPERM")])?;
    let wildcards = json!([deny_all, {"allow": true, "type": "b", "major": 7, "minor": -1, "access": "m"},
        {"allow": true, "type": "c", "minor": 7}, {"allow": false, "type": "b", "major": 7, "minor": 3}]);
    try_devices(
        &cell,
        &wildcards,
        &[
            ("b:7:0", "ok"),
            ("b:7:3", "EPERM"),
            ("c:7:0", "EPERM"),
            ("c:99:7", "ok"),
            ("/dev/absent", "ENXIO"),
        ],
    )?;
    try_devices(&cell, &json!([{"allow": true, "type": "a"}]), &[("/dev/absent", "ENXIO"), ("b:8:0", "ok")])
}

fn long_list() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    for number in 0..500 {
        let (kind, access) = ([("c", "r"), ("b", "rw"), ("c", "rwm")])[number % 3];
        rules
            .push(json!({"allow": number % 5 != 0, "type": kind, "major": 200 + number % 7, "minor": number,
            "access": access}));
    }
    try_devices(&cell, &json!(rules), &[("/dev/absent", "EPERM"), ("/dev/null", "ok"), ("c:200:0", "EPERM")])
}
