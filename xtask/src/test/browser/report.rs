//! report.html, made of records: opened by keys alone as a user does, and filtered; texts of subjects stay texts.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Desk, Page, Test};
use crate::cmd::Cmd;
use crate::test::Context;

pub(super) const PAGE: Page = Page { name: "report", make, file: "report.html", tests: &TESTS };

/// What breaks a page that makes markup of texts.
const HOSTILE: &str =
    "</script><img id=broken src=x onerror=document.title='broken'><script>document.title='broken'</script>";

/// Makes a report of records.
fn make(context: &Context, dir: &Path) -> Result<()> {
    let records = dir.join("records");
    fs::write(&records, self::records()).with_context(|| format!("cannot write {}", records.display()))?;
    let made = Cmd::new(&context.built.podproof).arg("report").arg(&records).arg("--report-dir").arg(dir);
    // Some of it fails, as it has to.
    made.output().map(drop)
}

const TESTS: [(&str, Test); 5] = [
    ("a verdict is opened and closed by keys", opened_by_keys),
    ("filters leave what they name", filtered),
    ("texts of subjects stay texts", hostile),
    ("an address leads to a verdict", addressed),
    ("the page is drawn light, dark and narrow", drawn),
];

fn opened_by_keys(Desk { tab, .. }: &mut Desk) -> Result<()> {
    tab.eval("document.querySelector('button.verdict').focus()")?;
    for key in ["ArrowDown", "ArrowRight", "ArrowLeft", "Enter"] {
        tab.press(key)?;
    }
    tab.expect("document.getElementById('details').open", &json!(true))?;
    tab.expect("document.getElementById('title').firstChild.data.slice(0, 5)", &json!("NS-02"))?;
    for part in [
        "clause of NS-02",
        "tp_btf/sched_process_exec",
        "cargo xtask conformance --runtime podrt --kernel 6.12 NS-02",
    ] {
        tab.expect(
            &format!("document.getElementById('details').textContent.includes({})", json!(part)),
            &json!(true),
        )?;
    }
    tab.expect("document.querySelectorAll('#details .facts').length", &json!(2))?;
    tab.expect("document.querySelectorAll('#details svg rect.process').length > 1", &json!(true))?;
    tab.press("Escape")?;
    tab.expect("document.getElementById('details').open", &json!(false))?;
    tab.expect("document.activeElement.dataset.id", &json!("NS-02"))
}

fn filtered(Desk { tab, .. }: &mut Desk) -> Result<()> {
    let rows = "document.querySelectorAll('#matrix tr.row').length";
    tab.expect(rows, &json!(4))?;
    tab.press("/")?;
    tab.expect("document.activeElement.id", &json!("search"))?;
    tab.write("reap-15")?;
    tab.expect(rows, &json!(1))?;
    tab.eval("filters.search.value = ''; filters.verdict.value = 'fail'; drawMatrix()")?;
    tab.expect(rows, &json!(2))?;
    tab.eval("filters.verdict.value = ''; filters.runtime.value = 'runc 1'; drawMatrix()")?;
    tab.expect("document.querySelectorAll('#matrix thead th').length", &json!(3))?;
    tab.eval("filters.runtime.value = ''; filters.differing.checked = true; drawMatrix()")?;
    tab.expect(rows, &json!(2))
}

fn hostile(Desk { tab, .. }: &mut Desk) -> Result<()> {
    tab.eval("open('REAP-15', 1)")?;
    tab.expect("document.title", &json!("podproof report"))?;
    tab.expect("document.querySelectorAll('#broken').length", &json!(0))?;
    let said = format!("document.getElementById('details').textContent.includes({})", json!(HOSTILE));
    tab.expect(&said, &json!(true))
}

fn addressed(Desk { tab, .. }: &mut Desk) -> Result<()> {
    tab.eval("location.hash = '#REAP-15@0'")?;
    tab.expect("document.getElementById('details').open", &json!(true))?;
    tab.expect("location.hash", &json!("#REAP-15@0"))
}

/// Each picture has the colours that it should have, and is no plain area.
fn drawn(desk: &mut Desk) -> Result<()> {
    for (name, scheme, width) in [("light", "light", 1400), ("dark", "dark", 1400), ("narrow", "light", 390)]
    {
        desk.look(scheme, (width, 1000))?;
        for (what, script) in [("matrix", "0"), ("details", "open('NS-02', 1)")] {
            desk.tab.eval(script)?;
            let is_dark = desk.picture(&format!("{name}-{what}"))?;
            let is_right =
                if what == "matrix" { is_dark == (scheme == "dark") } else { scheme == "light" || is_dark };
            ensure!(is_right, "{name}-{what} has the wrong brightness");
        }
        desk.tab.press("Escape")?;
    }
    Ok(())
}

/// Records of two runtimes with four checks.
fn records() -> String {
    let mut text = String::new();
    for (runtime, bad) in [("podrt", ""), ("runc", "fail")] {
        let run = json!({
            "record": "run", "runtime": { "name": runtime, "path": format!("/opt/{runtime}"), "version": "1" }, "adapter": "oci",
            "sandbox": { "name": "pause", "path": "/pause", "sha256": "0" }, "kernel": "6.12.1-cloud", "machine": "vm-tcg",
            "wall_ms": 0, "probes": [], "events_lost": 0, "checks": [],
            "again": format!("cargo xtask conformance --runtime {runtime} --kernel 6.12")
        });
        text += &format!("{run}\n");
        for id in ["NS-01", "NS-02", "REAP-01", "REAP-15"] {
            let is_bad = bad == "fail" && ["NS-02", "REAP-15"].contains(&id);
            let reason = if is_bad { format!("it is not so: {HOSTILE}") } else { String::new() };
            let fact = |source: &str| json!({ "key": "net.a", "value": 4_026_532_187_u32, "source": source });
            let check = json!({
                "record": "check", "id": id, "name": format!("the name of {id}"), "statement": format!("The statement of {id}."),
                "clause": format!("clause of {id}"), "level": "MUST", "subject": "runtime",
                "verdict": if is_bad { "fail" } else { "pass" }, "reason": reason, "expected": "one", "observed": HOSTILE,
                "inside": [fact("witness a")], "kernel": [fact("tp_btf/sched_process_exec")], "trace": [HOSTILE],
                "wall_ms": 1250, "timeline": timeline()
            });
            text += &format!("{check}\n");
        }
        text += "{\"record\":\"end\",\"wall_ms\":9000,\"events_lost\":0,\"left_behind\":[]}\n";
    }
    text
}

fn timeline() -> serde_json::Value {
    json!({
        "start_us": 1000, "length_us": 400_000,
        "tasks": [
            { "tgid": 300, "since_us": 0, "from_before": true, "programs": [{ "name": "podproof", "since_us": 0 }], "ns": {} },
            { "tgid": 310, "parent": 0, "ns_pid": 1, "since_us": 9000, "end_us": 200_000, "end": HOSTILE, "killed": true,
              "reaped_us": 300_000, "reaped": HOSTILE, "ns": { "net": 4_026_532_187_u32 },
              "programs": [{ "name": "runc:[2:INIT]", "since_us": 9000 }, { "name": HOSTILE, "since_us": 60_000 }] }
        ],
        "namespaces": [{ "kind": "net", "inode": 4_026_532_187_u32, "since_us": 9000, "until_us": 200_000 }],
        "cgroups": [{ "path": "/podproof/NS-02", "made_us": 4000, "removed_us": 390_000, "populated": [[9000, 200_000]] }],
        "marks": [
            { "at_us": 150_000, "kind": "signal", "task": 0, "to": 1, "text": HOSTILE },
            { "at_us": 8000, "kind": "cgroup", "task": 0, "cgroup": 0, "text": "writes memory.max" }
        ]
    })
}
