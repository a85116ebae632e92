//! The processes that stay with a pod, and the memory that they hold while nothing happens.

use std::time::Duration;

use crate::measure::{Res, memory};
use crate::node::{SANDBOX_PROGRAM, processes, rest};
use crate::record::{Keeper, Record};
use crate::tell;

/// After what time a pod is idle; that of many takes a while to come to rest.
const SETTLED: Duration = Duration::from_secs(5);

/// Each of them by its first argument.
const KEEPERS: [(Keeper, &str); 3] =
    [(Keeper::Supervisor, "podrt-pod"), (Keeper::Pause, SANDBOX_PROGRAM), (Keeper::Conmon, "conmon")];

/// Tells the memory of those of all pods, of which there are so many.
pub(crate) fn tell_idle(n_pods: u32) -> Res<()> {
    rest(SETTLED)?;
    for (keeper, program) in KEEPERS {
        for pid in processes(&[program])? {
            tell(&Record::Memory {
                keeper,
                n_pods,
                resident_bytes: memory(pid, &["Rss"])?,
                proportional_bytes: memory(pid, &["Pss"])?,
                private_bytes: memory(pid, &["Private_Clean", "Private_Dirty"])?,
            })?;
        }
    }
    Ok(())
}
