//! What is known of every container: its cgroups, old and new, folded into one series.
//!
//! ```text
//! cgroup born      member of its owner's series
//! cgroup removed   still a member, as its zombies may be reaped later, for the time of retention
//! retention over   its counts move into the series' base; without other members the series ends
//! ```

mod counts;
mod names;
mod owner;
mod series;
#[cfg(test)]
mod tests;

pub(crate) use counts::Sums;
pub use names::Names;
pub use owner::{Owner, Role};
pub(crate) use series::{Model, Series, Times};
