//! Of a user namespace and a namespace of the node the pod gets the latter only.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::{pod_layer, users};

pub(super) const DEFECT: Defect = Defect {
    name: "ns-35-one-dropped",
    target: "NS-35",
    does: "a pod that asks for its own user namespace and for one of the node is accepted, and gets the latter only",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if users::asked(call)? {
        if users::asks_for_the_nodes(call)? {
            pod_layer::drop_field(call, "hostUsers")?;
        } else {
            users::give(call, call.count("users")?)?;
        }
    }
    base.pass(call)
}
