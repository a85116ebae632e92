//! The program is started a second time when the first answer does not come at once.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "life-02-tried-twice",
    target: "LIFE-02",
    does: "start runs the beginning of the program once, gives up on it, and runs the program again",
    also_red: &[("LIFE-01", "the first program that runs is not that of the pid that state named")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::config(call)?["process"]["args"][1] == "mark" {
        bundle::wrap(call, "twice")?;
    }
    base.pass(call)
}
