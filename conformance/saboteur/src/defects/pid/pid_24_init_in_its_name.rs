//! A small init with the name and the arguments of the container's program becomes PID 1.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-24-init-in-its-name",
    target: "PID-24",
    does: "a small init with the name and the arguments of the program becomes PID 1 and starts it",
    also_red: &[
        ("NS-08", "the program is executed from another path"),
        ("NS-09", "the program is executed from another path"),
        ("NS-10", "the program is executed from another path"),
        ("NS-15", "the program is executed from another path"),
        ("NS-36", "the program is executed from another path"),
        ("PID-01", "the program is not PID 1"),
        ("PID-02", "the state names the init, which is PID 1"),
        ("PID-03", "the init is listed too"),
        ("PID-06", "the program is not PID 1, and ends by the signal"),
        ("PID-07", "the init passes the signal on, and the program ends by it"),
        ("PID-09", "what ends is not PID 1"),
        ("PID-11", "the program is executed from another path"),
        ("PID-13", "exec starts the init, which starts the program"),
        ("PID-14", "the init is listed too"),
        ("PID-15", "the program is executed from another path"),
        ("PID-25", "the program is not PID 1, and is not let reboot"),
        ("REAP-15", "the main process is the init"),
        ("SEC-09", "the main process is the init"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if !bundle::is_sandbox(&config) && !bundle::joins(&config, "pid") {
            bundle::disguise(call)?;
        }
    }
    base.pass(call)
}
