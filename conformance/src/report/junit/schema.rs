//! The rules of junit.xml as the two schemas in use have them: that of Jenkins (`jenkins-junit.xsd` of its xUnit plugin) and that
//! of Ant's reporter, which JUnit 5 writes for. What both allow is valid here.

use roxmltree::{Document, Node};

/// What an attribute must be.
#[derive(Debug, Clone, Copy)]
enum Is {
    Text,
    Count,
    Seconds,
}

/// An element: its attributes, whether each is required, and its children in their order.
struct Element {
    name: &'static str,
    attributes: &'static [(&'static str, Is, bool)],
    children: &'static [&'static str],
    has_text: bool,
}

const RESULT: &[(&str, Is, bool)] = &[("message", Is::Text, false), ("type", Is::Text, true)];

const ELEMENTS: &[Element] = &[
    Element {
        name: "testsuites",
        attributes: &[
            ("name", Is::Text, false),
            ("time", Is::Seconds, false),
            ("tests", Is::Count, false),
            ("failures", Is::Count, false),
            ("disabled", Is::Count, false),
            ("errors", Is::Count, false),
        ],
        children: &["testsuite"],
        has_text: false,
    },
    Element {
        name: "testsuite",
        attributes: &[
            ("name", Is::Text, true),
            ("tests", Is::Count, true),
            ("failures", Is::Count, true),
            ("errors", Is::Count, true),
            ("disabled", Is::Count, false),
            ("skipped", Is::Count, false),
            ("time", Is::Seconds, true),
            ("timestamp", Is::Text, false),
            ("hostname", Is::Text, false),
            ("id", Is::Text, false),
            ("package", Is::Text, false),
        ],
        children: &["properties", "testcase", "system-out", "system-err"],
        has_text: false,
    },
    Element { name: "properties", attributes: &[], children: &["property"], has_text: false },
    Element {
        name: "property",
        attributes: &[("name", Is::Text, true), ("value", Is::Text, true)],
        children: &[],
        has_text: false,
    },
    Element {
        name: "testcase",
        attributes: &[
            ("name", Is::Text, true),
            ("classname", Is::Text, true),
            ("time", Is::Seconds, false),
            ("assertions", Is::Count, false),
            ("status", Is::Text, false),
        ],
        children: &["skipped", "error", "failure", "system-out", "system-err"],
        has_text: false,
    },
    Element { name: "failure", attributes: RESULT, children: &[], has_text: true },
    Element { name: "error", attributes: RESULT, children: &[], has_text: true },
    Element { name: "skipped", attributes: &[("message", Is::Text, false)], children: &[], has_text: true },
    Element { name: "system-out", attributes: &[], children: &[], has_text: true },
    Element { name: "system-err", attributes: &[], children: &[], has_text: true },
];

/// Whether the text is a document by these rules.
///
/// # Errors
/// The first offence.
pub(super) fn validate(text: &str) -> Result<(), String> {
    let document = Document::parse(text).map_err(|error| format!("not well-formed: {error}"))?;
    let root = document.root_element();
    if root.tag_name().name() != "testsuites" {
        return Err(format!("the root is {}", root.tag_name().name()));
    }
    element(root)?;
    let total = |name: &str| {
        let suites = root.children().filter(|node| node.has_tag_name("testsuite"));
        suites.filter_map(|suite| suite.attribute(name)?.parse::<u64>().ok()).sum::<u64>()
    };
    for name in ["tests", "failures", "errors"] {
        if root.attribute(name) != Some(total(name).to_string().as_str()) {
            return Err(format!("{name} of the root is not the sum of its suites"));
        }
    }
    Ok(())
}

fn element(node: Node<'_, '_>) -> Result<(), String> {
    let name = node.tag_name().name();
    let rule = ELEMENTS.iter().find(|rule| rule.name == name).ok_or_else(|| format!("no element {name}"))?;
    for attribute in node.attributes() {
        let known = rule.attributes.iter().find(|(known, ..)| *known == attribute.name());
        // Written by nextest's readers only; Jenkins and Ant read over it.
        let Some((_, is, _)) = known else { return Err(format!("{name} has no {}", attribute.name())) };
        let value = attribute.value();
        let is_valid = match is {
            Is::Text => true,
            Is::Count => value.parse::<u32>().is_ok(),
            Is::Seconds => value.parse::<f64>().is_ok_and(|seconds| seconds >= 0.0),
        };
        if !is_valid {
            return Err(format!("{name} {}={value:?} is no {is:?}", attribute.name()));
        }
    }
    for (wanted, _, _) in rule.attributes.iter().filter(|(_, _, is_required)| *is_required) {
        if !node.has_attribute(*wanted) {
            return Err(format!("{name} has no {wanted}"));
        }
    }
    let mut place = 0;
    for child in node.children() {
        if child.is_text() {
            if !rule.has_text && !child.text().unwrap_or_default().trim().is_empty() {
                return Err(format!("{name} has text"));
            }
            continue;
        }
        let child_name = child.tag_name().name();
        let found = rule.children[place..].iter().position(|known| *known == child_name);
        place += found.ok_or_else(|| format!("{child_name} cannot be here in {name}"))?;
        element(child)?;
    }
    Ok(())
}

#[test]
fn the_rules_refuse_what_is_wrong() {
    let suite = |inner: &str| {
        format!(
            "<testsuites tests=\"1\" failures=\"0\" errors=\"0\"><testsuite name=\"a\" tests=\"1\" failures=\"0\" \
             errors=\"0\" time=\"0.1\">{inner}</testsuite></testsuites>"
        )
    };
    assert_eq!(validate(&suite("<testcase name=\"a\" classname=\"b\"/>")), Ok(()));
    for wrong in [
        "<testcase name=\"a\"/>",
        "<testcase name=\"a\" classname=\"b\"><failure message=\"x\"/></testcase>",
        "<testcase name=\"a\" classname=\"b\" time=\"soon\"/>",
        "<testcase name=\"a\" classname=\"b\"/><properties/>",
        "text",
        "<other/>",
    ] {
        assert!(validate(&suite(wrong)).is_err(), "{wrong}");
    }
    assert!(validate("<testsuites>").is_err());
}
