//! Defects against: the network of a pod.

mod net_02_fresh_netns;
mod net_04_bind_refused;
mod net_04_last_one_alone;
mod net_15_lease_kept;
mod net_15_netns_open;
mod net_15_netns_pinned;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    net_02_fresh_netns::DEFECT,
    net_04_bind_refused::DEFECT,
    net_04_last_one_alone::DEFECT,
    net_15_lease_kept::DEFECT,
    net_15_netns_open::DEFECT,
    net_15_netns_pinned::DEFECT,
];
