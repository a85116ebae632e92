//! Stand-ins: podrt with something that it lacks. They are no defects, but the good runtimes for checks of what no runtime at
//! hand has: such a check must pass on its stand-in before a defect that it catches proves anything.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::debug::{self, Pids};
use crate::{kept, pod_layer, users};

/// One stand-in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StandIn {
    /// Name, and name of the link that chooses it.
    pub(crate) name: &'static str,
    /// What it has.
    pub(crate) does: &'static str,
    /// The checks that it is good for.
    pub(crate) serves: &'static [&'static str],
    /// Plays the runtime for one call; the exit code.
    pub(crate) act: fn(&Call, &Base) -> Result<u8>,
}

/// All of them.
pub(crate) const ALL: [StandIn; 3] = [
    StandIn {
        name: "with-kept-namespaces",
        does: "containers are in namespaces that bind mounts keep, and no other process is",
        serves: &["NS-19"],
        act: keep,
    },
    StandIn {
        name: "with-user-namespaces",
        does: "a pod with hostUsers false gets a range of ids of its own, or is refused where it wants a namespace of the node",
        serves: &["NS-33", "NS-35"],
        act: give_users,
    },
    StandIn {
        name: "with-debug-containers",
        does: "a debug container joins the PID namespace of the container that it targets",
        serves: &["NS-38"],
        act: |call, base| debug::pass(call, base, Pids::OfTarget),
    },
];

fn keep(call: &Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        kept::keep_new(call, &["net", "ipc", "uts"])?;
        pod_layer::wrap(call, "join-kept")?;
    }
    kept::pass(call, base)
}

fn give_users(call: &Call, base: &Base) -> Result<u8> {
    if users::asked(call)? {
        if users::asks_for_the_nodes(call)? {
            eprintln!("spec.hostUsers: false is not possible together with a namespace of the node");
            return Ok(1);
        }
        users::give(call, call.count("users")?)?;
    }
    base.pass(call)
}
