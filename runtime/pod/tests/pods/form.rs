//! Results in the form for programs.

use std::collections::BTreeSet;

use clap::CommandFactory;
use libtest_mimic::Failed;
use pod::cli::args::Cli;
use serde_json::{Value, json};

use crate::fixture::{Cell, output};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[("form::every_result_can_be_parsed", every_result_can_be_parsed)];

fn every_result_can_be_parsed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut seen = BTreeSet::new();
    let mut make = |verb: &'static str, manifest: &Value| -> Result<Value, Failed> {
        seen.insert(verb);
        let output = output(cell.command(verb, manifest, &["--format", "json"])?)?;
        if !output.status.success() {
            return fail(format!("{verb}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        parse(verb, &output.stdout)
    };
    let lasting = cell.pod("lasting", &[cell.container("main", "exec sleep 1000")]);
    let made = make("create", &lasting)?;
    expect("create", (&made["name"], &made["state"]), (&json!("lasting"), &json!("Created")))?;
    let mut brief = cell.pod("brief", &[cell.container("main", "echo '\"' >&2; printf 'é'")]);
    brief["spec"]["restartPolicy"] = json!("Never");
    expect("run", &make("run", &brief)?["name"], &json!("brief"))?;

    let mut call = |verb: &'static str, args: &[&str]| -> Result<Vec<u8>, Failed> {
        seen.insert(verb);
        Ok(cell.ok(&[&[verb, "--format", "json"], args].concat())?.into_bytes())
    };
    let mut ask = |verb, args: &[&str]| parse(verb, &call(verb, args)?);
    expect("start", &ask("start", &["lasting"])?["state"], &json!("Running"))?;
    expect("wait", ask("wait", &["brief"])?, json!({"name": "brief", "phase": "Succeeded"}))?;
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    let both = BTreeSet::from(["brief", "lasting"].map(str::to_owned));
    let list = ask("ps", &[])?;
    let listed = list.as_array().into_iter().flatten().map(|pod| pod["name"].clone());
    expect("ps", names(&listed.collect()), both.clone())?;
    expect("ps -q", names(&ask("ps", &["-q"])?), both)?;
    expect("inspect", &ask("inspect", &["lasting"])?["phase"], &json!("Running"))?;
    expect("tree", &ask("tree", &["lasting"])?["name"], &json!("lasting"))?;
    let reached = ask("kill", &["lasting", "SIGCONT"])?;
    expect("kill", reached, json!({"name": "lasting", "signal": libc::SIGCONT, "containers": ["main"]}))?;
    expect("stop", &ask("stop", &["lasting", "--time", "0"])?["name"], &json!("lasting"))?;

    let text = String::from_utf8(call("logs", &["brief"])?)?;
    let mut records = BTreeSet::new();
    for line in text.lines() {
        let mut record = parse("logs", line.as_bytes())?;
        if !record["time"].take().as_str().is_some_and(|time| time.ends_with('Z')) {
            return fail(format!("no time: {line}"));
        }
        records.insert(record.to_string());
    }
    let record = |stream, is_partial: bool, log| {
        json!({"time": null, "stream": stream, "partial": is_partial, "log": log, "container": "main"})
            .to_string()
    };
    let wanted = BTreeSet::from([record("stderr", false, "\""), record("stdout", true, "é")]);
    expect("logs", records, wanted)?;

    let mut ask = |verb, args: &[&str]| parse(verb, &call(verb, args)?);
    let removed = ask("rm", &["lasting", "brief"])?;
    expect("rm", removed, json!({"removed": ["lasting", "brief"], "failed": []}))?;
    expect("gc", ask("gc", &[])?["left"].take(), json!([]))?;
    // None is forgotten; what exec prints is the program's.
    let command = Cli::command();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name);
    expect("verbs", seen, verbs.filter(|verb| *verb != "exec").collect())?;
    cell.expect_clean()
}

fn parse(verb: &str, text: &[u8]) -> Result<Value, Failed> {
    serde_json::from_slice(text)
        .map_err(|error| format!("{verb}: {error}: {}", String::from_utf8_lossy(text)).into())
}
