//! Reads what [`crate::plan`] wants to know about the running system.

use std::fs;

use nix::errno::Errno;

use crate::cgroup::group;
use crate::plan::KernelFeatures;
use crate::spec::CapSet;
use crate::sys::caps;

/// Reads the features.
///
/// # Errors
/// The errno of capget(2).
pub fn read_features() -> Result<KernelFeatures, Errno> {
    let has_cgroup2 = group::has_cgroup2();
    let last_capability = fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_else(|| {
            (0..64).take_while(|number| caps::is_bounding(*number).is_some()).last().unwrap_or(0)
        });
    let bounding =
        (0..64).filter(|number| caps::is_bounding(*number) == Some(true)).fold(0, |set, n| set | 1_u64 << n);
    Ok(KernelFeatures {
        has_cgroup2,
        controllers: if has_cgroup2 { group::root_controllers() } else { Vec::new() },
        last_capability,
        has_apparmor: fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|text| text.starts_with('Y')),
        grantable_capabilities: CapSet(caps::thread_caps()?.permitted.0 & bounding),
    })
}
