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
        ("PID-01", "the program is not PID 1"),
        ("PID-02", "the reported pid is the init program's"),
        ("PID-03", "/proc lists the init program too"),
        ("PID-09", "the processes that it started are killed by the init program's end"),
        ("REAP-15", "the main process is the init program, whose leader does not end"),
        ("SEC-01", "the program is executed by another process than the main one"),
        ("SEC-09", "the program is executed by another process than the main one"),
        ("SIG-14", "the init program does not pass every signal on"),
        ("SIG-09", "the init program has a handler, and passes SIGTERM on"),
        ("SIG-20", "the wait status is that of the init program"),
        ("SIG-22", "the main process is the init program"),
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
