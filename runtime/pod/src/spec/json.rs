//! JSON in which no field is written twice.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::duplicates;
use super::error::Offence;
use super::locate::{Locate, Place, Target, reached};

/// Reads an object, the only one of the text.
pub(super) fn read(text: &str) -> Result<Value, Offence> {
    // The API server refuses a field that is written twice; the parser would take the last.
    if let Some(path) = duplicates::find(text) {
        return Err(Offence::Invalid { path, reason: "is written twice; keep one".to_owned() });
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let result = Value::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let value = result
        .map_err(|source| Offence::Syntax { path: reached(&track.path()), reason: source.to_string() })?;
    json.end().map_err(|source| {
        let reason = format!("goes on behind the object, which must be the only one: {source}");
        Offence::Syntax { path: "manifest".to_owned(), reason }
    })?;
    Ok(value)
}

/// Where a value of a text that [`read`] reads is written.
pub(super) fn locate(text: &str, path: &[Segment]) -> Option<Place> {
    let mut json = serde_json::Deserializer::from_str(text);
    let place = Locate::<Stop>::new(path).deserialize(&mut json).err()?;
    Some((u64::try_from(place.line()).ok()?, u64::try_from(place.column()).ok()?))
}

/// The parser tells the place of errors only.
struct Stop;

impl Target for Stop {
    fn arrive<'de, D: Deserializer<'de>>(_: D) -> Result<Option<Place>, D::Error> {
        Err(D::Error::custom("here"))
    }
}
