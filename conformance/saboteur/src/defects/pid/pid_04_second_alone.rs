//! Only the first container joins the PID namespace of its pod.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-04-second-alone",
    target: "PID-04",
    does: "only the first container joins the PID namespace; each further one gets a new one",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") && call.count("joined")? > 0 {
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if namespace["type"] == "pid"
                    && let Some(namespace) = namespace.as_object_mut()
                {
                    namespace.remove("path");
                }
            }
        })?;
    }
    base.pass(call)
}
