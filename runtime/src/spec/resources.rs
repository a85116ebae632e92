//! `linux.resources` as writes to files of a cgroup v2 directory.
//!
//! Reference: the kernel's cgroup-v2 document; the specification's values are those of v1, so they are
//! converted here. Only the memory, cpu and pids controllers are known.

use oci_spec::runtime as oci;

use super::SpecError;

/// One write to a file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupSetting {
    /// Field of `config.json` that asks for it.
    pub field: String,
    /// Controller that owns the file; `None` for files of the core (`cgroup.*`).
    pub controller: Option<String>,
    /// File name.
    pub file: String,
    /// Text to write.
    pub value: String,
}

/// Reads `linux.resources`.
///
/// # Errors
/// A value that cannot be expressed on cgroup v2.
pub(super) fn read(resources: Option<&oci::LinuxResources>) -> Result<Vec<CgroupSetting>, SpecError> {
    let Some(resources) = resources else { return Ok(Vec::new()) };
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        settings.extend(read_memory(memory)?);
    }
    if let Some(cpu) = resources.cpu() {
        settings.extend(read_cpu(cpu)?);
    }
    if let Some(pids) = resources.pids() {
        settings.push(setting("pids", "limit", "pids.max", or_max(pids.limit())));
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        settings.push(read_unified(file, value)?);
    }
    Ok(settings)
}

fn setting(group: &str, field: &str, file: &str, value: String) -> CgroupSetting {
    CgroupSetting {
        field: format!("linux.resources.{group}.{field}"),
        controller: Some(group.to_owned()),
        file: file.to_owned(),
        value,
    }
}

/// The specification's -1 is the kernel's `max`.
fn or_max(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

fn read_memory(memory: &oci::LinuxMemory) -> Result<Vec<CgroupSetting>, SpecError> {
    let mut settings = Vec::new();
    if let Some(reservation) = memory.reservation() {
        settings.push(setting("memory", "reservation", "memory.low", or_max(reservation)));
    }
    if let Some(swap) = memory.swap() {
        // The specification counts memory and swap together, the kernel counts swap alone.
        let value = match (swap, memory.limit()) {
            (..0, _) => "max".to_owned(),
            (_, Some(limit @ 0..)) if swap >= limit => (swap - limit).to_string(),
            _ => {
                return Err(SpecError::invalid(
                    "linux.resources.memory.swap",
                    format!("{swap} includes memory, so it needs a memory.limit that is not above it"),
                ));
            }
        };
        settings.push(setting("memory", "swap", "memory.swap.max", value));
    }
    if let Some(limit) = memory.limit() {
        settings.push(setting("memory", "limit", "memory.max", or_max(limit)));
    }
    Ok(settings)
}

/// Default of the kernel, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

fn read_cpu(cpu: &oci::LinuxCpu) -> Result<Vec<CgroupSetting>, SpecError> {
    let mut settings = Vec::new();
    match cpu.idle() {
        // The kernel refuses a weight on an idle group, and 0 is what a new group has.
        Some(1) => settings.push(setting("cpu", "idle", "cpu.idle", "1".to_owned())),
        Some(0) | None => {
            if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
                settings.push(setting("cpu", "shares", "cpu.weight", weight(shares).to_string()));
            }
        }
        Some(other) => {
            return Err(SpecError::invalid(
                "linux.resources.cpu.idle",
                format!("{other} is neither 0 nor 1"),
            ));
        }
    }
    if cpu.quota().is_some() || cpu.period().is_some() {
        let quota =
            cpu.quota().filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
        let period = cpu.period().filter(|period| *period != 0).unwrap_or(CPU_PERIOD_US);
        let field = if cpu.quota().is_some() { "quota" } else { "period" };
        settings.push(setting("cpu", field, "cpu.max", format!("{quota} {period}")));
    }
    if let Some(burst) = cpu.burst() {
        settings.push(setting("cpu", "burst", "cpu.max.burst", burst.to_string()));
    }
    Ok(settings)
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

/// `linux.resources.unified`: a file of the cgroup and its text.
fn read_unified(file: &str, value: &str) -> Result<CgroupSetting, SpecError> {
    let field = format!("linux.resources.unified[{file:?}]");
    let Some((controller, _)) = file.split_once('.').filter(|_| !file.contains('/')) else {
        return Err(SpecError::invalid(field, "is not the name of a cgroup file"));
    };
    // These place or end processes and hand out controllers: podrt's own business.
    if matches!(file, "cgroup.procs" | "cgroup.threads" | "cgroup.subtree_control" | "cgroup.kill") {
        return Err(SpecError::invalid(field, "is written by podrt alone"));
    }
    Ok(CgroupSetting {
        field,
        controller: (controller != "cgroup").then(|| controller.to_owned()),
        file: file.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(json: &str) -> Result<Vec<(String, String)>, SpecError> {
        let resources: oci::LinuxResources = serde_json::from_str(json).unwrap();
        Ok(read(Some(&resources))?.into_iter().map(|s| (s.file, s.value)).collect())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_become_those_of_cgroup_v2() {
        let json = r#"{"memory": {"limit": 1000, "swap": 1500, "reservation": 10},
            "cpu": {"quota": 5000, "shares": 1024}, "pids": {"limit": 7}}"#;
        assert_eq!(
            files(json).unwrap(),
            pairs(&[
                ("memory.low", "10"),
                ("memory.swap.max", "500"),
                ("memory.max", "1000"),
                ("cpu.weight", "100"),
                ("cpu.max", "5000 100000"),
                ("pids.max", "7"),
            ])
        );
    }

    #[test]
    fn minus_one_is_max_and_zero_is_a_limit() {
        let json = r#"{"memory": {"limit": -1, "swap": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}}"#;
        assert_eq!(
            files(json).unwrap(),
            pairs(&[
                ("memory.swap.max", "max"),
                ("memory.max", "max"),
                ("cpu.max", "max 100000"),
                ("pids.max", "max"),
            ])
        );
        assert_eq!(files(r#"{"pids": {"limit": 0}}"#).unwrap(), pairs(&[("pids.max", "0")]));
    }

    #[test]
    fn shares_meet_the_weights_at_the_ends_and_the_defaults() {
        for (shares, expected) in [(1, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        assert!((3..262_144).step_by(977).map(weight).is_sorted());
    }

    #[test]
    fn swap_without_its_limit_is_refused() {
        for json in [r#"{"memory": {"swap": 5}}"#, r#"{"memory": {"swap": 5, "limit": 6}}"#] {
            assert!(files(json).unwrap_err().to_string().starts_with("linux.resources.memory.swap: "));
        }
    }

    #[test]
    fn unified_keys_are_names_of_files() {
        assert_eq!(files(r#"{"unified": {"memory.high": "5"}}"#).unwrap(), pairs(&[("memory.high", "5")]));
        for key in ["../memory.max", "memory", "cgroup.procs"] {
            assert!(files(&format!(r#"{{"unified": {{"{key}": "5"}}}}"#)).is_err(), "{key}");
        }
    }
}
