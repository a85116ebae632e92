//! The table of offsets for the running kernel, and which programs it is good enough for.

use podproof_abi::{MISSING, Offsets, need};

use crate::btf::{Btf, BtfError};

/// Offsets with what is missing.
#[derive(Debug)]
pub(crate) struct KernelLayout {
    pub(crate) offsets: Offsets,
    /// Group of fields ([`need`]) and why one of them could not be found.
    missing: Vec<(u32, BtfError)>,
}

impl KernelLayout {
    /// Looks up every field of [`Offsets::FIELDS`]; a field that is missing concerns only the programs that need it.
    pub(crate) fn read(btf: &Btf<'_>) -> Result<Self, BtfError> {
        let mut words = [MISSING; size_of::<Offsets>() / 4];
        let mut missing = vec![];
        for (word, field) in words.iter_mut().zip(Offsets::FIELDS) {
            match btf.offset(field.owner, field.path, field.size) {
                Ok(offset) => *word = offset,
                Err(error) => missing.push((field.need, error)),
            }
        }
        // The programs read `struct upid` as a whole and step over an array of them.
        for (path, offset, size) in [("nr", 0, 4), ("ns", 8, 8)] {
            if btf.offset("upid", path, size)? != offset || btf.struct_size("upid")? != 16 {
                missing.push((need::TASK, BtfError::NoMember { owner: "upid".into(), path: path.into() }));
            }
        }
        let mut offsets: Offsets = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words));
        offsets.exit_has_group_dead =
            u32::from(btf.tracepoint("sched_process_exit")?.is_some_and(|prototype| prototype.n_args >= 2));
        offsets.signal_is_subreaper_bit = btf.bit("signal_struct", "is_child_subreaper").unwrap_or(MISSING);
        offsets.victim_is_task =
            u32::from(btf.tracepoint("mark_victim")?.is_some_and(|prototype| prototype.first_is_pointer));
        Ok(Self { offsets, missing })
    }

    /// Why a program that needs these groups cannot run here.
    pub(crate) fn refusal(&self, needs: u32) -> Option<&BtfError> {
        self.missing.iter().find(|(group, _)| group & needs != 0).map(|(_, error)| error)
    }
}
