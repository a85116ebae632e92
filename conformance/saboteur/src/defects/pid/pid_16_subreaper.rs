//! The main process of a container that joins a PID namespace is made a subreaper.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-16-subreaper",
    target: "PID-16",
    does: "the main process of a container that joins a PID namespace is made a subreaper",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") {
        bundle::wrap(call, "subreaper")?;
    }
    base.pass(call)
}
