//! Every process of the container is sent the stop signal.

use anyhow::Result;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-04-whole-group",
    target: "SIG-04",
    does: "every process of the container is sent the stop signal",
    also_red: &[
        ("SIG-12", "SIGTERM comes before the hook"),
        ("SIG-07", "SIGTERM comes before the configured signal"),
        ("SIG-08", "SIGTERM comes before the configured signals"),
        ("SIG-10", "SIGTERM comes before the kill"),
        ("SIG-11", "SIGTERM comes before the hook"),
        ("SIG-16", "SIGTERM comes to all containers at once"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) == Some("stop") {
        pod_layer::signal(call, base, Signal::SIGTERM, false)?;
        pod_layer::idle(Duration::from_millis(200))?;
    }
    base.pass(call)
}
