//! Changing the limits of a container: all of them, or none.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use super::{LaunchError, lifecycle};
use crate::cgroup::{CgroupPath, group};
use crate::plan::PlanError;
use crate::spec::resources::{self, Present};
use crate::spec::{CgroupSetting, ContainerId};
use crate::state::{StateRoot, Status};

/// Writes what `resources` asks for, an object like `linux.resources`, to the cgroup of a container that lives. Returns
/// remarks.
///
/// # Errors
/// The first value that is wrong, or that the kernel refuses; then every file has its earlier content.
pub fn update(root: &StateRoot, id: &ContainerId, resources: &Value) -> Result<Vec<String>, LaunchError> {
    let _directory = root.lock(id)?;
    let state = root.load(id)?;
    match lifecycle::status(root, id, &state)? {
        Status::Created | Status::Running | Status::Paused => {}
        status => {
            return Err(LaunchError::Status { verb: "update", id: id.to_string(), status, way_out: "" });
        }
    }
    let cgroup = &state.cgroup;
    let spec = resources::read_update(resources, &present(cgroup))?;
    for (field, bytes) in &spec.below_usage {
        let usage = read_number(cgroup, "memory.current").flatten().unwrap_or(0);
        if *bytes <= usage {
            return Err(LaunchError::InUse { field: field.clone(), bytes: *bytes, usage });
        }
    }
    let names = controllers(&spec.settings)?;
    group::enable_controllers(cgroup, &names)?;
    let mut written: Vec<Written> = Vec::new();
    for setting in &spec.settings {
        let Some((file, value)) = group::target(cgroup, setting) else { continue };
        written.push(Written { before: fs::read_to_string(&file).ok(), file, value: value.to_owned() });
        if let Err(source) = group::apply(cgroup, setting) {
            let left: Vec<String> = written.iter().rev().filter_map(Written::put_back).collect();
            let field = setting.field.clone();
            let left =
                if left.is_empty() { String::new() } else { format!("; not put back: {}", left.join(" ")) };
            return Err(LaunchError::Update { field, value: value.to_owned(), left, source });
        }
    }
    Ok(spec.warnings)
}

fn controllers(settings: &[CgroupSetting]) -> Result<Vec<String>, PlanError> {
    let offered = group::root_controllers();
    let mut names: Vec<String> = Vec::new();
    for setting in settings {
        let Some(controller) = &setting.controller else { continue };
        if !offered.contains(controller) {
            return Err(PlanError::MissingController {
                field: setting.field.clone(),
                controller: controller.clone(),
                offered: offered.join(" "),
            });
        }
        if !names.contains(controller) {
            names.push(controller.clone());
        }
    }
    Ok(names)
}

/// Reads what new values depend on. A file that is not there has the value of a new cgroup.
fn present(cgroup: &CgroupPath) -> Present {
    let cpu_max = read(cgroup, "cpu.max").unwrap_or_default();
    let mut cpu_max = cpu_max.split_whitespace().map(|word| word.parse().ok());
    let default = Present::default();
    Present {
        memory_max: read_number(cgroup, "memory.max").flatten(),
        swap_max: read_number(cgroup, "memory.swap.max").flatten(),
        cpu_quota_us: cpu_max.next().flatten(),
        cpu_period_us: cpu_max.next().flatten().unwrap_or(default.cpu_period_us),
        cpu_burst_us: read_number(cgroup, "cpu.max.burst").flatten().unwrap_or(default.cpu_burst_us),
    }
}

fn read(cgroup: &CgroupPath, file: &str) -> Option<String> {
    fs::read_to_string(cgroup.directory().join(file)).ok()
}

/// A number, or the kernel's `max` as `None` inside.
fn read_number(cgroup: &CgroupPath, file: &str) -> Option<Option<u64>> {
    read(cgroup, file).map(|text| text.trim().parse().ok())
}

/// A file that was changed.
struct Written {
    file: PathBuf,
    /// `None` when it cannot be read.
    before: Option<String>,
    /// What was written.
    value: String,
}

impl Written {
    /// Gives the file its earlier content; the name of the file when it has another.
    fn put_back(&self) -> Option<String> {
        let before = self.before.as_deref()?;
        let text = |file| fs::read_to_string(file).ok();
        if text(&self.file).as_deref() != Some(before) {
            for line in restoring(before, &self.value) {
                // Judged by the content below: some lines of a file say what cannot be written.
                drop(write(&self.file, &line));
            }
        }
        (text(&self.file).as_deref() != Some(before)).then(|| self.file.display().to_string())
    }
}

fn write(file: &PathBuf, line: &str) -> io::Result<()> {
    let mut open = fs::OpenOptions::new().write(true).open(file)?;
    io::Write::write_all(&mut open, format!("{line}\n").as_bytes())
}

/// The lines to write for a file to be as before. A device that had no line then has the defaults again.
fn restoring(before: &str, written: &str) -> Vec<String> {
    let device =
        |line: &str| line.split_whitespace().next().filter(|word| word.contains(':')).map(str::to_owned);
    let known: Vec<_> = before.lines().filter_map(device).collect();
    let mut lines: Vec<String> = written
        .lines()
        .filter(|line| device(line).is_some_and(|device| !known.contains(&device)))
        .filter_map(|line| {
            let rest = if line.contains('=') { "rbps=max wbps=max riops=max wiops=max" } else { "default" };
            device(line).map(|device| format!("{device} {rest}"))
        })
        .collect();
    lines.extend(before.lines().map(str::to_owned));
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_without_a_line_get_the_defaults_again() {
        let none = "8:0 rbps=max wbps=max riops=max wiops=max";
        assert_eq!(restoring("", "8:0 rbps=5"), [none]);
        assert_eq!(restoring("8:0 rbps=1 wbps=max\n", "8:0 rbps=5"), ["8:0 rbps=1 wbps=max"]);
        assert_eq!(restoring("default 100\n", "8:16 200"), ["8:16 default", "default 100"]);
        assert_eq!(restoring("max\n", "5"), ["max"]);
        assert_eq!(restoring("", "0-1"), [""]);
    }
}
