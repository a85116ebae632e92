//! Where a value is written: a walk along its path in the text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::{Path, Segment};

use super::error::visible;

/// Line and column, from 1.
pub(super) type Place = (u64, u64);

/// The path at which a parser stopped.
pub(super) fn reached(path: &Path) -> String {
    // Between two fields the parser knows no name, and at the root no path.
    if path.iter().all(|segment| matches!(segment, Segment::Unknown)) {
        return "manifest".to_owned();
    }
    let path = path.to_string();
    visible(path.strip_suffix(".?").unwrap_or(&path))
}

/// How a parser tells where it is.
pub(super) trait Target {
    /// Takes the value whose place is asked for. An error may tell the place as well.
    fn arrive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Place>, D::Error>;
}

/// Goes to the value at a path.
pub(super) struct Locate<'a, T> {
    path: &'a [Segment],
    target: PhantomData<T>,
}

impl<'a, T> Locate<'a, T> {
    pub(super) fn new(path: &'a [Segment]) -> Self {
        Self { path, target: PhantomData }
    }
}

impl<'de, T: Target> DeserializeSeed<'de> for Locate<'_, T> {
    type Value = Option<Place>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.path.is_empty() { T::arrive(deserializer) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de, T: Target> Visitor<'de> for Locate<'_, T> {
    type Value = Option<Place>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut place = None;
        while let Some(key) = map.next_key::<String>()? {
            match self.path {
                [Segment::Map { key: wanted }, rest @ ..] if *wanted == key => {
                    place = map.next_value_seed(Self::new(rest))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(place)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut place = None;
        for index in 0.. {
            let is_more = match self.path {
                [Segment::Seq { index: wanted }, rest @ ..] if *wanted == index => {
                    list.next_element_seed(Self::new(rest))?.map(|found| place = found).is_some()
                }
                _ => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_more {
                break;
            }
        }
        Ok(place)
    }
}
