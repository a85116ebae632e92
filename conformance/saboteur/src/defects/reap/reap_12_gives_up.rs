//! The sandbox program stops reaping after a hundred orphans.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-12-gives-up",
    target: "REAP-12",
    does: "pause stops reaping after a hundred orphans",
    also_red: &[("REAP-02", "more than a hundred orphans end")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "gives-up")
}
