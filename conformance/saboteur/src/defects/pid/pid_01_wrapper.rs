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
        ("NS-07", "the program, which mounts, is not the main process"),
        ("NS-16", "the program is executed by another process than the main one"),
        ("NS-20", "shared memory is used by another process than the main one"),
        ("PID-02", "the reported pid is the wrapper's"),
        ("PID-03", "/proc lists the wrapper too"),
        ("PID-04", "the wrappers are listed too"),
        ("PID-05", "its parent is the wrapper"),
        ("PID-06", "the program is not PID 1, so its signals reach it"),
        ("PID-07", "the signals go to the wrapper, which is PID 1"),
        ("PID-08", "the signals go to the wrapper, which does not pass them on"),
        ("PID-09", "the processes that it started are killed by the wrapper's end"),
        ("PID-10", "the program is reaped by the wrapper, not by the suite"),
        ("PID-14", "the wrapper is listed too"),
        ("PID-23", "the program is counted as a session, as it is not the main process"),
        ("PID-24", "the program is not PID 1"),
        ("PID-25", "the program is not PID 1, and is not let reboot"),
        ("REAP-07", "the program's parent is the wrapper"),
        ("REAP-15", "the main process is the wrapper, whose leader does not end"),
        ("REAP-17", "the main process is the wrapper"),
        ("SIG-14", "the signals go to the wrapper, which does not pass them on"),
        ("SIG-20", "the signals go to the wrapper, which does not pass them on"),
        ("SIG-22", "the main process is the wrapper"),
        ("CG-14", "the forks are those of another process than the main one"),
        ("CG-28", "the wait status is that of the wrapper"),
        ("LIFE-01", "the program is executed by another process than the main one"),
        ("LIFE-10", "the program is executed by another process than the main one"),
        ("LIFE-34", "the wait status is that of the wrapper"),
        ("NET-02", "the sockets are held by another process than the main one"),
        ("SEC-01", "the program is executed by another process than the main one"),
        ("SEC-09", "the program is executed by another process than the main one"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::wrap(call, "fork")?;
    }
    base.pass(call)
}
