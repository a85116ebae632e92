//! A grace period of 0 is taken for none given.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-10-means-default",
    target: "SIG-10",
    does: "a grace period of 0 is taken for none given",
    also_red: &[("FS-19", "stop with no grace waits for the default one")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) == Some("stop") && pod_layer::grace(call) == Some(0) {
        pod_layer::with_grace(call, None);
    }
    base.pass(call)
}
