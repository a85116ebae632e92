//! The sandbox program takes SIGHUP for a request to stop.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-03-ends-on-hup",
    target: "SIG-03",
    does: "pause takes SIGHUP for a request to stop",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "ends-on-hup")
}
