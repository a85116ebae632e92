//! What `--check` and `--strict` tell.

use std::process::{Command, Output};

use crate::exporter::{Exporter, SERVE};
use crate::privileges::{AS_NOBODY, PROBES};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("check::probes_are_told_in_json", probes_are_told_in_json),
    ("check::a_missing_privilege_is_told_in_a_table", a_missing_privilege_is_told),
    ("check::strict_wants_all", strict_wants_all),
];

fn run(starter: &[&str], options: &[&str]) -> Res<Output> {
    Ok(Command::new(std::env::current_exe()?).args(starter).arg(SERVE).args(options).output()?)
}

fn probes_are_told_in_json() -> Res<()> {
    let output = run(&[], &["--check=json", "--strict"])?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let names = |list: &str, is_wanted: fn(&serde_json::Value) -> bool| -> Vec<String> {
        let all = document[list].as_array().into_iter().flatten().filter(|item| is_wanted(item));
        all.map(|item| item["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    expect("refused probes", names("probes", |probe| probe["attached"] != true), vec![])?;
    expect("unavailable counters", names("counters", |counter| !counter["unavailable"].is_null()), vec![])?;
    expect("error", document["error"].is_null(), true)?;
    let is_known =
        names("probes", |probe| probe["mechanism"] == "tp_btf").contains(&"task_newtask".to_owned());
    expect("task_newtask is a tp_btf", is_known, true)?;
    expect("exit code", output.status.code(), Some(0))?;
    // Nothing of it is left to be in the way of who counts.
    Exporter::start(&["--strict"]).map(drop)
}

fn a_missing_privilege_is_told() -> Res<()> {
    let output = run(&[AS_NOBODY, "CAP_PERFMON"], &["--check"])?;
    expect("exit code without CAP_BPF", output.status.code(), Some(1))?;
    let text = String::from_utf8(output.stdout)?;
    let is_told =
        text.lines().any(|line| line.starts_with("nothing can be counted: ") && line.contains("CAP_BPF"));
    if !is_told {
        return Err(text.into());
    }
    // What is missing to a user without root is not needed to count.
    let output = run(&[AS_NOBODY, PROBES], &["--check"])?;
    expect("exit code with what the probes take", output.status.code(), Some(0))?;
    let text = String::from_utf8(output.stdout)?;
    let line =
        "counter ns_joined_inside_pid is unavailable: the machine's first mount namespace is not known";
    if text.lines().any(|found| found.starts_with(line)) { Ok(()) } else { Err(text.into()) }
}

fn strict_wants_all() -> Res<()> {
    for options in
        [&["--check", "--strict"][..], &["--strict", "--web.listen-address", "unix:///tmp/none.sock"]]
    {
        let output = run(&[AS_NOBODY, PROBES], options)?;
        expect(&format!("exit code of {options:?}"), output.status.code(), Some(1))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        if !text.contains("/proc/1/ns/mnt cannot be read") {
            return Err(text.into_owned().into());
        }
    }
    Ok(())
}
