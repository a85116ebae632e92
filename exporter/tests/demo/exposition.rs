//! What the exporter answers while all goes on: every family there is, with the type and the labels of the golden
//! list, and as Prometheus' own tool wants it.

use nix::sched::{CloneFlags, setns};

use crate::process::get;
use crate::promtool::check_metrics;
use crate::support::differences;
use crate::{EXPORTER, Res};

/// Fails unless a scrape has every family, and `promtool check metrics` has nothing to say about it.
pub(crate) fn check() -> Res<()> {
    refused()?;
    let (code, text) = get(EXPORTER, "/metrics")?;
    if code != 200 {
        return Err(format!("/metrics answers {code}: {text}").into());
    }
    let others = differences(&text)?;
    if !others.is_empty() {
        return Err(format!("not as the golden list has it: {others:?}").into());
    }

    let program = std::env::var_os("PODPROOF_PROMTOOL").ok_or("PODPROOF_PROMTOOL is not set")?;
    let output = check_metrics(&program, &text)?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() && said.is_empty() {
        return Ok(());
    }
    Err(format!("promtool: {}\n{}", output.status, String::from_utf8_lossy(&said)).into())
}

/// What is refused has series only once it has happened, as a setns of another type.
fn refused() -> Res<()> {
    let own = std::fs::File::open("/proc/self/ns/uts")?;
    if setns(&own, CloneFlags::CLONE_NEWNET).is_ok() {
        return Err("a UTS namespace was joined as a network namespace".into());
    }
    Ok(())
}
