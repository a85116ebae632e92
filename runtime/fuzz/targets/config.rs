//! Any text as `config.json`: it is refused with a reason, or becomes a plan whose every step can be told.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use runtime::plan::{KernelFeatures, plan};
use runtime::spec::{CapSet, ContainerId, config};

fuzz_target!(|text: &str| {
    let kernel = KernelFeatures {
        has_cgroup2: true,
        controllers: ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"].map(str::to_owned).to_vec(),
        last_capability: 40,
        grantable_capabilities: CapSet((1 << 41) - 1),
        has_apparmor: true,
    };
    let Ok(id) = "fuzz".parse::<ContainerId>() else { return };
    let spec = match config::parse(text, Path::new("/bundle")) {
        Ok(spec) => spec,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal without a reason");
            return;
        }
    };
    let is_absolute = spec.mounts.iter().all(|mount| mount.destination.is_absolute());
    assert!(is_absolute, "a mount whose target depends on the working directory");
    match plan(&id, &spec, None, &kernel) {
        Ok(plan) => {
            let cgroup = plan.cgroup.directory();
            assert!(cgroup.starts_with("/sys/fs/cgroup"), "a cgroup outside of the hierarchy");
            assert!(
                plan.steps.iter().all(|step| !step.action.to_string().is_empty()),
                "a step without words"
            );
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal without a reason"),
    }
});
