//! The PID namespace is joined without a fork after it: only the program's children are in it.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-06-no-fork",
    target: "NS-06",
    does: "the PID namespace is joined without a fork after it, so that only the program's children are in it",
    also_red: &[
        ("NS-10", "one of the eight types is not joined"),
        ("NS-40", "the PID namespace of the program's children is not its own"),
        ("PID-04", "the program and its /proc are in the node's PID namespace"),
        ("PID-05", "the program is not in the sandbox's PID namespace"),
        ("PID-16", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("PID-17", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("PID-21", "the wrapper runs as a user, who may not join a PID namespace"),
        ("PID-22", "the wrapper runs as a user, who may not join a PID namespace"),
        ("REAP-01", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-02", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-03", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-04", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-05", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-06", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-07", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-10", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-11", "/proc/1 is the node's init"),
        ("REAP-12", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("REAP-13", "the child that is to kill the orphan is in another PID namespace"),
        ("REAP-17", "the program cannot name its orphans: their numbers belong to another PID namespace"),
        ("SIG-18", "the program cannot name its processes: their numbers belong to another PID namespace"),
    ],
    act,
};

/// What opening the namespaces of a process with more capabilities needs (proc(5), ptrace(2)).
const NEEDED: &str = "CAP_SYS_PTRACE";

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let config = if call.verb() == "create" { bundle::config(call)? } else { Value::Null };
    if let Some(path) = bundle::path_of(&config, "pid")
        && bundle::joins(&config, "network")
    {
        bundle::wrap(call, "join-pid")?;
        bundle::edit(call, |config| {
            // The program starts in the runtime's PID namespace, and so does the /proc that it sees.
            bundle::namespaces_mut(config).retain(|namespace| namespace["type"] != "pid");
            bundle::wrapper_argument(config, path);
            bundle::grant(config, NEEDED);
        })?;
    }
    base.pass(call)
}
