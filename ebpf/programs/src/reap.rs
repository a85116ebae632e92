//! `release_task`, where fentry is allowed: the exact moment of a reap, and who did it.

use aya_ebpf::macros::fentry;
use aya_ebpf::programs::FEntryContext;
use podproof_abi::{Release, kind};

use crate::emit::emit;
use crate::kernel::{level, numbers, task_id};
use crate::scope::{self, Scopes, lose};

/// `release_task(p)`: `current` is the reaper, or `p` itself when nobody waits for it. The end of a plain
/// thread, which nobody reaps, is left out; so is the old leader when a thread executes a program, because it
/// has the thread's number by then.
#[fentry(function = "release_task")]
pub(crate) fn release_task(ctx: FEntryContext) -> u32 {
    let task: usize = ctx.arg(0);
    let id = task_id(task);
    if id.tid != id.tgid {
        return 0;
    }
    let Some(scopes) = Scopes::of(scope::of_tgid(id.tgid), scope::of_current()) else { return 0 };
    let Some(level) = level(task) else {
        lose(scopes.scope);
        return 0;
    };
    emit::<Release>(scopes, kind::RELEASE, |record| {
        record.task = id;
        record.level = level;
        numbers(task, (&raw mut record.nr).cast(), None);
    });
    0
}
