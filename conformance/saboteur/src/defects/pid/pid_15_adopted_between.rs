//! A subreaper stands between PID 1 and the container's program.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-15-adopted-between",
    target: "PID-15",
    does: "a subreaper between PID 1 and the container's program adopts",
    also_red: &[
        ("NS-16", "the program is executed by another process than the main one"),
        ("NS-20", "shared memory is used by another process than the main one"),
        ("PID-01", "the program is not PID 1"),
        ("PID-02", "the state names the wrapper, which is PID 1"),
        ("PID-03", "the wrappers are listed too"),
        ("PID-06", "the program is not PID 1, and ends by the signal"),
        ("PID-07", "the signals are sent to the wrapper, which is PID 1"),
        ("PID-08", "the signals are sent to the wrapper, which is PID 1"),
        ("PID-09", "what ends is not PID 1"),
        ("PID-14", "the wrappers are listed too"),
        ("PID-23", "the program is counted as a session, as it is not the main process"),
        ("PID-24", "the program is not PID 1"),
        ("PID-25", "the program is not PID 1, and is not let reboot"),
        ("REAP-15", "the main process is the wrapper"),
        ("SIG-14", "the signals are sent to the wrapper, which is PID 1"),
        ("SIG-20", "the signals are sent to the wrapper, which is PID 1"),
        ("SIG-22", "the main process is the wrapper"),
        ("CG-14", "the forks are those of another process than the main one"),
        ("CG-28", "the wait status is that of the wrapper"),
        ("LIFE-01", "the program is executed by another process than the main one"),
        ("LIFE-10", "the program is executed by another process than the main one"),
        ("LIFE-34", "the wait status is that of the wrapper"),
        ("NET-02", "the sockets are held by another process than the main one"),
        ("SEC-01", "the main process is the wrapper"),
        ("SEC-09", "the main process is the wrapper"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if !bundle::is_sandbox(&config) && !bundle::joins(&config, "pid") {
            bundle::wrap(call, "adopter")?;
            bundle::wrap(call, "fork")?;
        }
    }
    base.pass(call)
}
