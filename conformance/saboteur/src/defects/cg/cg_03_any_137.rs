//! Any exit code 137 is reported as OOMKilled.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-03-any-137",
    target: "CG-03",
    does: "any exit code 137 is reported as OOMKilled",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match pod_layer::verb(call) {
        Some("inspect") => pod_layer::answer(call, base, |end| {
            if end["exitCode"] == 137 {
                end["reason"] = "OOMKilled".into();
            }
        }),
        _ => base.pass(call),
    }
}
