//! What was found out about KVM, remembered for as long as it can be true: this boot of the host, these KVM
//! modules, this QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The conditions that a verdict was found under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Conditions {
    boot_id: String,
    modules: Vec<String>,
    qemu: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    conditions: Conditions,
    /// Why KVM is not usable; absent when it is.
    unusable: Option<String>,
}

/// The file with the last verdict, and the conditions of this moment.
#[derive(Debug)]
pub(super) struct VerdictStore {
    path: PathBuf,
    conditions: Conditions,
}

impl VerdictStore {
    pub(super) fn open(qemu: &Path, cache_dir: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let version =
            Command::new(qemu).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        let conditions = Conditions {
            boot_id: text("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            modules: kvm_modules(&text("/proc/modules")),
            qemu: String::from_utf8_lossy(&version).lines().next().unwrap_or_default().to_owned(),
        };
        Self { path: cache_dir.join("kvm-verdict.json"), conditions }
    }

    /// The verdict, if it was found under the same conditions.
    pub(super) fn recall(&self) -> Option<Result<(), String>> {
        let verdict: Verdict = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        (verdict.conditions == self.conditions).then(|| verdict.unusable.map_or(Ok(()), Err))
    }

    /// Writes the verdict. One that cannot be kept is found again the next time.
    pub(super) fn keep(&self, verdict: &Result<(), String>) {
        let verdict = Verdict { conditions: self.conditions.clone(), unusable: verdict.clone().err() };
        if let Ok(text) = serde_json::to_vec(&verdict) {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(dir).and_then(|()| fs::write(&self.path, text)).ok();
        }
    }
}

fn kvm_modules(proc_modules: &str) -> Vec<String> {
    let names = proc_modules.lines().filter_map(|line| line.split(' ').next());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("kvm")).map(str::to_owned).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_holds_for_its_conditions_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = VerdictStore::open(Path::new("/nonexistent"), dir.path());
        assert_eq!(store.recall(), None);
        store.keep(&Err("too slow".into()));
        assert_eq!(store.recall(), Some(Err("too slow".into())));
        store.keep(&Ok(()));
        assert_eq!(store.recall(), Some(Ok(())));
        store.conditions.qemu = "another version".into();
        assert_eq!(store.recall(), None);
        fs::write(&store.path, "torn {").unwrap();
        assert_eq!(store.recall(), None);
    }

    #[test]
    fn only_modules_of_kvm_count() {
        let text = "kvm_intel 425984 0 - Live 0x0\nloop 1 0 - Live 0x0\nkvm 1425408 1 kvm_intel, Live 0x0\n";
        assert_eq!(kvm_modules(text), ["kvm", "kvm_intel"]);
    }
}
