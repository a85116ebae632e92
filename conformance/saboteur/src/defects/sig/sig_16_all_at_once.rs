//! All containers are sent the stop signal at once.

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-16-all-at-once",
    target: "SIG-16",
    does: "all containers are sent the stop signal at once",
    also_red: &[
        ("SIG-12", "SIGTERM comes before the hook"),
        ("SIG-04", "the stop signal comes twice"),
        ("SIG-05", "the stop signal comes before the grace period begins"),
        ("SIG-06", "the stop signal comes twice"),
        ("SIG-07", "SIGTERM comes before the configured signal"),
        ("SIG-08", "SIGTERM comes before the configured signals"),
        ("SIG-10", "SIGTERM comes before the kill"),
        ("SIG-11", "SIGTERM comes before the hook"),
        ("SIG-15", "the stop signal may come twice"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) == Some("stop") {
        pod_layer::signal(call, base, Signal::SIGTERM, true)?;
    }
    base.pass(call)
}
