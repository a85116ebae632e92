//! The checks: for each requirement its data, the scenario that is played, and the two rules of its judge.
//!
//! A file per check. `observe` plays the scenario and collects facts; the rules are pure and see facts only.

mod cg;
mod facts;
mod fs;
mod holders;
mod life;
mod net;
mod ns;
mod pid;
mod pods;
mod reap;
mod robust;
mod sec;
mod sig;

pub(crate) use facts::shm_key;

use crate::catalog::Requirement;
use crate::cell::{Cell, Obstacle};
use crate::evidence::Evidence;
use crate::judge::Rules;

/// The kinds of pods that checks arrange. Checks with one scene can see each other's defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// One container by itself.
    Container,
    /// A sandbox and containers that join its net, ipc and uts namespaces.
    Pod,
    /// The same with one pid namespace.
    SharedPidPod,
    /// Containers with limits.
    Limits,
    /// The steps of a container's life, one call of the runtime after the other.
    Lifecycle,
    /// Pods under their supervisor: starts, restarts, exit codes.
    Restarts,
    /// The end of pods: stop signals, grace, order.
    Stops,
}

/// When a check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before the others: it waits for seconds, in which they run.
    First,
    /// Beside any other.
    Any,
    /// Alone, because it measures time, CPU or memory.
    Alone,
}

/// A check of one requirement.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What is required.
    pub requirement: &'static Requirement,
    /// The kind of pod that it arranges.
    pub scene: Scene,
    /// When it runs, beside which others.
    pub turn: Turn,
    /// Plays the scenario and collects what both witnesses saw.
    pub observe: fn(&mut Cell<'_>) -> Result<Evidence, Obstacle>,
    /// How the evidence is read.
    pub rules: Rules,
}

/// Every area's checks, in the order of the catalog.
const AREAS: &[&[Check]] = &[
    ns::CHECKS,
    pid::CHECKS,
    reap::CHECKS,
    sig::CHECKS,
    cg::CHECKS,
    life::CHECKS,
    net::CHECKS,
    fs::CHECKS,
    sec::CHECKS,
    robust::CHECKS,
];

/// Every check, in the order of the catalog.
pub fn all() -> impl Iterator<Item = &'static Check> {
    AREAS.iter().copied().flatten()
}

impl Check {
    /// Whether the other arranges the same kind of pod, driven by the same.
    #[must_use]
    pub fn shares_scenario(&self, other: &Self) -> bool {
        self.scene == other.scene && other.requirement.has(self.requirement.first_adapter())
    }

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
    all()
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
    all().find(|check| check.requirement.id.eq_ignore_ascii_case(id)).copied()
}
