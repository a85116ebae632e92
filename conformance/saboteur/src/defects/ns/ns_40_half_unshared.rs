//! A container that joins a PID namespace is left with an unshare(CLONE_NEWPID) that no fork has followed.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-40-half-unshared",
    target: "NS-40",
    does: "a joining container is left with an unshare(CLONE_NEWPID) that no fork has followed",
    also_red: &[
        (
            "PID-16",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "PID-17",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        ("PID-21", "the wrapper runs as a user, who may not make a namespace"),
        ("PID-22", "the wrapper runs as a user, who may not make a namespace"),
        (
            "REAP-01",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "REAP-02",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "REAP-03",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "REAP-04",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "REAP-05",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "REAP-06",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        ("REAP-07", "the program's children have other numbers in a PID namespace of their own"),
        (
            "REAP-12",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        ("REAP-13", "the child that is to kill the orphan is in another PID namespace"),
        ("REAP-17", "the witness is PID 1 of another PID namespace, and adopts the orphan"),
        ("SIG-18", "the program's children have other numbers in a PID namespace of their own"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") {
        bundle::wrap(call, "new-pid")?;
    }
    base.pass(call)
}
