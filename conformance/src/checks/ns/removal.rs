//! The end of containers within a scenario.

use crate::adapter::oci::Call;
use crate::cell::{Cell, Container, Obstacle};

/// Kills a container, waits for its end, lets go of what holds its namespaces, and deletes it. A delete
/// that fails is a result.
pub(super) fn end(cell: &mut Cell<'_>, container: &mut Container) -> Result<Call, Obstacle> {
    cell.kill(&container.id, "KILL")?;
    if cell.wait(container.pid, cell.deadline(5.0))?.is_none() {
        return Err(Obstacle::Runtime(format!("{} did not end on SIGKILL", container.name)));
    }
    // The suite's end of a witness's connection belongs to the witness's network namespace and holds it.
    container.link = None;
    cell.delete(&container.id)
}
