//! The sandbox is killed first.

use anyhow::Context;
use anyhow::Result;
use nix::sys::signal::Signal;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-15-sandbox-first",
    target: "SIG-15",
    does: "the sandbox is killed first",
    also_red: &[
        ("SIG-12", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-04", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-05", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-06", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-07", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-08", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-10", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-11", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-13", "with the sandbox the pod layer ends all containers at once"),
        ("SIG-16", "with the sandbox the pod layer ends all containers at once"),
        ("NET-15", "it stops a pod whose sandbox has ended already"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) == Some("stop") {
        let document = pod_layer::ask(call, base, &["inspect", pod_layer::last(call)?])?;
        let pid = document["sandboxPid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pod_layer::send(pid.context("the sandbox has a process")?, Signal::SIGKILL)?;
    }
    base.pass(call)
}
