//! The number of the signal alone is reported.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-09-bare-number",
    target: "REAP-09",
    does: "the number of the signal alone is reported",
    also_red: &[
        ("CG-03", "a memory kill is reported as 9 too"),
        ("CG-23", "the container that was killed is found by its exit code"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match pod_layer::verb(call) {
        Some("inspect") => pod_layer::answer(call, base, |end| {
            if end["signal"].is_number() {
                end["exitCode"] = end["signal"].clone();
            }
        }),
        _ => base.pass(call),
    }
}
