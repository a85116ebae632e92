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
        ("NS-01", "the program is executed from another path"),
        ("NS-02", "the program is executed from another path"),
        ("NS-03", "the program is executed from another path"),
        ("NS-05", "the program is executed from another path"),
        ("NS-08", "the program is executed from another path"),
        ("NS-09", "the program is executed from another path"),
        ("NS-10", "the program is executed from another path"),
        ("NS-15", "the program is executed from another path"),
        ("NS-16", "the program is executed from another path"),
        ("NS-20", "shared memory is used by another process than the main one"),
        ("NS-21", "the program is executed from another path"),
        ("NS-22", "the program is executed from another path"),
        ("NS-25", "the program is executed from another path"),
        ("NS-26", "the program is executed from another path"),
        ("NS-27", "the program is executed from another path"),
        ("NS-28", "the program is executed from another path"),
        ("NS-30", "the program is executed from another path"),
        ("NS-31", "the program is executed from another path"),
        ("NS-34", "the program is executed from another path"),
        ("NS-36", "the program is executed from another path"),
        ("NS-39", "the program is executed from another path"),
        ("PID-01", "the program is not PID 1"),
        ("PID-02", "the state names the init, which is PID 1"),
        ("PID-03", "the init is listed too"),
        ("PID-06", "the program is not PID 1, and ends by the signal"),
        ("PID-07", "the init passes the signal on, and the program ends by it"),
        ("PID-08", "the signals come from the init, which passes them on"),
        ("PID-09", "what ends is not PID 1"),
        ("PID-13", "exec starts the init, which starts the program"),
        ("PID-14", "the init is listed too"),
        ("PID-15", "the program is executed from another path"),
        ("PID-25", "the program is not PID 1, and is not let reboot"),
        ("REAP-15", "the main process is the init"),
        ("SIG-09", "the init passes SIGTERM on, and ends with an exit code"),
        ("SIG-14", "the init does not pass every signal on"),
        ("SIG-19", "the program is executed from another path"),
        ("SIG-20", "the signals are sent to the init, which is PID 1"),
        ("SIG-22", "the main process is the init"),
        ("CG-14", "the forks are those of another process than the main one"),
        ("CG-28", "the wait status is that of the init"),
        ("LIFE-34", "the wait status is that of the init"),
        ("NET-02", "the program is executed from another path"),
        ("NET-04", "the program is executed from another path"),
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
