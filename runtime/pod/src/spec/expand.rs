//! `$(VAR)` in commands, arguments, environment and `subPathExpr`, as Kubernetes expands it.
//!
//! `$(NAME)` becomes the variable's value, `$$` becomes `$` (so `$$(NAME)` stays as `$(NAME)`), and everything else stays,
//! a reference that is not closed included. A value that was put in is not read again.

/// The longest argument or variable that execve(2) takes, with its NUL (`MAX_ARG_STRLEN`, 32 pages).
pub const MAX_LEN: usize = 128 * 1024 - 1;

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The result would be longer than any program can be given.
    #[error("is longer than {MAX_LEN} bytes once its $(VAR) are expanded, more than execve(2) takes")]
    Length,
    /// A reference to a variable that there is not, where one must be.
    #[error("refers to the variable {name:?}, which env does not set")]
    Unresolved {
        /// Name of the variable.
        name: String,
    },
}

/// Expands a text; a reference that `lookup` does not know stays as it is.
///
/// # Errors
/// [`ExpandError::Length`].
pub fn expand<'v>(text: &str, lookup: impl Fn(&str) -> Option<&'v str>) -> Result<String, ExpandError> {
    walk(text, |name, out| {
        match lookup(name) {
            Some(value) => out.push_str(value),
            None => out.extend(["$(", name, ")"]),
        }
        Ok(())
    })
}

/// Expands a text all of whose references must be known.
///
/// # Errors
/// [`ExpandError::Length`], or the first variable that `lookup` does not know.
pub fn expand_all<'v>(text: &str, lookup: impl Fn(&str) -> Option<&'v str>) -> Result<String, ExpandError> {
    walk(text, |name, out| {
        let value = lookup(name).ok_or_else(|| ExpandError::Unresolved { name: name.to_owned() })?;
        out.push_str(value);
        Ok(())
    })
}

fn walk(
    text: &str,
    mut reference: impl FnMut(&str, &mut String) -> Result<(), ExpandError>,
) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(behind) = behind.strip_prefix('$') {
            out.push('$');
            behind
        } else if let Some((name, behind)) = behind.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            reference(name, &mut out)?;
            behind
        } else {
            out.push('$');
            behind
        };
        // Values that refer to each other double with each step.
        if out.len() > MAX_LEN {
            return Err(ExpandError::Length);
        }
    }
    out.push_str(rest);
    if out.len() > MAX_LEN { Err(ExpandError::Length) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<&'static str> {
        match name {
            "A" => Some("a"),
            "REF" => Some("$(A)"),
            "EMPTY" => Some(""),
            "" => None,
            _ => None,
        }
    }

    #[test]
    fn references_escapes_and_the_rest_as_kubernetes_has_them() {
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "a"),
            ("$(A)$(A)", "aa"),
            ("x-$(A)-y", "x-a-y"),
            ("$(EMPTY)", ""),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$$$$(A)", "$$(A)"),
            ("$$", "$"),
            ("$", "$"),
            ("a$", "a$"),
            ("$A", "$A"),
            ("${A}", "${A}"),
            ("$(A", "$(A"),
            ("$(A$(A)", "$(A$(A)"),
            ("$()", "$()"),
            ("$(REF)", "$(A)"),
            ("$é$(A)", "$éa"),
            ("$(A))", "a)"),
        ] {
            assert_eq!(expand(text, lookup).unwrap(), expanded, "{text}");
        }
    }

    #[test]
    fn where_a_variable_must_be_there_it_is_named() {
        assert_eq!(expand_all("$(A)/$$(B)", lookup).unwrap(), "a/$(B)");
        let error = expand_all("$(A)/$(B)", lookup).unwrap_err().to_string();
        assert_eq!(error, "refers to the variable \"B\", which env does not set");
    }

    #[test]
    fn what_grows_without_end_is_stopped() {
        let long = "x".repeat(MAX_LEN);
        assert_eq!(expand("$(L)", |_| Some(&long)).unwrap().len(), MAX_LEN);
        assert_eq!(expand("$(L)$(L)", |_| Some(&long)), Err(ExpandError::Length));
        assert_eq!(expand("y$(L)", |_| Some(&long)), Err(ExpandError::Length));
    }

    /// A part of a text, and what it becomes.
    fn part() -> impl Strategy<Value = (String, String)> {
        prop_oneof![
            "[^$]{0,8}".prop_map(|text| (text.clone(), text)),
            Just(("$(A)".to_owned(), "a".to_owned())),
            Just(("$(REF)".to_owned(), "$(A)".to_owned())),
            Just(("$$".to_owned(), "$".to_owned())),
            "[B-Z]{1,3}[^)$]{0,3}".prop_filter("known", |name| lookup(name).is_none()).prop_map(|name| {
                let text = format!("$({name})");
                (text.clone(), text)
            }),
        ]
    }

    proptest! {
        #[test]
        fn parts_are_expanded_one_by_one(parts in proptest::collection::vec(part(), 0..12)) {
            let (text, expanded): (Vec<String>, Vec<String>) = parts.into_iter().unzip();
            prop_assert_eq!(expand(&text.concat(), lookup).unwrap(), expanded.concat());
        }

        #[test]
        fn doubling_each_dollar_keeps_any_text(text in any::<String>()) {
            prop_assert_eq!(expand(&text.replace('$', "$$"), lookup).unwrap(), text);
        }

        #[test]
        fn any_text_is_expanded(text in "[$()A-C é]{0,40}") {
            let expanded = expand(&text, lookup).unwrap();
            // What is put in is no longer than the reference to it, but for $(REF).
            prop_assert!(expanded.len() <= text.len());
            prop_assert_eq!(expand(&text, |_| None).unwrap().replace("$", "").len(), text.replace("$", "").len());
        }
    }
}
