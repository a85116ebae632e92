//! The kill comes ten seconds late.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-05-late",
    target: "SIG-05",
    does: "the kill comes ten seconds late",
    also_red: &[("SIG-12", "its kill comes late too"), ("SIG-11", "its kill comes late too")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) == Some("stop") {
        let late = pod_layer::grace(call).filter(|grace| *grace > 0).map(|grace| grace + 10);
        if late.is_some() {
            pod_layer::with_grace(call, late);
        }
    }
    base.pass(call)
}
