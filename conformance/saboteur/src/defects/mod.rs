//! The defects, one file each. Each spoils exactly one thing; everything else is the good runtime's.

mod cg;
mod fs;
mod life;
mod net;
mod ns;
mod pid;
mod reap;
mod robust;
mod sec;
mod sig;

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

/// Stands for any check in [`Defect::also_red`], where a defect leaves next to nothing that can be looked at.
pub(crate) const ANY: &str = "*";

/// Every area's defects, in the order of the catalog.
const AREAS: &[&[Defect]] = &[
    ns::DEFECTS,
    pid::DEFECTS,
    reap::DEFECTS,
    sig::DEFECTS,
    cg::DEFECTS,
    life::DEFECTS,
    net::DEFECTS,
    fs::DEFECTS,
    sec::DEFECTS,
    robust::DEFECTS,
];

/// All defects, in the order of the catalog.
pub(crate) fn all() -> impl Iterator<Item = &'static Defect> {
    AREAS.iter().copied().flatten()
}
