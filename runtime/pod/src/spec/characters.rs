//! Every character of one byte, and some of more, in every name of a manifest: where the API takes it, and nowhere else.

use serde_json::{Value, json};

use super::samples::{read, with_container, with_spec};

/// A place of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Middle,
    Last,
}

/// A field that is a name.
struct Field {
    path: &'static str,
    manifest: fn(&str) -> Value,
    /// Whether the API takes the character there: the rules of `k8s.io/apimachinery/pkg/util/validation`.
    takes: fn(char, Place) -> bool,
}

/// RFC 1123, in small letters.
fn is_of_label(c: char, place: Place) -> bool {
    matches!(c, 'a'..='z' | '0'..='9') || c == '-' && place == Place::Middle
}

const FIELDS: &[Field] = &[
    Field {
        path: "spec.containers[0].name",
        manifest: |name| with_container("name", json!(name)),
        takes: is_of_label,
    },
    Field { path: "spec.hostname", manifest: |name| with_spec("hostname", json!(name)), takes: is_of_label },
    Field {
        path: "spec.volumes[0].name",
        manifest: |name| with_spec("volumes", json!([{"name": name, "emptyDir": {}}])),
        takes: is_of_label,
    },
    Field {
        path: "spec.containers[0].env[0].name",
        manifest: |name| with_container("env", json!([{"name": name, "value": "1"}])),
        takes: |c, _| matches!(c, ' '..='~') && c != '=',
    },
    Field {
        path: "spec.hostAliases[0].hostnames[0]",
        manifest: |name| with_spec("hostAliases", json!([{"ip": "192.0.2.1", "hostnames": [name]}])),
        takes: |c, place| is_of_label(c, place) || c == '.' && place == Place::Middle,
    },
];

#[test]
fn names_take_the_characters_that_the_api_takes() {
    let characters = ('\0'..='\u{ff}').chain(['\u{130}', '\u{212a}', '\u{ff41}', '\u{1d7d8}']);
    for c in characters {
        let names = [
            (Place::First, format!("{c}bc")),
            (Place::Middle, format!("a{c}c")),
            (Place::Last, format!("ab{c}")),
        ];
        for (place, name) in names {
            for Field { path, manifest, takes } in FIELDS {
                let result = read(&manifest(&name));
                if takes(c, place) {
                    assert!(result.is_ok(), "{path} = {name:?}: {result:?}");
                    continue;
                }
                let text = result.map(drop).unwrap_err().to_string();
                assert!(text.starts_with(&format!("{path}: {name:?} is not ")), "{name:?}: {text}");
                assert!(text.lines().count() == 1 && !text.contains(char::is_control), "{name:?}: {text}");
            }
        }
    }
}
