//! Container ids: safe as a directory name and as a name of a cgroup.

use std::fmt;
use std::str::FromStr;

use super::SpecError;

/// A validated container id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
        let is_name = (1..=255).contains(&text.len()) && text != "." && text != "..";
        if is_name && text.chars().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecError::Id { id: text.to_owned() })
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_ids_are_taken() {
        for id in ["a", "web-1", "A_b+c.d", &"x".repeat(255)] {
            assert_eq!(id.parse::<ContainerId>().unwrap().as_str(), id);
        }
    }

    #[test]
    fn ids_that_would_be_paths_are_refused() {
        for id in ["", ".", "..", "a/b", "/a", "a b", "a\0", "ä", &"x".repeat(256)] {
            assert!(id.parse::<ContainerId>().is_err(), "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_one_name_and_stays_as_it_is(text in any::<String>()) {
            if let Ok(id) = text.parse::<ContainerId>() {
                prop_assert_eq!(id.as_str(), &text);
                let path = std::path::Path::new("/root").join(id.as_str());
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("/root")));
                prop_assert_eq!(path.components().count(), 3);
            }
        }

        #[test]
        fn every_name_of_the_allowed_characters_is_taken(text in "[A-Za-z0-9_+-][A-Za-z0-9_+.-]{0,254}") {
            prop_assert!(text.parse::<ContainerId>().is_ok());
        }
    }
}
