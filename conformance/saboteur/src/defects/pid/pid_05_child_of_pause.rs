//! The program of a container that joins a PID namespace is left to PID 1 as a child.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-05-child-of-pause",
    target: "PID-05",
    does: "the program of a container that joins a PID namespace becomes a child of its PID 1",
    also_red: &[
        ("NS-07", "the program is executed by another process than the main one"),
        ("PID-04", "the wrappers are listed too"),
        ("PID-10", "the main process is the wrapper, which stays"),
        ("REAP-07", "the program's parent is pause, which takes its status"),
        ("REAP-16", "the second sandbox program is a child of the first one, and not the main process"),
        ("REAP-17", "the second sandbox program is a child of the first one, and not the main process"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") {
        bundle::wrap(call, "adopt")?;
    }
    base.pass(call)
}
