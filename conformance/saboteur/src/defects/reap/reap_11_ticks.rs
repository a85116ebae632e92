//! The sandbox program wakes up every second by a timer.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-11-ticks",
    target: "REAP-11",
    does: "pause wakes up every second by a timer",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "ticks")
}
