//! What the programs ask of the kernel: only functions on a list of those that change nothing but the programs' own maps.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Completion;

use crate::object::{CALL, Instruction, code, file, instructions};
use crate::{Res, equal, truth};

/// Helpers by their number (`enum bpf_func_id` of `linux/bpf.h`). None writes to the memory of a process, sends a signal, or
/// changes what a function of the kernel returns.
const ALLOWED: [(i32, &str); 16] = [
    (1, "map_lookup_elem"),
    (2, "map_update_elem"),
    (3, "map_delete_elem"),
    (8, "get_smp_processor_id"),
    (14, "get_current_pid_tgid"),
    (16, "get_current_comm"),
    (80, "get_current_cgroup_id"),
    (112, "probe_read_user"),
    (113, "probe_read_kernel"),
    (114, "probe_read_user_str"),
    (115, "probe_read_kernel_str"),
    (125, "ktime_get_boot_ns"),
    (131, "ringbuf_reserve"),
    (132, "ringbuf_submit"),
    (158, "get_current_task_btf"),
    (181, "loop"),
];

/// Kinds of programs whose result the kernel does not look at, unlike that of `fmod_ret` or `lsm`.
const KINDS: [&str; 4] = ["fentry/", "fexit/", "raw_tp/", "tp_btf/"];

/// A call of an address in a register (`BPF_JMP | BPF_CALL | BPF_X`): of whom, nobody can tell.
const CALL_REGISTER: u8 = 0x8d;
/// Source registers of a call: a helper, a function of the object, a function of the kernel.
const HELPER: u8 = 0;
const KERNEL_FUNCTION: u8 = 2;

/// What an instruction calls outside of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Callee {
    Helper(i32),
    KernelFunction(i32),
    Unknown,
}

fn callee(instruction: &Instruction) -> Option<Callee> {
    match (instruction.code, instruction.source) {
        (CALL, HELPER) => Some(Callee::Helper(instruction.imm)),
        (CALL, KERNEL_FUNCTION) => Some(Callee::KernelFunction(instruction.imm)),
        (CALL_REGISTER, _) => Some(Callee::Unknown),
        _ => None,
    }
}

fn is_allowed(callee: Callee) -> bool {
    ALLOWED.iter().any(|(number, _)| callee == Callee::Helper(*number))
}

pub(crate) fn only_observe() -> Res<Completion> {
    let mut called = BTreeSet::new();
    let mut wrong = vec![];
    for (section, instructions) in code(&file()?)? {
        // Functions that several programs call.
        if section != ".text" && !KINDS.iter().any(|kind| section.starts_with(kind)) {
            wrong.push(section.clone());
        }
        for (at, instruction) in instructions {
            let Some(callee) = callee(&instruction) else { continue };
            called.insert(callee);
            if !is_allowed(callee) {
                wrong.push(format!("{section}+{at:#x} calls {callee:?}"));
            }
        }
    }
    equal("programs and calls that may do more than observe", &wrong, &vec![])?;
    let unused: Vec<_> =
        ALLOWED.iter().filter(|(number, _)| !called.contains(&Callee::Helper(*number))).collect();
    equal("helpers that are allowed for nothing", &unused, &vec![])?;
    Ok(Completion::Completed)
}

/// The test above, on instructions made by hand.
pub(crate) fn others_are_found() -> Res<Completion> {
    let instruction = |code: u8, source: u8, imm: i32| {
        let mut raw = [code, source << 4, 0, 0, 0, 0, 0, 0];
        raw[4..].copy_from_slice(&imm.to_le_bytes());
        raw
    };
    const LDDW: u8 = 0x18;
    let (probe_write_user, override_return, send_signal, tail_call) = (36, 58, 109, 12);
    let bytes = [
        instruction(CALL, HELPER, 1),
        instruction(CALL, HELPER, probe_write_user),
        instruction(CALL, HELPER, override_return),
        instruction(CALL, HELPER, send_signal),
        instruction(CALL, HELPER, tail_call),
        instruction(CALL, KERNEL_FUNCTION, 1),
        instruction(CALL_REGISTER, 0, 1),
        // A function of the object.
        instruction(CALL, 1, send_signal),
        // A constant whose second half looks like a call.
        instruction(LDDW, 0, 0),
        instruction(CALL, HELPER, send_signal),
    ];
    let found: Vec<Callee> = instructions(bytes.as_flattened(), &BTreeMap::new())
        .iter()
        .filter_map(|(_, instruction)| callee(instruction))
        .collect();
    let refused = [
        Callee::Helper(probe_write_user),
        Callee::Helper(override_return),
        Callee::Helper(send_signal),
        Callee::Helper(tail_call),
        Callee::KernelFunction(1),
        Callee::Unknown,
    ];
    equal("calls", &found, &[&[Callee::Helper(1)], &refused[..]].concat())?;
    truth("the first is allowed", is_allowed(found[0]))?;
    truth("no other is", !refused.into_iter().any(is_allowed))?;
    Ok(Completion::Completed)
}
