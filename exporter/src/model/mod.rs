//! What is known of every container: its cgroups, old and new, folded into one series.
//!
//! ```text
//! cgroup born      member of its owner's series, also when it is gone before anybody looks
//! cgroup removed   still a member, as its zombies may be reaped later, for the time of retention
//! names come late  it moves from the series of its ids to that of its names, with all that it counted
//! retention over   its counts move into the series' base; without other members the series ends
//! series ends      where a label is dropped, its counts stay in the sum of those that it was shown with
//! ```

mod counts;
mod dropped;
mod first;
mod flags;
mod lost;
mod member;
mod names;
mod owner;
mod series;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use counts::{Place, Sums};
pub use dropped::Dropped;
pub(crate) use first::First;
pub(crate) use flags::FlagSets;
pub(crate) use lost::Lost;
pub(crate) use member::Member;
pub use names::Names;
pub use owner::{Owner, Role};
pub(crate) use series::{Model, Series, Times};
pub(crate) use tally::{Outcome, PathSource, Source, Tally};
