//! The sandbox program takes SIGCHLD without SA_NOCLDSTOP.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-10-told-of-stops",
    target: "REAP-10",
    does: "pause takes SIGCHLD without SA_NOCLDSTOP",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "told-of-stops")
}
