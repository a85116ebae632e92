//! The exporter's landing page, as a VM serves it whose pods leak zombies and are killed for their memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use vm_images::Outcome;

use super::{Desk, Page, Test};
use crate::build;
use crate::test::{Context, guest, host};
use crate::vm::Collector;

pub(super) const PAGE: Page = Page { name: "landing", make, file: "pods.html", tests: &TESTS };

/// The test program of the exporter, and the argument that makes it print its pages.
const PROGRAM: (&str, &str) = ("podproof-exporter", "node");
const PAGES: &str = "pages";

/// Runs the exporter in a VM, beside pods, and keeps its pages: `empty.html`, `pods.html`, and `later.html` with one zombie more.
fn make(context: &Context, dir: &Path) -> Result<()> {
    let built = build::guest_tests(&[PROGRAM], &context.built.probes, &[])?;
    let path = built.get(PROGRAM.1).context("no test program of the exporter")?;
    let series = host::SERIES.last().context("no kernel")?;
    let mut machine = guest::machine(context, series, PAGES, path)?;
    machine.argv.push(PAGES.to_owned());
    let mut collector = Collector::default();
    let report = machine.run(&mut collector)?;
    if !matches!(report.outcome, Outcome::Exited { code: 0 }) {
        bail!("no pages: {}", report.explain());
    }
    let pages: BTreeMap<String, String> =
        serde_json::from_slice(&collector.output).context("what is printed are no pages")?;
    for (name, html) in pages {
        let path = dir.join(name).with_extension("html");
        fs::write(&path, html).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

const TESTS: [(&str, Test); 5] = [
    ("each container has its row", rows),
    ("names of containers stay texts", hostile),
    ("the page shows itself again", refreshed),
    ("a node without containers says so", empty),
    ("the page is drawn light, dark and narrow", drawn),
];

fn rows(Desk { tab, .. }: &mut Desk) -> Result<()> {
    tab.expect("document.title", &json!("podproof-exporter"))?;
    let age = r"/^\d+ s$|^\d+ min \d+ s$/";
    let cells = format!(
        "[...document.querySelector('table').rows].map((row) => [...row.cells].map((cell) => cell.textContent.replace({age}, 'age')))"
    );
    let wanted = json!([
        ["Namespace", "Pod", "Container", "Processes", "Zombies", "Oldest", "Restarts", "OOM kills"],
        ["", "", "9bca8d63d5fa", "0", "0", "", "0", "0"],
        ["shop", "cart", "POD", "1", "0", "", "0", "0"],
        ["shop", "cart", "main", "1", "0", "", "0", "0"],
        ["shop", "importer", "POD", "1", "0", "", "0", "0"],
        ["shop", "importer", "main", "1", "0", "", "3", "3"],
        ["shop", "worker", "POD", "1", "0", "", "0", "0"],
        ["shop", "worker", "main", "1", "3", "age", "0", "0"],
    ]);
    tab.expect(&cells, &wanted)?;
    let marked = "[...document.querySelectorAll('table')[0].querySelectorAll('.bad')].map((row) => row.cells[1].textContent)";
    tab.expect(marked, &json!(["worker"]))?;
    let colour = |row: &str| format!("getComputedStyle(document.querySelector('{row}')).backgroundColor");
    tab.expect(&format!("{} === {}", colour("tr.bad"), colour("tr:not(.bad)")), &json!(false))?;
    tab.expect(
        "[...document.links].map((link) => link.pathname)",
        &json!(["/metrics", "/-/healthy", "/-/ready"]),
    )?;
    tab.expect("document.querySelectorAll('table')[1].rows.length > 10", &json!(true))
}

/// The page has what it is made of, and nothing that a name brings. Should one ever become markup, nothing of it is run.
fn hostile(Desk { tab, .. }: &mut Desk) -> Result<()> {
    let kinds =
        "[...new Set([...document.querySelectorAll('*')].map((element) => element.localName))].sort()";
    let wanted = [
        "a", "body", "div", "h1", "h2", "head", "html", "meta", "p", "small", "style", "table", "tbody",
        "td", "th", "title", "tr",
    ];
    tab.expect(kinds, &json!(wanted))?;
    // In one go, as the page that is loaded again has forgotten it.
    let click = "document.body.insertAdjacentHTML('beforeend', '<b id=broken onclick=\"document.title = this.id\">x</b>'); \
                 document.getElementById('broken').click(); document.title";
    tab.expect(click, &json!("podproof-exporter"))
}

/// What it shows is replaced, and nobody does anything.
fn refreshed(Desk { tab, pages, .. }: &mut Desk) -> Result<()> {
    let (shown, next) = (pages.join("shown.html"), pages.join("next.html"));
    let copy =
        |from: &str, to: &Path| fs::copy(pages.join(from), to).with_context(|| format!("cannot copy {from}"));
    copy("pods.html", &shown)?;
    tab.show(&shown)?;
    let zombies = "document.querySelector('tr.bad')?.cells[4].textContent";
    tab.expect(zombies, &json!("3"))?;
    copy("later.html", &next)?;
    fs::rename(&next, &shown).context("cannot replace the page")?;
    tab.expect(zombies, &json!("4"))
}

fn empty(Desk { tab, pages, .. }: &mut Desk) -> Result<()> {
    tab.show(&pages.join("empty.html"))?;
    tab.expect("document.body.textContent.includes('No container runs on this node.')", &json!(true))?;
    tab.expect("document.querySelectorAll('table').length", &json!(1))
}

/// Each picture has the colours that it should have, and is no plain area.
fn drawn(desk: &mut Desk) -> Result<()> {
    for (name, file, scheme, size) in [
        ("light", "pods.html", "light", (1000, 640)),
        ("dark", "pods.html", "dark", (1000, 640)),
        ("narrow", "pods.html", "light", (390, 640)),
        ("narrow-dark", "pods.html", "dark", (390, 640)),
        ("empty", "empty.html", "light", (1000, 640)),
    ] {
        // Anew, so that it does not show itself again while it is drawn.
        desk.tab.show(&desk.pages.join(file))?;
        desk.look(scheme, size)?;
        let is_cut = "[...document.querySelectorAll('.pods td')].some((cell) => cell.getBoundingClientRect().right > innerWidth)";
        desk.tab.expect(is_cut, &json!(false))?;
        let is_dark = desk.picture(name)?;
        ensure!(is_dark == (scheme == "dark"), "{name} has the wrong brightness");
    }
    Ok(())
}
