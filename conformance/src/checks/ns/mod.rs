//! Namespace sharing and isolation.

mod matrix;
mod membership;
mod node;
mod ns_01;
mod ns_02;
mod ns_05;
mod ns_06;
mod ns_07;
mod ns_10;
mod ns_11;
mod ns_16;
mod ns_20;
mod ns_25;
mod ns_26;
mod ns_27;
mod ns_28;
mod ns_30;
mod ns_31;
mod ns_32;
mod ns_34;
mod ns_36;
mod ns_37;
mod ns_39;
mod ns_40;
mod refused;
mod times;
mod users;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    ns_01::CHECK,
    ns_02::CHECK,
    ns_05::CHECK,
    ns_06::CHECK,
    ns_07::CHECK,
    ns_10::CHECK,
    ns_11::CHECK,
    ns_16::CHECK,
    ns_20::CHECK,
    ns_25::CHECK,
    ns_26::CHECK,
    ns_27::CHECK,
    ns_28::CHECK,
    ns_30::CHECK,
    ns_31::CHECK,
    ns_32::CHECK,
    ns_34::CHECK,
    ns_36::CHECK,
    ns_37::CHECK,
    ns_39::CHECK,
    ns_40::CHECK,
];
