//! `linux.resources.blockIO` (files `io.*`).
//!
//! Two schedulers share bandwidth by weight, each with its file: BFQ with `io.bfq.weight`, which takes the specification's 10 to
//! 1000 as it is, and the io.cost model with `io.weight`, 1 to 10000. The first that the kernel has is written. Throttles are
//! `io.max`. Weights of leaves belong to a scheduler of v1 and are refused.

use oci_spec::runtime as oci;

use super::{CgroupSetting, Otherwise, path_of, setting};
use crate::spec::SpecError;

pub(super) fn read(io: &oci::LinuxBlockIo) -> Result<Vec<CgroupSetting>, SpecError> {
    let mut settings = Vec::new();
    refuse_leaf("blockIO.leafWeight", io.leaf_weight())?;
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        settings.push(weigh("blockIO.weight", "", weight)?);
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        refuse_leaf(&format!("{field}.leafWeight"), device.leaf_weight())?;
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            let name = number(&field, device.major(), device.minor())?;
            settings.push(weigh(&format!("{field}.weight"), &format!("{name} "), weight)?);
        }
    }
    for (field, key, devices) in [
        ("throttleReadBpsDevice", "rbps", io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "wbps", io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "riops", io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "wiops", io.throttle_write_iops_device()),
    ] {
        for (index, device) in devices.iter().flatten().enumerate() {
            let field = format!("blockIO.{field}[{index}]");
            let name = number(&field, device.major(), device.minor())?;
            // Of v1: a rate of 0 lifts the limit. The kernel's word for it is max.
            let rate = match device.rate() {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            settings.push(setting("io", &field, "io.max", format!("{name} {key}={rate}")));
        }
    }
    Ok(settings)
}

fn refuse_leaf(field: &str, weight: Option<u16>) -> Result<(), SpecError> {
    match weight {
        None | Some(0) => Ok(()),
        Some(weight) => Err(SpecError::invalid(
            path_of(field),
            format!("{weight}: cgroup v2 has no weights for leaves; remove it, or use weight"),
        )),
    }
}

fn number(field: &str, major: i64, minor: i64) -> Result<String, SpecError> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor}")),
        _ => Err(SpecError::invalid(path_of(field), format!("{major}:{minor} is not a device number"))),
    }
}

/// `prefix` is the device with a blank, or empty for all.
fn weigh(field: &str, prefix: &str, weight: u16) -> Result<CgroupSetting, SpecError> {
    if !(10..=1000).contains(&weight) {
        return Err(SpecError::invalid(path_of(field), format!("{weight} is not between 10 and 1000")));
    }
    // Linear from 10..=1000 to 1..=10000.
    let cost = 1 + (u32::from(weight) - 10) * 9999 / 990;
    let mut setting = setting("io", field, "io.bfq.weight", format!("{prefix}{weight}"));
    setting.otherwise = Otherwise::Write { file: "io.weight".to_owned(), value: format!("{prefix}{cost}") };
    Ok(setting)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{files, pairs, spec};
    use super::super::{Present, Purpose};
    use super::*;

    #[test]
    fn weights_have_two_files_and_throttles_one() {
        let json = r#"{"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 4096}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]}}"#;
        let expected = [
            ("io.bfq.weight", "500"),
            ("io.bfq.weight", "8:0 10"),
            ("io.max", "8:0 rbps=4096"),
            ("io.max", "8:16 wiops=max"),
        ];
        assert_eq!(files(json).unwrap(), pairs(&expected));
        let settings = spec(json, &Present::default(), Purpose::Create).unwrap().settings;
        let other = |value: &str| Otherwise::Write { file: "io.weight".into(), value: value.into() };
        assert_eq!(settings[0].otherwise, other("4950"));
        assert_eq!(settings[1].otherwise, other("8:0 1"));
    }

    #[test]
    fn weights_out_of_range_and_of_leaves_are_refused() {
        for (json, field) in [
            (r#"{"weight": 9}"#, "weight"),
            (r#"{"weight": 1001}"#, "weight"),
            (r#"{"leafWeight": 10}"#, "leafWeight"),
            (
                r#"{"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}"#,
                "weightDevice[0].leafWeight",
            ),
            (
                r#"{"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}"#,
                "throttleReadBpsDevice[0]",
            ),
        ] {
            let error = files(&format!(r#"{{"blockIO": {json}}}"#)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.resources.blockIO.{field}: ")), "{error}");
        }
        assert_eq!(files(r#"{"blockIO": {"weight": 0, "leafWeight": 0}}"#).unwrap(), pairs(&[]));
    }
}
