//! Any bytes as `state.json`: damaged, or read; and whatever number they name, no process of this machine is taken for the
//! container's unless it began at the same time in the same boot.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use runtime::state::State;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut state) = serde_json::from_slice::<State>(bytes) else { return };
    assert!(serde_json::to_vec(&state).is_ok(), "what was read can be written");
    let cgroup = state.cgroup.directory();
    let below = cgroup.strip_prefix("/sys/fs/cgroup").map(Path::components);
    let is_below = below.is_ok_and(|mut parts| {
        parts.clone().next().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
    });
    assert!(is_below, "a cgroup that is no container's: {}", cgroup.display());
    if let Some(process) = &mut state.process {
        // The start of no process.
        process.start_ticks = u64::MAX;
        assert!(!matches!(process.open(), Ok(Some(_))), "a stranger's process");
    }
});
