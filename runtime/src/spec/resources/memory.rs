//! `linux.resources.memory` (files `memory.*`).
//!
//! | field | v2 |
//! |---|---|
//! | `limit` | `memory.max` |
//! | `reservation` | `memory.low` |
//! | `swap` | `memory.swap.max` = swap - limit: the specification counts memory and swap together, v2 counts swap alone |
//! | `checkBeforeUpdate` | an update reads `memory.current` first; a new cgroup uses nothing |
//! | `useHierarchy` | accepted: v2 always does |
//! | `kernel`, `kernelTCP` | ignored with a warning: v2 counts kernel memory within `limit` |
//! | `swappiness`, `disableOOMKiller` | refused: v2 has neither |

use oci_spec::runtime as oci;

use super::{Otherwise, Present, Purpose, ResourceSpec, or_max, path_of, setting};
use crate::spec::SpecError;

pub(super) fn read(
    memory: &oci::LinuxMemory,
    present: &Present,
    purpose: Purpose,
    spec: &mut ResourceSpec,
) -> Result<(), SpecError> {
    refuse(memory, spec)?;
    let limit = purpose.asked(memory.limit());
    let total = purpose.asked(memory.swap());
    if let Some(reservation) = purpose.asked(memory.reservation()) {
        spec.settings.push(setting("memory", "memory.reservation", "memory.low", or_max(reservation)));
    }
    if let Some(value) = swap(limit, total, present, purpose)? {
        let mut setting = setting("memory", "memory.swap", "memory.swap.max", value);
        // A kernel that does not count swap does not limit it either.
        if setting.value == "max" {
            setting.otherwise = Otherwise::Skip;
        }
        spec.settings.push(setting);
    }
    if let Some(limit) = limit {
        spec.settings.push(setting("memory", "memory.limit", "memory.max", or_max(limit)));
    }
    if purpose == Purpose::Update && memory.check_before_update() == Some(true) {
        for (field, bytes) in [("memory.limit", limit), ("memory.swap", total)] {
            if let Some(bytes) = bytes.and_then(|bytes| u64::try_from(bytes).ok()) {
                spec.below_usage.push((path_of(field), bytes));
            }
        }
    }
    Ok(())
}

fn refuse(memory: &oci::LinuxMemory, spec: &mut ResourceSpec) -> Result<(), SpecError> {
    for (field, value) in [("kernel", memory.kernel()), ("kernelTCP", memory.kernel_tcp())] {
        if value.is_some_and(|value| value != 0) {
            spec.warnings.push(format!(
                "linux.resources.memory.{field}: ignored; cgroup v2 counts the kernel's memory within memory.limit"
            ));
        }
    }
    if let Some(value) = memory.swappiness() {
        return Err(SpecError::invalid(
            path_of("memory.swappiness"),
            format!(
                "{value}: cgroup v2 has no swappiness of its own for a group; remove it, or limit memory.swap"
            ),
        ));
    }
    if memory.disable_oom_killer() == Some(true) {
        return Err(SpecError::invalid(
            path_of("memory.disableOOMKiller"),
            "true: cgroup v2 cannot switch the OOM killer off; remove it, or set process.oomScoreAdj to -1000",
        ));
    }
    Ok(())
}

/// The text for `memory.swap.max`, if it changes.
fn swap(
    limit: Option<i64>,
    total: Option<i64>,
    present: &Present,
    purpose: Purpose,
) -> Result<Option<String>, SpecError> {
    let limit_after = limit.map_or(present.memory_max, |limit| u64::try_from(limit).ok());
    let total = match (total, limit) {
        (Some(total), _) => u64::try_from(total).ok(),
        // An update of memory alone leaves the sum as it is, and lifts both limits together.
        (None, Some(..0)) if purpose == Purpose::Update => None,
        (None, Some(_)) if purpose == Purpose::Update => match (present.memory_max, present.swap_max) {
            (Some(memory), Some(swap)) => Some(memory.saturating_add(swap)),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let Some(total) = total else { return Ok(Some("max".to_owned())) };
    match limit_after {
        Some(limit) if total >= limit => Ok(Some((total - limit).to_string())),
        Some(limit) => Err(SpecError::invalid(
            path_of("memory.swap"),
            format!(
                "{total} is the limit of memory and swap together, and memory.limit is {limit}; set memory.swap to that \
                 or more"
            ),
        )),
        None => Err(SpecError::invalid(
            path_of("memory.swap"),
            format!("{total} is the limit of memory and swap together, so it needs a memory.limit"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{files, pairs, spec, updated};
    use super::*;

    #[test]
    fn swap_without_its_limit_is_refused() {
        for json in [r#"{"memory": {"swap": 5}}"#, r#"{"memory": {"swap": 5, "limit": 6}}"#] {
            assert!(files(json).unwrap_err().to_string().starts_with("linux.resources.memory.swap: "));
        }
        let none = r#"{"memory": {"swap": 6, "limit": 6}}"#;
        assert_eq!(files(none).unwrap(), pairs(&[("memory.swap.max", "0"), ("memory.max", "6")]));
    }

    #[test]
    fn what_v2_does_not_have_is_refused_and_what_it_does_anyway_is_not() {
        for field in [r#""swappiness": 60"#, r#""disableOOMKiller": true"#] {
            let error = files(&format!(r#"{{"memory": {{{field}}}}}"#)).unwrap_err().to_string();
            assert!(error.starts_with("linux.resources.memory."), "{error}");
        }
        let json =
            r#"{"memory": {"useHierarchy": true, "checkBeforeUpdate": true, "disableOOMKiller": false}}"#;
        assert_eq!(files(json).unwrap(), pairs(&[]));
        let json = r#"{"memory": {"kernel": 5, "kernelTCP": 0}}"#;
        let warnings = spec(json, &Present::default(), Purpose::Create).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("linux.resources.memory.kernel: ignored"));
    }

    #[test]
    fn an_update_of_memory_keeps_the_sum_with_swap() {
        let present = Present { memory_max: Some(100), swap_max: Some(100), ..Present::default() };
        let update = |json| updated(json, &present);
        let both = pairs(&[("memory.swap.max", "50"), ("memory.max", "150")]);
        assert_eq!(update(r#"{"memory": {"limit": 150}}"#).unwrap(), both);
        assert!(update(r#"{"memory": {"limit": 201}}"#).is_err());
        assert_eq!(update(r#"{"memory": {"swap": 250}}"#).unwrap(), pairs(&[("memory.swap.max", "150")]));
        let max = pairs(&[("memory.swap.max", "max"), ("memory.max", "max")]);
        assert_eq!(update(r#"{"memory": {"limit": -1}}"#).unwrap(), max);
        assert_eq!(update(r#"{"memory": {"limit": 0, "swap": 0, "reservation": 0}}"#).unwrap(), pairs(&[]));
        let unlimited = Present { memory_max: Some(100), ..Present::default() };
        let json = r#"{"memory": {"limit": 150}}"#;
        assert_eq!(updated(json, &unlimited).unwrap(), pairs(&[("memory.max", "150")]));
    }

    #[test]
    fn a_check_before_an_update_names_what_must_not_be_in_use() {
        let json = r#"{"memory": {"limit": 7, "swap": 9, "checkBeforeUpdate": true}}"#;
        let spec = spec(json, &Present::default(), Purpose::Update).unwrap();
        let names: Vec<_> = spec.below_usage.iter().map(|(field, bytes)| (field.as_str(), *bytes)).collect();
        assert_eq!(names, [("linux.resources.memory.limit", 7), ("linux.resources.memory.swap", 9)]);
    }

    proptest! {
        #[test]
        fn swap_is_what_is_left_above_the_limit(limit in 1_i64..1 << 50, total in 1_i64..1 << 50) {
            let json = format!(r#"{{"memory": {{"limit": {limit}, "swap": {total}}}}}"#);
            match files(&json) {
                Ok(list) => {
                    let (swap, max) = ((total - limit).to_string(), limit.to_string());
                    prop_assert_eq!(list, pairs(&[("memory.swap.max", &swap), ("memory.max", &max)]));
                }
                Err(_) => prop_assert!(total < limit),
            }
        }
    }
}
