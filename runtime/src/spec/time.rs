//! `linux.timeOffsets` (time_namespaces(7)).

use std::collections::HashMap;

use oci_spec::runtime as oci;

use super::{NamespaceSpec, NsKind, SpecError};

/// How far a clock of the container is ahead of the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: &'static str,
    /// Seconds, negative for a clock that is behind.
    pub secs: i64,
    /// Nanoseconds to add, below 10^9.
    pub nanosecs: u32,
}

/// Reads the offsets, in a fixed order of the clocks.
///
/// # Errors
/// An unknown clock, too many nanoseconds, or no new time namespace.
pub(super) fn read(
    offsets: Option<&HashMap<String, oci::LinuxTimeOffset>>,
    namespaces: &[NamespaceSpec],
) -> Result<Vec<TimeOffset>, SpecError> {
    const CLOCKS: [&str; 2] = ["monotonic", "boottime"];
    let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) else { return Ok(Vec::new()) };
    if !namespaces.iter().any(|ns| ns.kind == NsKind::Time && ns.path.is_none()) {
        return Err(SpecError::invalid(
            "linux.timeOffsets",
            "needs a new time namespace in linux.namespaces; the clocks of one that is joined are fixed",
        ));
    }
    if let Some(clock) = offsets.keys().find(|clock| !CLOCKS.contains(&clock.as_str())) {
        return Err(SpecError::invalid(
            format!("linux.timeOffsets.{clock}"),
            "is not a clock with an offset; those are monotonic and boottime",
        ));
    }
    let mut list = Vec::new();
    for clock in CLOCKS {
        let Some(offset) = offsets.get(clock) else { continue };
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if nanosecs >= 1_000_000_000 {
            return Err(SpecError::invalid(
                format!("linux.timeOffsets.{clock}.nanosecs"),
                format!("{nanosecs} is above 999999999"),
            ));
        }
        list.push(TimeOffset { clock, secs, nanosecs });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn offsets(value: Value, path: Option<&str>) -> Result<Vec<TimeOffset>, SpecError> {
        let ns = NamespaceSpec { index: 0, kind: NsKind::Time, path: path.map(Into::into) };
        read(Some(&serde_json::from_value(value).unwrap()), &[ns])
    }

    #[test]
    fn offsets_are_for_the_two_clocks_of_a_new_namespace() {
        let list = offsets(json!({"boottime": {"secs": 5}, "monotonic": {"secs": -7, "nanosecs": 3}}), None);
        let expected = [
            TimeOffset { clock: "monotonic", secs: -7, nanosecs: 3 },
            TimeOffset { clock: "boottime", secs: 5, nanosecs: 0 },
        ];
        assert_eq!(list.unwrap(), expected);
    }

    #[test]
    fn what_the_kernel_would_not_take_is_named() {
        for (value, path, message) in [
            (json!({"realtime": {"secs": 1}}), None, "linux.timeOffsets.realtime: is not a clock"),
            (
                json!({"boottime": {"nanosecs": 1_000_000_000}}),
                None,
                "linux.timeOffsets.boottime.nanosecs: 1000000000",
            ),
            (json!({"boottime": {"secs": 1}}), Some("/ns"), "linux.timeOffsets: needs a new time namespace"),
        ] {
            let text = offsets(value, path).unwrap_err().to_string();
            assert!(text.starts_with(message), "{text}");
        }
    }
}
