//! Plans as text: for each `plans/NAME.json`, the steps that podrt would take stand in `plans/NAME.txt`.
//!
//! No root and no kernel feature is needed. After an intended change, run with `PODRT_UPDATE_PLANS=1` and read the diff.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use runtime::cgroup::CgroupPath;
use runtime::plan::{self, KernelFeatures, Plan, plan};
use runtime::spec::exec::Overrides;
use runtime::spec::{CapSet, NsKind, config};

type TestResult = Result<(), Box<dyn Error>>;

fn kernel() -> KernelFeatures {
    KernelFeatures {
        has_cgroup2: true,
        controllers: ["cpu", "memory", "pids"].map(str::to_owned).to_vec(),
        last_capability: 40,
        has_apparmor: true,
        grantable_capabilities: CapSet((1 << 41) - 1),
    }
}

fn text_of_plan(plan: &Plan) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for warning in &plan.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    for step in &plan.steps {
        writeln!(
            text,
            "{:<8} {:<21} {}",
            format!("{:?}", step.actor),
            format!("{:?}", step.undo),
            step.action
        )?;
    }
    Ok(text)
}

fn text_of(json: &str, kernel: &KernelFeatures) -> Result<String, Box<dyn Error>> {
    let spec = config::parse(json, Path::new("/bundle"))?;
    let plan = plan(&"web".parse()?, &spec, Some(Path::new("/run/web.pid")), kernel)?;
    text_of_plan(&plan)
}

fn json_of(name: &str) -> Result<String, Box<dyn Error>> {
    Ok(fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/plans/{name}.json")))?)
}

fn compare(name: &str) -> TestResult {
    compare_text(name, &text_of(&json_of(name)?, &kernel())?)
}

fn compare_text(name: &str, text: &str) -> TestResult {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/plans/{name}.txt"));
    if std::env::var_os("PODRT_UPDATE_PLANS").is_some() {
        fs::write(&file, text)?;
    }
    let expected = fs::read_to_string(&file)?;
    assert_eq!(text, expected, "the plan for {name}.json differs from {}", file.display());
    Ok(())
}

#[test]
fn a_container_with_everything_of_its_own() -> TestResult {
    compare("full")
}

#[test]
fn a_container_of_a_pod_is_cloned_by_a_joiner() -> TestResult {
    compare("pod")
}

#[test]
fn a_new_user_namespace_binds_devices() -> TestResult {
    compare("user")
}

#[test]
fn a_container_with_a_terminal_and_clocks_of_its_own() -> TestResult {
    compare("terminal")
}

#[test]
fn an_exec_joins_all_namespaces_but_the_pid_namespace_at_once() -> TestResult {
    let process = r#"{"terminal": true, "consoleSize": {"height": 24, "width": 80}, "user": {"uid": 1, "gid": 2},
        "args": ["sh"], "env": ["PATH=/bin"], "cwd": "/srv", "oomScoreAdj": 5, "noNewPrivileges": true,
        "apparmorProfile": "web", "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]}"#;
    let document = json_of("user")?;
    let spec = config::parse(&document, Path::new("/bundle"))?;
    let (process, _) = runtime::spec::exec::process(&document, Some(process), &Overrides::default())?;
    let cgroup = CgroupPath::resolve(None, &"web".parse()?)?;
    let kinds = [NsKind::User, NsKind::Mount, NsKind::Pid, NsKind::Cgroup];
    let pid_file = Some(Path::new("/run/web.pid"));
    let plan = plan::exec::exec(&spec, &process, &cgroup, &kinds, pid_file, &kernel())?;
    compare_text("exec", &text_of_plan(&plan)?)
}

#[test]
fn a_profile_without_apparmor_is_refused() -> TestResult {
    let without = KernelFeatures { has_apparmor: false, ..kernel() };
    let error = text_of(&json_of("terminal")?, &without).unwrap_err().to_string();
    assert!(error.starts_with("process.apparmorProfile: \"web\" asks for AppArmor"), "{error}");
    Ok(())
}

#[test]
fn the_smallest_container() -> TestResult {
    compare("minimal")
}

#[test]
fn a_host_without_cgroup2_is_refused_with_the_way_out() -> TestResult {
    let json = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/minimal.json"))?;
    let hybrid = KernelFeatures { has_cgroup2: false, controllers: Vec::new(), ..kernel() };
    let error = text_of(&json, &hybrid).unwrap_err().to_string();
    assert!(error.contains("systemd.unified_cgroup_hierarchy=1"), "{error}");
    Ok(())
}

#[test]
fn a_missing_controller_is_named_with_the_field_that_needs_it() -> TestResult {
    let json = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/full.json"))?;
    let without = KernelFeatures { controllers: vec!["cpu".into(), "pids".into()], ..kernel() };
    let error = text_of(&json, &without).unwrap_err().to_string();
    assert_eq!(
        error,
        "linux.resources.memory.limit: needs the cgroup controller memory, and this host offers only: cpu pids"
    );
    Ok(())
}

#[test]
fn capabilities_that_cannot_be_given_are_left_out_with_a_warning() -> TestResult {
    let json = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/full.json"))?;
    let poor = KernelFeatures { grantable_capabilities: CapSet(!(1 << 5)), ..kernel() };
    let text = text_of(&json, &poor)?;
    assert!(
        text.starts_with("warning: process.capabilities: capability number 5 cannot be granted"),
        "{text}"
    );
    assert!(text.contains("cut the bounding set to 0x1\n"), "{text}");
    Ok(())
}
