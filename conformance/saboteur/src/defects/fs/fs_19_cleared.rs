//! The volume is emptied when a container is restarted.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-19-cleared",
    target: "FS-19",
    does: "the volume is emptied when a container is restarted",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod::makes(call) && pod::has_empty_dir(call)? {
        pod::wrap(call, "clear")?;
    }
    base.pass(call)
}
