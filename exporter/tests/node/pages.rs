//! The landing page of a node whose pods have all that it tells of, for a browser elsewhere: one JSON object, page by page.
//!
//! ```text
//! empty    before there are pods
//! pods     `cart` is quiet, `importer` has run out of memory three times, `worker` has three zombies; a container of another
//!          engine, whose names are markup
//! later    the same, and `worker` has one zombie more
//! ```

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::container::Container;
use crate::exporter::{Exporter, until};
use crate::pods::Pod;
use crate::{Res, expect};

/// First argument of this binary when it is to print the pages.
pub(crate) const PAGES: &str = "pages";

const QUIET: &str = "exec busybox sleep 1000";
/// The shell becomes a program that never reaps before its children end.
const LEAK: &str = "for i in 1 2 3; do busybox sleep 1 & done; exec busybox sleep 1000";
/// Takes what memory there is, but for the fourth time.
const GREEDY: &str = "echo >>/runs/all; busybox sleep 1; \
     [ $(busybox wc -l </runs/all) -gt 3 ] && exec busybox sleep 1000; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done";

/// What no container may be called, as a name of a log file gives it to one.
const MARKUP: &str = "<img id=broken src=x onerror=document.title='broken'>";

/// Gives the reason if it cannot.
pub(crate) fn print() -> ExitCode {
    match pages() {
        Ok(pages) => {
            println!("{pages}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("no pages: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pages() -> Res<Value> {
    let dir = Rc::new(tempfile::tempdir()?);
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (root, logs) = (path("root"), path("logs"));
    let exporter = Exporter::start(&["--path.podrt", &root, "--path.logs", &logs, "--metadata.wait", "0s"])?;
    let (_code, empty) = exporter.get("/")?;

    let foreign = Container::new("9bca8d63d5fa6107".repeat(4))?;
    let links = Path::new(&logs).join("containers");
    fs::create_dir_all(&links)?;
    fs::write(links.join(format!("{MARKUP}_{MARKUP}_{MARKUP}-{}.log", foreign.id)), "")?;
    let pod = |name, script: &str, container| {
        let volumes = json!({ "volumes": [{ "name": "runs", "emptyDir": {} }] });
        Pod::in_dir(Rc::clone(&dir), name, script, &["--restart-backoff", "0"], volumes, container)
    };
    let _quiet = pod("cart", QUIET, json!({}))?;
    let limits = json!({ "limits": { "memory": "24Mi" } });
    let mounts = json!([{ "name": "runs", "mountPath": "/runs" }]);
    let _greedy = pod("importer", GREEDY, json!({ "resources": limits, "volumeMounts": mounts }))?;
    let leaky = pod("worker", LEAK, json!({}))?;
    // Processes and zombies; restarts and OOM kills.
    let pods = until("the pods", || {
        let (_code, page) = exporter.get("/")?;
        let is_there = has(&page, "cart", ["1", "0"], ["0", "0"])
            && has(&page, "importer", ["1", "0"], ["3", "3"])
            && has(&page, "worker", ["1", "3"], ["0", "0"]);
        Ok(is_there.then_some(page))
    })?;

    // The child of a shell that ends, and which the program that never reaps inherits.
    leaky.podrt(&["exec", "worker", "-c", "main", "--", "sh", "-c", "busybox sleep 1 >/dev/null 2>&1 &"])?;
    let later = until("one zombie more", || {
        let (_code, page) = exporter.get("/")?;
        Ok(has(&page, "worker", ["1", "4"], ["0", "0"]).then_some(page))
    })?;
    expect("exit code", exporter.stop()?, Some(0))?;
    Ok(json!({ "empty": empty, "pods": pods, "later": later }))
}

/// Whether the page has a container `main` of this pod with these numbers, between which is the age of its zombies.
fn has(page: &str, pod: &str, before: [&str; 2], after: [&str; 2]) -> bool {
    page.lines().any(|line| {
        let cells = line.trim_end_matches("</tr>").split("<td").skip(1);
        let cells: Vec<&str> = cells.filter_map(|cell| Some(cell.split_once('>')?.1)).collect();
        cells.starts_with(&["shop", pod, "main"])
            && cells[3..].starts_with(&before)
            && cells.ends_with(&after)
    })
}
