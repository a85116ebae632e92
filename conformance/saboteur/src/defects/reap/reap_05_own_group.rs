//! The sandbox program reaps children of its own process group only.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-05-own-group",
    target: "REAP-05",
    does: "pause reaps children of its own process group only",
    also_red: &[
        ("REAP-01", "an orphan is in the group of its birth"),
        ("REAP-02", "an orphan is in the group of its birth"),
        ("REAP-03", "an orphan is in the group of its birth"),
        ("REAP-04", "an orphan is in the group of its birth"),
        ("REAP-06", "an orphan is in the group of its birth"),
        ("REAP-07", "the orphan that shows that pause has waited is not reaped"),
        ("REAP-12", "an orphan is in the group of its birth"),
        ("REAP-13", "an orphan is in the group of its birth"),
        ("REAP-17", "an orphan is in the group of its birth"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "own-group")
}
