//! An init program becomes PID 1 of the container and starts the program.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-06-init-in-front",
    target: "PID-06",
    does: "an init program, which passes signals on, becomes PID 1 and starts the container's program",
    also_red: &[
        ("NS-16", "the program is executed by another process than the main one"),
        ("NS-20", "shared memory is used by another process than the main one"),
        ("PID-01", "the program is not PID 1"),
        ("PID-02", "the reported pid is the init program's"),
        ("PID-03", "/proc lists the init program too"),
        ("PID-07", "the init program passes SIGTERM on, and the program ends by it"),
        ("PID-08", "the signals come from the init program, which passes them on"),
        ("PID-09", "the processes that it started are killed by the init program's end"),
        ("PID-14", "the init program is listed too"),
        ("PID-23", "the program is counted as a session, as it is not the main process"),
        ("PID-24", "the program is not PID 1"),
        ("PID-25", "the program is not PID 1, and is not let reboot"),
        ("REAP-15", "the main process is the init program, whose leader does not end"),
        ("SIG-09", "the init program has a handler, and passes SIGTERM on"),
        ("SIG-14", "the init program does not pass every signal on"),
        ("SIG-20", "the wait status is that of the init program"),
        ("SIG-22", "the main process is the init program"),
        ("CG-14", "the forks are those of another process than the main one"),
        ("CG-28", "the wait status is that of the init program"),
        ("LIFE-01", "the program is executed by another process than the main one"),
        ("LIFE-10", "the program is executed by another process than the main one"),
        ("LIFE-34", "the wait status is that of the init program"),
        ("NET-02", "the sockets are held by another process than the main one"),
        ("SEC-01", "the program is executed by another process than the main one"),
        ("SEC-09", "the program is executed by another process than the main one"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if !bundle::is_sandbox(&config) && !bundle::joins(&config, "pid") {
            bundle::wrap(call, "init")?;
        }
    }
    base.pass(call)
}
