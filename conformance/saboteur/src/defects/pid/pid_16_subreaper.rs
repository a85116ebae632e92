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
    also_red: &[
        ("REAP-01", "the program adopts the orphans and does not reap them"),
        ("REAP-02", "the program adopts the orphans and does not reap them"),
        ("REAP-03", "the program adopts the orphans and does not reap them"),
        ("REAP-04", "the program adopts the orphans and does not reap them"),
        ("REAP-05", "the program adopts the orphans and does not reap them"),
        ("REAP-06", "the program adopts the orphans and does not reap them"),
        ("REAP-12", "the program adopts the orphans and does not reap them"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") {
        bundle::wrap(call, "subreaper")?;
    }
    base.pass(call)
}
