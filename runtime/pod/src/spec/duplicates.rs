//! Keys that a JSON object has twice. RFC 8259 leaves open which one counts, so a manifest must have none.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::error::visible;

/// The path of the first key that is written twice. A text that is not JSON has none.
pub(super) fn find(text: &str) -> Option<String> {
    let mut found = None;
    let mut json = serde_json::Deserializer::from_str(text);
    // Where the text is bad, the parser that follows says so.
    drop(Walk { step: Step::Root, found: &mut found }.deserialize(&mut json));
    found
}

/// The way to a value. A path is made of it only when it is needed: long keys would be copied for each of their values.
#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a Step<'a>, &'a str),
    Index(&'a Step<'a>, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(&visible(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", visible(key)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value whose keys are looked at.
struct Walk<'a> {
    step: Step<'a>,
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let step = Step::Key(&self.step, &key);
            if keys.contains(&key) {
                *self.found = Some(step.to_string());
                return Err(A::Error::custom("found"));
            }
            map.next_value_seed(Walk { step, found: self.found })?;
            keys.insert(key);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            let step = Step::Index(&self.step, index);
            if list.next_element_seed(Walk { step, found: self.found })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_written_twice_is_found_at_any_depth() {
        for (text, path) in [
            (r#"{"a": 1, "a": 2}"#, "a"),
            (r#"{"a": [1, {"b": null, "c": {"d": "", "d": 0.5}}]}"#, "a[1].c.d"),
            (r#"{"a": {"b": 1}, "\u0061": 2}"#, "a"),
            ("{\"a\\n\": 1, \"a\\n\": 1}", "a\\n"),
        ] {
            assert_eq!(find(text).as_deref(), Some(path), "{text}");
        }
    }

    #[test]
    fn equal_keys_of_different_objects_and_bad_text_are_none() {
        for text in [r#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}"#, "{", "", r#"{"a": 1,}"#] {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
