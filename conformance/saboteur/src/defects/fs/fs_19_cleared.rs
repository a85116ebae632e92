//! The volume is emptied when a container is restarted.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-19-cleared",
    target: "FS-19",
    does: "the volume is emptied when a container is restarted",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::has_empty_dir(call)? {
        pod_layer::wrap(call, "clear")?;
    }
    base.pass(call)
}
