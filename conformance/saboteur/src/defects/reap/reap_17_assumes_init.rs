//! The sandbox program does not become a subreaper where it is not PID 1.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-17-assumes-init",
    target: "REAP-17",
    does: "pause does not become a subreaper where it is not PID 1",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "assumes-init")
}
