//! `linux.resources` as writes to files of a cgroup v2 directory, and as rules for devices.
//!
//! Reference: the kernel's cgroup-v2 document. The specification's values are those of v1, so they are converted here,
//! one controller per file. What v2 does not have is refused by name; what v2 always does, or counts elsewhere, is
//! accepted ([`memory`]).

pub mod cpu;
pub mod devices;
pub mod hugetlb;
pub mod io;
pub mod memory;
pub mod rdma;

use oci_spec::runtime as oci;
use serde_json::Value;

use super::{SpecError, unsupported};
pub use devices::DeviceRule;

/// One write to a file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupSetting {
    /// Field of `config.json` that asks for it.
    pub field: String,
    /// Controller that owns the file; `None` for files of the core (`cgroup.*`).
    pub controller: Option<String>,
    /// File name.
    pub file: String,
    /// Text to write; each line is a write of its own.
    pub value: String,
    /// What is done when the kernel has no such file.
    pub otherwise: Otherwise,
}

/// What is done in place of a setting whose file does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// It is an error.
    Refuse,
    /// Nothing: without the file it is as asked.
    Skip,
    /// Another file is written.
    Write {
        /// File name.
        file: String,
        /// Text to write.
        value: String,
    },
}

/// `linux.resources`.
#[derive(Debug, Clone, Default)]
pub struct ResourceSpec {
    /// Writes, in order.
    pub settings: Vec<CgroupSetting>,
    /// `linux.resources.devices`, in order.
    pub devices: Vec<DeviceRule>,
    /// Bytes that must not be in use already, by field: `memory.checkBeforeUpdate`.
    pub below_usage: Vec<(String, u64)>,
    /// What is ignored, and why.
    pub warnings: Vec<String>,
}

/// The values that a cgroup has, as far as new ones depend on them. The default is a new cgroup. `None` is the kernel's `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// `memory.max` in bytes.
    pub memory_max: Option<u64>,
    /// `memory.swap.max` in bytes.
    pub swap_max: Option<u64>,
    /// First word of `cpu.max`, in microseconds.
    pub cpu_quota_us: Option<u64>,
    /// Second word of `cpu.max`, in microseconds.
    pub cpu_period_us: u64,
    /// `cpu.max.burst`, in microseconds.
    pub cpu_burst_us: u64,
}

impl Default for Present {
    fn default() -> Self {
        Self {
            memory_max: None,
            swap_max: None,
            cpu_quota_us: None,
            cpu_period_us: cpu::PERIOD_US,
            cpu_burst_us: 0,
        }
    }
}

/// For whom resources are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A new cgroup.
    Create,
    /// One in use: the customary 0 of the fields that are counted in bytes, shares and microseconds asks for no change.
    Update,
}

impl Purpose {
    /// The value that a field asks for.
    fn asked(self, value: Option<i64>) -> Option<i64> {
        value.filter(|value| self == Self::Create || *value != 0)
    }
}

/// Reads `linux.resources` of a configuration.
///
/// # Errors
/// A value that cannot be expressed on cgroup v2.
pub(super) fn read(resources: Option<&oci::LinuxResources>, raw: &Value) -> Result<ResourceSpec, SpecError> {
    match resources {
        None => Ok(ResourceSpec::default()),
        Some(resources) => convert(resources, raw, &Present::default(), Purpose::Create),
    }
}

/// Reads the resources that an update asks for: the object `linux.resources` alone. Its devices are ignored.
///
/// # Errors
/// What is not such an object, or cannot be expressed on cgroup v2.
pub fn read_update(resources: &Value, present: &Present) -> Result<ResourceSpec, SpecError> {
    unsupported::check(&serde_json::json!({"linux": {"resources": resources}}))?;
    let typed: oci::LinuxResources = serde_path_to_error::deserialize(resources).map_err(|error| {
        SpecError::Syntax { path: format!("linux.resources.{}", error.path()), source: error.into_inner() }
    })?;
    convert(&typed, resources, present, Purpose::Update)
}

fn convert(
    resources: &oci::LinuxResources,
    raw: &Value,
    present: &Present,
    purpose: Purpose,
) -> Result<ResourceSpec, SpecError> {
    let mut spec = ResourceSpec::default();
    if let Some(memory) = resources.memory() {
        memory::read(memory, present, purpose, &mut spec)?;
    }
    if let Some(cpu) = resources.cpu() {
        spec.settings.extend(cpu::read(cpu, present, purpose)?);
    }
    // The type has 0 for an absent limit, which would be a limit.
    if let Some(pids) = resources.pids().filter(|_| raw.pointer("/pids/limit").is_some()) {
        spec.settings.push(setting("pids", "pids.limit", "pids.max", or_max(pids.limit())));
    }
    if let Some(block_io) = resources.block_io() {
        spec.settings.extend(io::read(block_io)?);
    }
    spec.settings.extend(hugetlb::read(resources.hugepage_limits().as_deref().unwrap_or_default())?);
    if let Some(rdma) = resources.rdma() {
        spec.settings.extend(rdma::read(rdma)?);
    }
    if purpose == Purpose::Create {
        spec.devices = devices::read(resources.devices().as_deref().unwrap_or_default())?;
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        spec.settings.push(read_unified(file, value)?);
    }
    Ok(spec)
}

fn path_of(field: &str) -> String {
    format!("linux.resources.{field}")
}

fn setting(controller: &str, field: &str, file: &str, value: String) -> CgroupSetting {
    CgroupSetting {
        field: path_of(field),
        controller: Some(controller.to_owned()),
        file: file.to_owned(),
        value,
        otherwise: Otherwise::Refuse,
    }
}

/// The specification's -1 is the kernel's `max`.
fn or_max(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

/// `linux.resources.unified`: a file of the cgroup and its text.
fn read_unified(file: &str, value: &str) -> Result<CgroupSetting, SpecError> {
    let field = format!("linux.resources.unified[{file:?}]");
    let Some((controller, _)) = file.split_once('.').filter(|_| !file.contains('/')) else {
        return Err(SpecError::invalid(field, "is not the name of a cgroup file"));
    };
    // These place, stop or end processes and hand out controllers: podrt's own business.
    if matches!(
        file,
        "cgroup.procs"
            | "cgroup.threads"
            | "cgroup.subtree_control"
            | "cgroup.kill"
            | "cgroup.freeze"
            | "cgroup.type"
    ) {
        return Err(SpecError::invalid(field, "is written by podrt alone"));
    }
    Ok(CgroupSetting {
        field,
        controller: (controller != "cgroup").then(|| controller.to_owned()),
        file: file.to_owned(),
        value: value.to_owned(),
        otherwise: Otherwise::Refuse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn spec(json: &str, present: &Present, purpose: Purpose) -> Result<ResourceSpec, SpecError> {
        let raw: Value = serde_json::from_str(json).unwrap();
        let resources: oci::LinuxResources = serde_json::from_str(json).unwrap();
        convert(&resources, &raw, present, purpose)
    }

    pub(super) fn files(json: &str) -> Result<Vec<(String, String)>, SpecError> {
        let settings = spec(json, &Present::default(), Purpose::Create)?.settings;
        Ok(settings.into_iter().map(|s| (s.file, s.value)).collect())
    }

    /// What an update of a cgroup with these values writes.
    pub(super) fn updated(json: &str, present: &Present) -> Result<Vec<(String, String)>, SpecError> {
        let settings = spec(json, present, Purpose::Update)?.settings;
        Ok(settings.into_iter().map(|s| (s.file, s.value)).collect())
    }

    pub(super) fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
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
        let zero = r#"{"pids": {"limit": 0}}"#;
        assert_eq!(files(zero).unwrap(), pairs(&[("pids.max", "0")]));
        assert_eq!(updated(zero, &Present::default()).unwrap(), pairs(&[("pids.max", "0")]));
        assert_eq!(files(r#"{"pids": {}}"#).unwrap(), pairs(&[]));
    }

    #[test]
    fn unified_keys_are_names_of_files() {
        assert_eq!(files(r#"{"unified": {"memory.high": "5"}}"#).unwrap(), pairs(&[("memory.high", "5")]));
        for key in ["../memory.max", "memory", "cgroup.procs", "cgroup.freeze"] {
            assert!(files(&format!(r#"{{"unified": {{"{key}": "5"}}}}"#)).is_err(), "{key}");
        }
    }

    #[test]
    fn an_update_names_what_it_cannot_read() {
        let read = |json| read_update(&serde_json::from_str(json).unwrap(), &Present::default());
        for (json, message) in [
            (r#"{"memory": {"limit": "1"}}"#, "linux.resources.memory.limit: invalid type"),
            (r#"{"network": {"classID": 1}}"#, "linux.resources.network: not supported"),
        ] {
            let error = read(json).map(|spec| format!("{spec:?}")).unwrap_err();
            // With its cause, as a user sees it.
            let error = format!("{:#}", anyhow::Error::from(error));
            assert!(error.starts_with(message), "{error}");
        }
    }
}
