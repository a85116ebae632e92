//! Namespace sharing and isolation.

mod cgroup_roots;
mod id_ranges;
mod matrix;
mod membership;
mod node;
mod ns_01;
mod ns_02;
mod ns_03;
mod ns_05;
mod ns_06;
mod ns_07;
mod ns_08;
mod ns_09;
mod ns_10;
mod ns_11;
mod ns_12;
mod ns_13;
mod ns_14;
mod ns_15;
mod ns_16;
mod ns_17;
mod ns_18;
mod ns_19;
mod ns_20;
mod ns_21;
mod ns_22;
mod ns_23;
mod ns_24;
mod ns_25;
mod ns_26;
mod ns_27;
mod ns_28;
mod ns_29;
mod ns_30;
mod ns_31;
mod ns_32;
mod ns_33;
mod ns_34;
mod ns_35;
mod ns_36;
mod ns_37;
mod ns_38;
mod ns_39;
mod ns_40;
mod refused;
mod removal;
mod segments;
mod shared_files;
mod times;
mod types;
mod unsupported;
mod users;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    ns_01::CHECK,
    ns_02::CHECK,
    ns_03::CHECK,
    ns_05::CHECK,
    ns_06::CHECK,
    ns_07::CHECK,
    ns_08::CHECK,
    ns_09::CHECK,
    ns_10::CHECK,
    ns_11::CHECK,
    ns_12::CHECK,
    ns_13::CHECK,
    ns_14::CHECK,
    ns_15::CHECK,
    ns_16::CHECK,
    ns_17::CHECK,
    ns_18::CHECK,
    ns_19::CHECK,
    ns_20::CHECK,
    ns_21::CHECK,
    ns_22::CHECK,
    ns_23::CHECK,
    ns_24::CHECK,
    ns_25::CHECK,
    ns_26::CHECK,
    ns_27::CHECK,
    ns_28::CHECK,
    ns_29::CHECK,
    ns_30::CHECK,
    ns_31::CHECK,
    ns_32::CHECK,
    ns_33::CHECK,
    ns_34::CHECK,
    ns_35::CHECK,
    ns_36::CHECK,
    ns_37::CHECK,
    ns_38::CHECK,
    ns_39::CHECK,
    ns_40::CHECK,
];
