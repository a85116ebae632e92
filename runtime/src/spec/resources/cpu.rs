//! `linux.resources.cpu` (files `cpu.*` and `cpuset.*`). Realtime is refused: v2 has no such limits.

use oci_spec::runtime as oci;

use super::{CgroupSetting, Present, Purpose, path_of, setting};
use crate::spec::SpecError;

/// The kernel's default period, in microseconds.
pub const PERIOD_US: u64 = 100_000;

pub(super) fn read(
    cpu: &oci::LinuxCpu,
    present: &Present,
    purpose: Purpose,
) -> Result<Vec<CgroupSetting>, SpecError> {
    let is_zero_realtime =
        cpu.realtime_runtime().unwrap_or(0) == 0 && cpu.realtime_period().unwrap_or(0) == 0;
    if !is_zero_realtime {
        let field =
            if cpu.realtime_runtime().unwrap_or(0) == 0 { "realtimePeriod" } else { "realtimeRuntime" };
        return Err(SpecError::invalid(
            path_of(&format!("cpu.{field}")),
            "cgroup v2 has no limits for realtime processes; remove it",
        ));
    }
    let mut settings = Vec::new();
    match cpu.idle() {
        None => {}
        Some(idle @ (0 | 1)) => settings.push(setting("cpu", "cpu.idle", "cpu.idle", idle.to_string())),
        Some(other) => {
            return Err(SpecError::invalid(path_of("cpu.idle"), format!("{other} is neither 0 nor 1")));
        }
    }
    // The kernel refuses a weight on an idle group.
    if cpu.idle() != Some(1)
        && let Some(shares) = cpu.shares().filter(|shares| *shares != 0)
    {
        settings.push(setting("cpu", "cpu.shares", "cpu.weight", weight(shares).to_string()));
    }
    let burst = cpu.burst().map(|us| setting("cpu", "cpu.burst", "cpu.max.burst", us.to_string()));
    // At any moment the burst must not be above the quota: a smaller one comes before a smaller quota.
    let is_burst_first = cpu.burst().is_some_and(|burst| burst < present.cpu_burst_us);
    let (before, after) = if is_burst_first { (burst, None) } else { (None, burst) };
    settings.extend(before);
    settings.extend(read_max(cpu, present, purpose));
    settings.extend(after);
    for (field, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            let (field, file) = (format!("cpu.{field}"), format!("cpuset.{field}"));
            settings.push(setting("cpuset", &field, &file, list.clone()));
        }
    }
    Ok(settings)
}

/// Quota and period are one file; what is not asked for stays as it is.
fn read_max(cpu: &oci::LinuxCpu, present: &Present, purpose: Purpose) -> Option<CgroupSetting> {
    let quota = cpu.quota().filter(|quota| *quota != 0 || purpose == Purpose::Create);
    let period = cpu.period().filter(|period| *period != 0 || purpose == Purpose::Create);
    let field = match (quota, period) {
        (None, None) => return None,
        (Some(_), _) => "cpu.quota",
        (None, Some(_)) => "cpu.period",
    };
    let quota = match quota {
        Some(quota) => u64::try_from(quota).ok().filter(|quota| *quota != 0),
        None => present.cpu_quota_us,
    };
    let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
    let period = match period {
        Some(0) => PERIOD_US,
        Some(period) => period,
        None => present.cpu_period_us,
    };
    Some(setting("cpu", field, "cpu.max", format!("{quota} {period}")))
}

/// CPU shares (2 to 262144, default 1024) as a weight (1 to 10000, default 100).
///
/// The curve through (2, 1), (1024, 100) and (262144, 10000) that OCI runtimes have agreed on, so that
/// the two defaults meet: a quadratic in the logarithm.
fn weight(shares: u64) -> u64 {
    let log = match shares {
        ..=2 => return 1,
        262_144.. => return 10_000,
        #[expect(clippy::cast_precision_loss, reason = "below 2^18, which is exact")]
        _ => (shares as f64).log2(),
    };
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

#[cfg(test)]
mod tests {
    use super::super::tests::{files, pairs, updated};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_meet_the_weights_at_the_ends_and_the_defaults() {
        for (shares, expected) in
            [(1, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        assert!((3..262_144).step_by(977).map(weight).is_sorted());
    }

    #[test]
    fn an_idle_group_gets_no_weight() {
        let idle = r#"{"cpu": {"idle": 1, "shares": 512}}"#;
        assert_eq!(files(idle).unwrap(), pairs(&[("cpu.idle", "1")]));
        let busy = r#"{"cpu": {"idle": 0, "shares": 1024}}"#;
        assert_eq!(files(busy).unwrap(), pairs(&[("cpu.idle", "0"), ("cpu.weight", "100")]));
        assert!(files(r#"{"cpu": {"idle": 2}}"#).is_err());
    }

    #[test]
    fn an_update_changes_only_what_it_names_in_an_order_that_the_kernel_takes() {
        let present = Present {
            cpu_quota_us: Some(5000),
            cpu_period_us: 50_000,
            cpu_burst_us: 3000,
            ..Present::default()
        };
        let update = |json: &str| updated(json, &present).unwrap();
        assert_eq!(update(r#"{"cpu": {"quota": 7000}}"#), pairs(&[("cpu.max", "7000 50000")]));
        assert_eq!(update(r#"{"cpu": {"period": 20000}}"#), pairs(&[("cpu.max", "5000 20000")]));
        assert_eq!(update(r#"{"cpu": {"quota": -1}}"#), pairs(&[("cpu.max", "max 50000")]));
        assert_eq!(update(r#"{"cpu": {"quota": 0, "period": 0, "shares": 0}}"#), pairs(&[]));
        let smaller = update(r#"{"cpu": {"quota": 1000, "burst": 500}}"#);
        assert_eq!(smaller, pairs(&[("cpu.max.burst", "500"), ("cpu.max", "1000 50000")]));
        let larger = update(r#"{"cpu": {"quota": 9000, "burst": 9000}}"#);
        assert_eq!(larger, pairs(&[("cpu.max", "9000 50000"), ("cpu.max.burst", "9000")]));
    }

    #[test]
    fn sets_are_written_as_given_and_realtime_is_refused() {
        let json = r#"{"cpu": {"cpus": "0-1,3", "mems": "0"}}"#;
        assert_eq!(files(json).unwrap(), pairs(&[("cpuset.cpus", "0-1,3"), ("cpuset.mems", "0")]));
        assert_eq!(files(r#"{"cpu": {"cpus": "", "realtimeRuntime": 0}}"#).unwrap(), pairs(&[]));
        let error = files(r#"{"cpu": {"realtimePeriod": 5}}"#).unwrap_err().to_string();
        assert!(error.starts_with("linux.resources.cpu.realtimePeriod: "), "{error}");
    }

    proptest! {
        #[test]
        fn more_shares_are_never_less_weight(a in 0_u64..300_000, b in 0_u64..300_000) {
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(weight(less) <= weight(more));
            prop_assert!((1..=10_000).contains(&weight(more)));
        }

        #[test]
        fn any_number_of_shares_is_a_weight(shares in any::<u64>()) {
            prop_assert!((1..=10_000).contains(&weight(shares)));
        }
    }
}
