//! A wrapper stays as PID 1 and forks the program.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-01-wrapper",
    target: "PID-01",
    does: "a wrapper stays as PID 1 and forks the program",
    also_red: &[
        ("PID-02", "the reported pid is the wrapper's"),
        ("PID-03", "/proc lists the wrapper too"),
        ("PID-05", "its parent is the wrapper"),
        ("PID-06", "the program is not PID 1, so its signals reach it"),
        ("PID-09", "the processes that it started are killed by the wrapper's end"),
        ("REAP-15", "the main process is the wrapper, whose leader does not end"),
        ("SEC-01", "the program is executed by another process than the main one"),
        ("SEC-09", "the program is executed by another process than the main one"),
        ("SIG-14", "the signals go to the wrapper, which does not pass them on"),
        ("REAP-07", "the program's parent is the wrapper"),
        ("REAP-16", "the main process is the wrapper"),
        ("REAP-17", "the main process is the wrapper"),
        ("SIG-09", "the signals go to the wrapper, which does not pass them on"),
        ("SIG-20", "the signals go to the wrapper, which does not pass them on"),
        ("SIG-22", "the main process is the wrapper"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::wrap(call, "fork")?;
    }
    base.pass(call)
}
