//! From the thirty-third on, pods get no IPC namespace of their own.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "robust-06-pool-empty",
    target: "ROBUST-06",
    does: "from the thirty-third on, pods get no IPC namespace of their own",
    also_red: &[],
    act,
};

/// How many there are to be given away.
const POOL: usize = 32;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && call.count("pool")? >= POOL {
        bundle::edit(call, |config| {
            bundle::namespaces_mut(config).retain(|namespace| namespace["type"] != "ipc");
        })?;
    }
    base.pass(call)
}
