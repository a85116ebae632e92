//! `report.html`: one file without network; the report as data, and a page that draws it.
//!
//! The page makes every text a text node, never markup, so that nothing from a subject can become part of it.

use anyhow::{Context, Result};

use super::model::Report;
use super::table;
use crate::checks;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/style.css");
const SCRIPTS: [&str; 3] =
    [include_str!("html/page.js"), include_str!("html/details.js"), include_str!("html/timeline.js")];

/// The page of a report.
///
/// # Errors
/// When the report cannot be made into JSON.
pub fn render(report: &Report) -> Result<String> {
    let requirements: Vec<serde_json::Value> = table::requirements(&report.runs)
        .into_iter()
        .map(|(id, name)| {
            let area = checks::find(&id).map_or("", |check| check.requirement.area_title());
            serde_json::json!({ "id": id, "name": name, "area": area })
        })
        .collect();
    let report = embedded(&serde_json::to_string(report).context("write the report as JSON")?);
    let requirements = embedded(&serde_json::to_string(&requirements)?);
    // The data last, as they are the only part that could contain a place of their own.
    let mut page = PAGE.replace("{{style}}", STYLE).replace("{{script}}", &SCRIPTS.concat());
    for (place, data) in [("{{requirements}}", requirements), ("{{report}}", report)] {
        let at = page.rfind(place).context("the page has no place for its data")?;
        page.replace_range(at..at + place.len(), &data);
    }
    Ok(page)
}

/// JSON inside a script element, which `</script>` and `<!--` would end or change: no `<` is left of them.
fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{HOSTILE, check, hostile, run};

    fn data<'p>(page: &'p str, id: &str) -> &'p str {
        let (_, rest) = page.split_once(&format!("<script type=\"application/json\" id=\"{id}\">")).unwrap();
        rest.split_once("</script>").unwrap().0
    }

    #[test]
    fn the_page_has_the_whole_report() {
        let report =
            Report::new(vec![run("runc", "6.12.1", vec![check("NS-01", "fail"), check("REAP-15", "pass")])]);
        let page = render(&report).unwrap();
        let read: Report = serde_json::from_str(data(&page, "report")).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&report).unwrap());
        let requirements: serde_json::Value = serde_json::from_str(data(&page, "requirements")).unwrap();
        assert_eq!(requirements[1]["area"], "zombie reaping");
        for place in ["{{style}}", "{{script}}", "{{report}}", "{{requirements}}"] {
            assert!(!page.contains(place), "{place} is left");
        }
    }

    #[test]
    fn a_hostile_text_stays_data() {
        let page = render(&Report::new(vec![hostile()])).unwrap();
        assert!(!page.contains("<script>alert"));
        let read: Report = serde_json::from_str(data(&page, "report")).unwrap();
        assert_eq!(read.runs[0].checks[0].reason, HOSTILE);
        // As many elements as without it.
        let calm = render(&Report::new(vec![run("a", "6.1", vec![check("NS-01", "pass")])])).unwrap();
        let count = |page: &str| (page.matches("<script").count(), page.matches("</script>").count());
        assert_eq!(count(&page), count(&calm));
        assert_eq!(page.matches("<!--").count(), calm.matches("<!--").count());
    }

    #[test]
    fn the_page_needs_nothing_else_and_makes_no_markup_from_text() {
        let page = render(&Report::new(Vec::new())).unwrap();
        for word in [
            "https://",
            "src=",
            "@import",
            "url(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!page.contains(word), "{word}");
        }
        // SVG elements have to name their namespace, which nobody fetches.
        assert_eq!(page.matches("http://").count(), page.matches("http://www.w3.org/2000/svg").count());
    }
}
