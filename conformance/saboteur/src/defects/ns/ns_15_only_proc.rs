//! A path that does not lie below /proc is refused.

use anyhow::{Result, ensure};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-15-only-proc",
    target: "NS-15",
    does: "a path that does not lie below /proc is refused",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        let paths = bundle::namespaces(&config).iter().filter_map(|namespace| namespace["path"].as_str());
        for path in paths {
            ensure!(path.starts_with("/proc/"), "{path} is no namespace of a process");
        }
    }
    base.pass(call)
}
