//! A wrong offset must not become wrong evidence: where the verifier knows the type that is pointed to, it refuses the
//! program. It cannot tell one number from its neighbour, nor one pointer from another of its type; there the values are
//! compared (test `truth`).

use libtest_mimic::Completion;
use podproof_abi::Offsets;
use podproof_ebpf::{LoadError, TraceOptions, Tracer};

use crate::{Res, is_short, truth};

/// Type, member, and by how many bytes the offset of that member is wrong. A short run takes the first few.
const WRONG: [(&str, &str, u32); 12] = [
    ("task_struct", "nsproxy", 4),
    ("task_struct", "nsproxy", 8),
    ("task_struct", "thread_pid", 8),
    ("css_set", "dfl_cgrp", 8),
    ("task_struct", "start_boottime", 4),
    ("task_struct", "group_leader", 8),
    ("task_struct", "real_parent", 4),
    ("task_struct", "cgroups", 4),
    ("task_struct", "signal", 8),
    ("nsproxy", "net_ns", 4),
    ("cred", "user_ns", 4),
    ("cgroup", "kn", 4),
];
const FEW: usize = 4;

/// Starts a tracer for which a member lies `by` bytes behind its place.
fn start(owner: &str, path: &str, by: u32) -> Res<Result<Tracer, LoadError>> {
    let field = Offsets::FIELDS.iter().position(|field| (field.owner, field.path) == (owner, path));
    let field = field.ok_or_else(|| format!("no program reads {owner}.{path}"))?;
    let options = TraceOptions { syscalls: false, ..TraceOptions::default() };
    Ok(Tracer::start_with_offsets(&options, |offsets| {
        // The fields are in the order of the table's words.
        let words: &mut [u32] = bytemuck::cast_slice_mut(bytemuck::bytes_of_mut(offsets));
        words[field] += by;
    }))
}

pub(crate) fn refused() -> Res<Completion> {
    let wrong = if is_short() { &WRONG[..FEW] } else { &WRONG };
    for (owner, path, by) in wrong.iter().copied() {
        match start(owner, path, by)? {
            Err(LoadError::Required { name, reason, .. }) => {
                let what = format!("{owner}.{path}+{by}: {name} is refused when it is loaded: {reason}");
                truth(&what, !name.is_empty() && reason.starts_with("load: "))?;
            }
            Err(error) => return Err(error.into()),
            Ok(_tracer) => return Err(format!("{owner}.{path}+{by} is accepted").into()),
        }
    }
    if is_short() {
        return Ok(Completion::Completed);
    }
    // Programs that the evidence can do without are left out, each with its reason.
    let tracer = start("cgroup", "root", 4)??;
    for name in ["cgroup_mkdir", "cgroup_rmdir", "cgroup_attach_task"] {
        let probes = tracer.probes();
        let probe = probes.iter().find(|probe| probe.name == name).ok_or("it was not tried")?;
        let reason = probe.reason.as_deref().unwrap_or("no reason");
        truth(&format!("{name} is left out: {reason}"), !probe.attached && reason.starts_with("load: "))?;
    }
    Ok(Completion::Completed)
}
