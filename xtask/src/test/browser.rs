//! The stages that open pages in a real browser, and look at pictures of them. Only in a full run: the browser is large.

mod landing;
mod picture;
mod report;
mod tab;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::setup::{self, Tool};
use crate::test::{Context, Tally};
use crate::workspace;
use picture::Picture;
use tab::Tab;

/// A page, and what is tried on it.
struct Page {
    /// The folder of its pictures below `target/browser`.
    name: &'static str,
    /// Makes its files in a folder.
    make: fn(&Context, &Path) -> Result<()>,
    /// The one that is shown when a test begins.
    file: &'static str,
    tests: &'static [(&'static str, Test)],
}

type Test = fn(&mut Desk) -> Result<()>;

/// What a test works with.
struct Desk {
    tab: Tab,
    pages: PathBuf,
    pictures: PathBuf,
}

/// report.html, by keys alone as a user opens it.
pub(crate) fn report(context: &Context) -> Result<Tally> {
    run(context, &report::PAGE)
}

/// The exporter's landing page, as a VM with pods serves it.
pub(crate) fn landing(context: &Context) -> Result<Tally> {
    run(context, &landing::PAGE)
}

fn run(context: &Context, page: &Page) -> Result<Tally> {
    let mut tally = Tally::default();
    if !context.is_full {
        return Ok(tally);
    }
    let tools = setup::ensure(&[Tool::Chromium])?;
    let dir = context.tmp.join("browser");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    (page.make)(context, &dir)?;
    let pictures = workspace::target().join("browser").join(page.name);
    fs::create_dir_all(&pictures).with_context(|| format!("cannot create {}", pictures.display()))?;
    let tab = Tab::open(&tools.tool(Tool::Chromium)?.path, &dir.join("profile"))?;
    let mut desk = Desk { tab, pages: dir.clone(), pictures };
    for (name, test) in page.tests {
        desk.tab.show(&dir.join(page.file))?;
        let done = test(&mut desk);
        if let Err(error) = &done {
            eprintln!("error: {name}: {error:#}");
        }
        println!("test {name} ... {}", if done.is_ok() { "ok" } else { "FAILED" });
        tally.add(&Tally::check(name, done.is_ok()));
    }
    desk.tab.close()?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(tally)
}

impl Desk {
    /// Light or dark, and the width and height of the window; the page has to fit into the width.
    fn look(&mut self, scheme: &str, (width, height): (u32, u32)) -> Result<()> {
        self.tab.look(scheme, (width, height))?;
        self.tab.expect("innerWidth", &json!(width))?;
        let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.tab.expect(overflow, &json!(0))
    }

    /// Takes a picture of the window, which must be no plain area, and keeps it under this name; whether it is dark.
    fn picture(&mut self, name: &str) -> Result<bool> {
        let path = self.pictures.join(name).with_extension("png");
        let bytes = self.tab.picture()?;
        fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        let Picture { n_colours, brightness } = picture::decode(&bytes)?;
        println!("picture: {} (brightness {brightness:.0})", path.display());
        ensure!(n_colours > 50, "{}: {n_colours} colours only", path.display());
        Ok(brightness < 100.0)
    }
}
