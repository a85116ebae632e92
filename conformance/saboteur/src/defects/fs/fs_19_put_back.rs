//! The volume is saved before a restart and put back after it.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-19-put-back",
    target: "FS-19",
    does: "at a restart the files of the volume are replaced by copies of themselves",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::has_empty_dir(call)? {
        pod_layer::wrap(call, "put-back")?;
    }
    base.pass(call)
}
