//! `env`, and what becomes of `$(VAR)` with it.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar};

use super::error::{Offences, is_filled};
use super::expand::{ExpandError, MAX_LEN, expand, expand_all};
use super::names;

/// The most that all expanded texts of a manifest together may have: eight times what a manifest itself may.
const MAX_EXPANDED: usize = 8 * super::MAX_BYTES;

/// How much may be expanded yet, over all containers: a text of a few bytes can stand for many.
pub(super) struct Allowance {
    left: usize,
    is_told: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: MAX_EXPANDED, is_told: false }
    }
}

impl Allowance {
    /// What a text expands to; nothing once too much was asked for.
    fn take(
        &mut self,
        path: &str,
        offences: &mut Offences,
        expansion: impl FnOnce() -> Result<String, ExpandError>,
    ) -> String {
        if self.is_told {
            return String::new();
        }
        let (text, n_bytes) = match expansion() {
            Ok(text) => {
                let n_bytes = text.len();
                (text, n_bytes)
            }
            Err(error) => {
                offences.invalid(path, error.to_string());
                (String::new(), MAX_LEN)
            }
        };
        match self.left.checked_sub(n_bytes) {
            Some(left) => {
                self.left = left;
                text
            }
            None => {
                self.is_told = true;
                let reason =
                    format!("brings what $(VAR) expand to above {MAX_EXPANDED} bytes in this manifest");
                offences.invalid(path, reason);
                String::new()
            }
        }
    }
}

/// The variables of a container, in order.
#[derive(Default)]
pub(super) struct Env {
    list: Vec<(String, String)>,
    /// Place of each name in the list.
    places: HashMap<String, usize>,
}

impl Env {
    /// Reads `env`: each value sees the variables before it, and a name that comes again takes its earlier place.
    pub(super) fn read(
        env: Option<Vec<EnvVar>>,
        env_from: Option<&Vec<EnvFromSource>>,
        at: &str,
        allowance: &mut Allowance,
        offences: &mut Offences,
    ) -> Self {
        let mut all = Self::default();
        if is_filled(env_from) {
            offences.unsupported(
                format!("{at}.envFrom"),
                "there is no API server to read ConfigMaps and Secrets from; write the variables into env",
            );
        }
        for (index, variable) in env.unwrap_or_default().into_iter().enumerate() {
            let EnvVar { name, value, value_from } = variable;
            let path = format!("{at}.env[{index}]");
            if let Some(fault) = names::variable_fault(&name) {
                offences.invalid(format!("{path}.name"), format!("{name:?} {fault}"));
            }
            if value_from.is_some() {
                offences.unsupported(
                    format!("{path}.valueFrom"),
                    "there is no API server to read from; write the value itself into value",
                );
            }
            let value = value.unwrap_or_default();
            let path = format!("{path}.value");
            offences.check_no_nul(|| path.clone(), &value);
            let value = allowance.take(&path, offences, || expand(&value, |name| all.get(name)));
            all.set(name, value);
        }
        all
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).and_then(|place| self.list.get(*place)).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: String, value: String) {
        match self.places.get(&name).and_then(|place| self.list.get_mut(*place)) {
            Some(entry) => entry.1 = value,
            None => {
                self.places.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    /// Expands `command` or `args`; a list that is empty is as none.
    pub(super) fn expand_list(
        &self,
        list: Option<Vec<String>>,
        at: &str,
        allowance: &mut Allowance,
        offences: &mut Offences,
    ) -> Option<Vec<String>> {
        let list = list.filter(|list| !list.is_empty())?;
        let expanded = list.iter().enumerate().map(|(index, text)| {
            let path = format!("{at}[{index}]");
            offences.check_no_nul(|| path.clone(), text);
            allowance.take(&path, offences, || expand(text, |name| self.get(name)))
        });
        Some(expanded.collect())
    }

    /// Expands `subPathExpr`, all of whose variables must be there.
    pub(super) fn expand_path(
        &self,
        text: &str,
        path: &str,
        allowance: &mut Allowance,
        offences: &mut Offences,
    ) -> String {
        allowance.take(path, offences, || expand_all(text, |name| self.get(name)))
    }

    /// The variables.
    pub(super) fn into_list(self) -> Vec<(String, String)> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::samples::{read, refused, with_container};

    fn env(value: Value) -> Vec<(String, String)> {
        read(&with_container("env", value)).unwrap().containers.remove(0).env
    }

    #[test]
    fn a_value_sees_only_the_variables_before_it() {
        let list = env(json!([
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(C)-$$(A)"},
            {"name": "C"},
            {"name": "A", "value": "$(A)2"},
        ]));
        let list: Vec<_> = list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(list, [("A", "12"), ("B", "1-$(C)-$(A)"), ("C", "")]);
    }

    #[test]
    fn commands_and_arguments_see_all_variables() {
        let mut manifest = with_container("env", json!([{"name": "A", "value": "a b"}]));
        let container = &mut manifest["spec"]["containers"][0];
        container["command"] = json!(["echo", "$(A)"]);
        container["args"] = json!(["$$(A)", "$(B)"]);
        let container = read(&manifest).unwrap().containers.remove(0);
        assert_eq!(container.command.unwrap(), ["echo", "a b"]);
        assert_eq!(container.args.unwrap(), ["$(A)", "$(B)"]);
    }

    #[test]
    fn odd_bytes_in_values_stay_and_in_names_are_refused() {
        let odd = "\u{1}\u{7f}é\n\t\\\"'$";
        assert_eq!(env(json!([{"name": "A B-c.d", "value": odd}])), [("A B-c.d".to_owned(), odd.to_owned())]);
        let text = refused(&with_container(
            "env",
            json!([{"name": ""}, {"name": "A=B"}, {"name": "é"}, {"name": "C", "value": "\0"}]),
        ));
        for message in [
            "spec.containers[0].env[0].name: \"\" is not the name of a variable",
            "spec.containers[0].env[1].name: \"A=B\" is not",
            "spec.containers[0].env[2].name: \"é\" is not",
            "spec.containers[0].env[3].value: \"\\0\" contains a NUL",
        ] {
            assert!(text.contains(message), "{text}");
        }
    }

    #[test]
    fn variables_that_double_each_other_are_stopped() {
        let mut list = vec![json!({"name": "V0", "value": "x".repeat(1000)})];
        list.extend(
            (1..64).map(|n| json!({"name": format!("V{n}"), "value": format!("$(V{0})$(V{0})", n - 1)})),
        );
        let text = refused(&with_container("env", json!(list)));
        assert!(text.starts_with("spec.containers[0].env[8].value: is longer than 131071 bytes"), "{text}");
    }

    #[test]
    fn many_references_to_a_long_value_are_stopped() {
        let mut manifest = with_container("env", json!([{"name": "V", "value": "x".repeat(100_000)}]));
        manifest["spec"]["containers"][0]["args"] = json!(vec!["$(V)"; 1000]);
        let text = refused(&manifest);
        assert!(
            text.contains("spec.containers[0].args[82]: brings what $(VAR) expand to above 8388608"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
}
