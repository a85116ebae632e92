//! A program that failed is run once more.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "life-28-one-restart",
    target: "LIFE-28",
    does: "a program that failed is run once more",
    also_red: &[
        ("REAP-08", "the reported end is that of the second run, and the first one's is not a container's"),
        ("REAP-09", "the program that was killed is run again, and the container goes on"),
        ("CG-03", "the program that was killed is run again, and the container goes on"),
        ("CG-23", "the program that was killed is run again"),
        ("SIG-04", "the wrapper takes the signal, and the program gets none"),
        ("SIG-05", "the wrapper takes the signal, and the program gets none"),
        ("SIG-06", "the wrapper takes the signal, and the program gets none"),
        ("SIG-07", "the wrapper takes the signal, and the program gets none"),
        ("SIG-11", "the wrapper takes the signal, and the program gets none"),
        ("SIG-12", "the wrapper takes the signal, and the program gets none"),
        ("SIG-13", "the wrapper takes the signal, and the program gets none"),
        ("SIG-15", "the wrapper takes the signal, and the program gets none"),
        ("SIG-16", "the wrapper takes the signal, and the program gets none"),
        ("PID-01", "the program is not PID 1: a wrapper in front of it starts it again"),
        ("PID-03", "the program is not PID 1: a wrapper in front of it starts it again"),
        ("PID-04", "the program is not PID 1: a wrapper in front of it starts it again"),
        ("PID-05", "the program is not PID 1: a wrapper in front of it starts it again"),
        ("PID-06", "the program is not PID 1: a wrapper in front of it starts it again"),
        ("PID-14", "the program is not PID 1: a wrapper in front of it starts it again"),
        ("PID-18", "the program is not PID 1: a wrapper in front of it starts it again"),
        ("NS-07", "it is the wrapper that has what is looked for"),
        ("NS-20", "it is the wrapper that has what is looked for"),
        ("NET-02", "it is the wrapper that has what is looked for"),
        ("NET-15", "it is the wrapper that has what is looked for"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["restartPolicy"] == "Never" {
        pod_layer::wrap(call, "again")?;
    }
    base.pass(call)
}
