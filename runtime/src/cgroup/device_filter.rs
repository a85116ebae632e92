//! The BPF program that decides about devices in a cgroup (the kernel's cgroup-v2 document, device controller).
//!
//! The kernel runs it when a process of the cgroup opens or makes a device node, with a `struct bpf_cgroup_dev_ctx`:
//! type and access in one word, then major and minor. Result 1 allows. The program belongs to the cgroup and goes away
//! with it. A filter of a cgroup above still applies: both must allow.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use super::{CgroupError, CgroupPath};
use crate::spec::DeviceKind;
use crate::spec::resources::devices::{Access, DeviceRule};
use crate::sys::bpf::{self, Insn};

/// Registers of the program.
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_DEVCG_DEV_*` of `linux/bpf.h`.
fn kernel_type(kind: DeviceKind) -> Option<i32> {
    match kind {
        DeviceKind::Block => Some(1),
        DeviceKind::Char => Some(2),
        DeviceKind::Fifo => None,
    }
}

/// Loads the program for these rules, and attaches it to the cgroup.
///
/// # Errors
/// What bpf(2) gives: `EPERM` without `CAP_SYS_ADMIN`, or when a cgroup above has a program that allows no other below it;
/// `EINVAL` on a kernel without `CONFIG_CGROUP_BPF`.
pub fn attach(path: &CgroupPath, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let directory = path.directory();
    let failed = |op| {
        let directory = directory.clone();
        move |errno: nix::errno::Errno| CgroupError::io(op, directory)(errno.into())
    };
    let cgroup = File::open(&directory).map_err(CgroupError::io("open", &directory))?;
    let instructions = compile(rules);
    let last = LAST.take().filter(|(of, _)| *of == instructions);
    let program = match last {
        Some((_, program)) => program,
        None => bpf::load_cgroup_device(&instructions).map_err(failed("load the device filter (BPF) for"))?,
    };
    bpf::attach_cgroup_device(cgroup.as_fd(), program.as_fd())
        .map_err(failed("attach the device filter (BPF) to"))?;
    LAST.set(Some((instructions, program)));
    Ok(())
}

thread_local! {
    /// What was loaded last: who makes a container often makes the same again, and loading takes the kernel long.
    static LAST: Cell<Option<(Vec<Insn>, OwnedFd)>> = const { Cell::new(None) };
}

/// The program for a list of rules, of which the last that matches decides, for each kind of access. What no rule matches is
/// denied.
///
/// The rules are tried from the last to the first; r3 holds the kinds of access that are asked for and not yet allowed. A rule
/// that denies one of them ends the program, and so does the one that allows the last of them.
#[must_use]
pub fn compile(rules: &[DeviceRule]) -> Vec<Insn> {
    let mut program = vec![
        Insn::load_word(TYPE, 1, 0),
        Insn::move_reg(ACCESS, TYPE),
        Insn::and(TYPE, 0xffff),
        Insn::shift_right(ACCESS, 16),
        Insn::load_word(MAJOR, 1, 4),
        Insn::load_word(MINOR, 1, 8),
        // Nothing is asked but whether the node is there.
        Insn::jump_unless_equal(ACCESS, 0, 2),
        Insn::set(0, 1),
        Insn::exit(),
    ];
    for rule in rules.iter().rev() {
        let tests: Vec<(u8, i32)> = [
            rule.kind.map(|kind| (TYPE, kernel_type(kind))),
            rule.major.map(|major| (MAJOR, Some(major.cast_signed()))),
            rule.minor.map(|minor| (MINOR, Some(minor.cast_signed()))),
        ]
        .into_iter()
        .flatten()
        // A FIFO has no rules.
        .map_while(|(register, value)| value.map(|value| (register, value)))
        .collect();
        let access = i32::from(rule.access.0);
        let end = [Insn::set(0, i32::from(rule.is_allowed)), Insn::exit()];
        let decision: Vec<Insn> = if rule.access == Access::ALL {
            end.to_vec()
        } else if rule.is_allowed {
            [vec![Insn::and(ACCESS, !access), Insn::jump_unless_equal(ACCESS, 0, 2)], end.to_vec()].concat()
        } else {
            [vec![Insn::jump_if_set(ACCESS, access, 1), Insn::jump(2)], end.to_vec()].concat()
        };
        for (index, (register, value)) in tests.iter().enumerate() {
            // Over the tests that follow, and the decision: a handful of instructions.
            let skipped = tests.len() - index - 1 + decision.len();
            program.push(Insn::jump_unless_equal(
                *register,
                *value,
                i16::try_from(skipped).unwrap_or(i16::MAX),
            ));
        }
        program.extend(decision);
        // The kernel refuses a program with instructions that are never reached.
        if tests.is_empty() && rule.access == Access::ALL {
            return program;
        }
    }
    program.extend([Insn::set(0, 0), Insn::exit()]);
    program
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::resources::devices::complete;

    /// What a rule list says, read as the specification has it: in order, and the last word on each access counts.
    fn interpret(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
        [Access::MKNOD, Access::READ, Access::WRITE].into_iter().filter(|bit| access & bit.0 != 0).all(
            |bit| {
                let mut is_allowed = false;
                for rule in rules {
                    let is_match = rule.access.0 & bit.0 != 0
                        && rule.kind.is_none_or(|of_rule| of_rule == kind)
                        && rule.major.is_none_or(|of_rule| of_rule == major)
                        && rule.minor.is_none_or(|of_rule| of_rule == minor);
                    if is_match {
                        is_allowed = rule.is_allowed;
                    }
                }
                is_allowed
            },
        )
    }

    /// Runs the program in user space.
    fn run(program: &[Insn], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
        let code: Vec<u8> = program.iter().flat_map(|insn| insn.to_bytes()).collect();
        let machine = rbpf::EbpfVmRaw::new(Some(&code)).unwrap();
        let first = u32::from(access) << 16 | kernel_type(kind).unwrap().cast_unsigned();
        let mut context: Vec<u8> = [first, major, minor].into_iter().flat_map(u32::to_ne_bytes).collect();
        machine.execute_program(&mut context).unwrap() == 1
    }

    fn kinds() -> impl Strategy<Value = DeviceKind> {
        prop_oneof![Just(DeviceKind::Char), Just(DeviceKind::Block)]
    }

    /// Few numbers, so that rules meet, and the largest.
    fn numbers() -> impl Strategy<Value = u32> {
        prop_oneof![0_u32..4, Just(u32::MAX)]
    }

    fn rules() -> impl Strategy<Value = DeviceRule> {
        use proptest::option::of as optional;
        (any::<bool>(), optional(kinds()), optional(numbers()), optional(numbers()), 1_u8..8).prop_map(
            |(is_allowed, kind, major, minor, access)| DeviceRule {
                is_allowed,
                kind,
                major,
                minor,
                access: Access(access),
            },
        )
    }

    proptest! {
        #[test]
        fn the_program_decides_as_the_list_reads(
            list in proptest::collection::vec(rules(), 0..12), kind in kinds(), major in numbers(), minor in numbers(),
            access in 0_u8..8,
        ) {
            let program = compile(&list);
            prop_assert_eq!(
                run(&program, kind, major, minor, access),
                interpret(&list, kind, major, minor, access)
            );
        }
    }

    #[test]
    fn the_defaults_allow_the_devices_of_every_container_and_mknod_of_all() {
        let deny =
            DeviceRule { is_allowed: false, kind: None, major: None, minor: None, access: Access::ALL };
        for (asked, may_make) in [(vec![], true), (vec![deny], false)] {
            let program = compile(&complete(&asked));
            let allows = |kind, major, minor, access| run(&program, kind, major, minor, access);
            for minor in [3, 5, 7, 8, 9] {
                assert!(allows(DeviceKind::Char, 1, minor, 7));
            }
            assert!(allows(DeviceKind::Char, 136, 77, 6) && allows(DeviceKind::Char, 5, 2, 6));
            assert!(!allows(DeviceKind::Char, 1, 1, 2), "/dev/mem");
            assert!(!allows(DeviceKind::Block, 8, 0, 2), "a disk");
            assert_eq!(allows(DeviceKind::Block, 8, 0, 1), may_make);
        }
    }
}
