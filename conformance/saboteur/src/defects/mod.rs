//! The defects, one file each. Each spoils exactly one thing; everything else is the good runtime's.

mod life_02_not_started;
mod ns_01_own_netns;
mod pid_01_wrapper;
mod reap_15_zombie_leader;
mod sig_01_deaf_pause;

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;

/// One deliberate defect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defect {
    /// Name, and name of the link that chooses it: `ns-01-own-netns`.
    pub(crate) name: &'static str,
    /// The check that must fail because of it.
    pub(crate) target: &'static str,
    /// What it does.
    pub(crate) does: &'static str,
    /// Other checks that turn red, with the reason.
    pub(crate) also_red: &'static [(&'static str, &'static str)],
    /// Plays the runtime for one call; the exit code.
    pub(crate) act: fn(&mut Call, &Base) -> Result<u8>,
}

/// All defects, in the order of the catalog.
pub(crate) const ALL: &[Defect] = &[
    ns_01_own_netns::DEFECT,
    pid_01_wrapper::DEFECT,
    reap_15_zombie_leader::DEFECT,
    sig_01_deaf_pause::DEFECT,
    life_02_not_started::DEFECT,
];
