//! Pods with a field that a pod layer need not know yet: a requirement about it applies only where it is accepted.

use crate::adapter::oci::Call;
use crate::adapter::podrt::Manifest;
use crate::cell::{Cell, Obstacle, succeeded};

/// Runs a pod that asks for this field. Ends the scenario with a skip where the pod layer names the field as the reason of a
/// refusal.
pub(super) fn run(cell: &mut Cell<'_>, manifest: &Manifest, field: &str) -> Result<(), Obstacle> {
    let call = cell.try_pod("run", manifest)?;
    if !call.ok()
        && let Some(said) = refusal(&call, field)
    {
        return Err(Obstacle::Skip(format!("the pod layer refuses {said}")));
    }
    succeeded(&call)
}

/// What a call that failed said of a field, from its name on: before that are paths of this run.
fn refusal<'c>(call: &'c Call, field: &str) -> Option<&'c str> {
    call.stderr.lines().find_map(|line| Some(line.get(line.find(field)?..)?.trim_end()))
}
