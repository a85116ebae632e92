//! The checks: for each requirement its data, the scenario that is played, and the two rules of its judge.
//!
//! A file per check. `observe` plays the scenario and collects facts; the rules are pure and see facts only.

mod facts;
mod life;
mod ns;
mod pid;
mod reap;
mod sig;

use crate::catalog::Requirement;
use crate::cell::{Cell, Obstacle};
use crate::evidence::Evidence;
use crate::judge::Rules;

/// A check of one requirement.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What is required.
    pub requirement: &'static Requirement,
    /// Runs alone, because it measures time, CPU or memory.
    pub serial: bool,
    /// Plays the scenario and collects what both witnesses saw.
    pub observe: fn(&mut Cell<'_>) -> Result<Evidence, Obstacle>,
    /// How the evidence is read.
    pub rules: Rules,
}

/// Every check, in the order of the catalog.
pub const ALL: &[Check] = &[
    ns::ns_01::CHECK,
    pid::pid_01::CHECK,
    reap::reap_15::CHECK,
    sig::sig_01::CHECK,
    life::life_02::CHECK,
];

impl Check {
    /// Its name in test lists: `NS-01::containers_share_the_network_namespace`.
    #[must_use]
    pub fn test_name(&self) -> String {
        format!("{}::{}", self.requirement.id, self.requirement.name)
    }
}

/// The checks whose test name contains one of the filters, in any case; all without a filter.
#[must_use]
pub fn matching(filters: &[String]) -> Vec<Check> {
    let wanted: Vec<String> = filters.iter().map(|filter| filter.to_lowercase()).collect();
    ALL.iter()
        .filter(|check| {
            let name = check.test_name().to_lowercase();
            wanted.is_empty() || wanted.iter().any(|filter| name.contains(filter))
        })
        .copied()
        .collect()
}

/// The check of a requirement, by its id in any case.
#[must_use]
pub fn find(id: &str) -> Option<Check> {
    ALL.iter().find(|check| check.requirement.id.eq_ignore_ascii_case(id)).copied()
}
