//! The object file as the compiler and the linker made it: what they get wrong without a word.

use std::collections::{BTreeMap, HashMap};

use libtest_mimic::Completion;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind, SymbolKind};

use crate::{Res, equal, truth};

#[cfg(podproof_probes)]
static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probes.o"));

/// The embedded object; `None` in a build without probes.
pub(crate) fn bytes() -> Option<&'static [u8]> {
    #[cfg(podproof_probes)]
    return Some(BYTES);
    #[cfg(not(podproof_probes))]
    return None;
}

/// Operation codes (`linux/bpf.h`): class in the low three bits.
const LDDW: u8 = 0x18;
pub(crate) const CALL: u8 = 0x85;
/// `BPF_STX | BPF_ATOMIC` of four and of eight bytes.
const ATOMIC: [u8; 2] = [0xc3, 0xdb];
/// A constant into a register, of four and of eight bytes.
const MOVE: [u8; 2] = [0xb4, 0xb7];
const CLASS: u8 = 0x07;
const JMP32: u8 = 0x06;
/// `BPF_FETCH`, in the immediate of an atomic instruction.
const FETCH: i32 = 0x01;
/// The source register of a call to a function of the object (`BPF_PSEUDO_CALL`).
const PSEUDO_CALL: u8 = 1;
const SIZE: u64 = 8;

/// One instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    target: u8,
    pub(crate) source: u8,
    pub(crate) imm: i32,
    /// The symbol that the linker or the loader is to fill in.
    relocation: Option<object::SymbolIndex>,
}

/// A section of code: its name, and its instructions with their addresses. Most are a program each.
type Program = (String, Vec<(u64, Instruction)>);

pub(crate) fn file() -> Res<object::File<'static>> {
    Ok(object::File::parse(bytes().ok_or("no probes")?)?)
}

/// Every section of code but that of the functions which programs call.
fn programs(file: &object::File<'_>) -> Res<Vec<Program>> {
    let mut all = code(file)?;
    all.retain(|(name, _)| name != ".text");
    truth(&format!("{} programs", all.len()), all.len() >= 20)?;
    Ok(all)
}

/// Every section of code.
pub(crate) fn code(file: &object::File<'_>) -> Res<Vec<Program>> {
    let mut all = vec![];
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let mut relocations = BTreeMap::new();
        for (at, relocation) in section.relocations() {
            if let RelocationTarget::Symbol(symbol) = relocation.target() {
                relocations.insert(at, symbol);
            }
        }
        all.push((section.name()?.to_owned(), instructions(section.data()?, &relocations)));
    }
    Ok(all)
}

/// The instructions in these bytes, with their addresses; `relocations` are by address.
pub(crate) fn instructions(
    bytes: &[u8],
    relocations: &BTreeMap<u64, object::SymbolIndex>,
) -> Vec<(u64, Instruction)> {
    let mut instructions = vec![];
    let mut is_second_half = false;
    for (slot, raw) in bytes.as_chunks::<8>().0.iter().enumerate() {
        if std::mem::take(&mut is_second_half) {
            continue;
        }
        let at = slot as u64 * SIZE;
        is_second_half = raw[0] == LDDW;
        let [code, registers, _, _, imm @ ..] = *raw;
        let relocation = relocations.get(&at).copied();
        let imm = i32::from_le_bytes(imm);
        let (target, source) = (registers & 0xf, registers >> 4);
        instructions.push((at, Instruction { code, target, source, imm, relocation }));
    }
    instructions
}

/// Where the instructions that `is_wrong` accepts are.
fn found(programs: &[Program], is_wrong: impl Fn(&Instruction) -> bool) -> Vec<String> {
    let mut places = vec![];
    for (name, instructions) in programs {
        let wrong = instructions.iter().filter(|(_, instruction)| is_wrong(instruction));
        places.extend(wrong.map(|(at, _)| format!("{name}+{at:#x}")));
    }
    places
}

/// With a weaker order than `SeqCst` the linker makes an addition that does not fetch, also where its result is used: the
/// addend then stands for the value before. Every counter and every loss is such an addition.
pub(crate) fn atomics() -> Res<Completion> {
    let programs = programs(&file()?)?;
    let is_atomic = |instruction: &Instruction| ATOMIC.contains(&instruction.code);
    let all = found(&programs, is_atomic);
    truth(&format!("{} atomic instructions", all.len()), all.len() >= 20)?;
    let wrong = found(&programs, |instruction| is_atomic(instruction) && instruction.imm & FETCH == 0);
    equal("atomic instructions that do not fetch", &wrong, &vec![])?;
    Ok(Completion::Completed)
}

/// What the compiler makes of a zeroed or copied value: a call of a loop over its bytes, which the verifier follows round by
/// round, and which each event pays for.
const OF_THE_COMPILER: [&str; 5] = ["memset", "memcpy", "memmove", "memcmp", "bcmp"];

pub(crate) fn calls() -> Res<Completion> {
    let file = file()?;
    let undefined: Vec<&str> = file
        .symbols()
        .filter(|symbol| symbol.is_undefined())
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| !name.is_empty())
        .collect();
    equal("functions that are not in the object", &undefined, &vec![])?;
    let mut functions = HashMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        if let Some(section) = symbol.section_index() {
            functions.insert((section, symbol.address()), symbol.name()?);
        }
    }
    let mut wrong = vec![];
    for (name, instructions) in programs(&file)? {
        for (idx, (at, instruction)) in instructions.iter().enumerate() {
            if instruction.code != CALL || instruction.source != PSEUDO_CALL {
                continue;
            }
            let Some(symbol) = instruction.relocation else { continue };
            let symbol = file.symbol_by_index(symbol)?;
            let callee = match symbol.kind() {
                // The section stands for its functions, and the immediate for the distance from the next instruction.
                SymbolKind::Section => {
                    let address = u64::try_from(i64::from(instruction.imm) + 1)? * SIZE;
                    symbol.section_index().and_then(|section| functions.get(&(section, address)).copied())
                }
                _ => Some(symbol.name()?),
            };
            let Some(callee) = callee else { return Err(format!("{name}+{at:#x} calls no function").into()) };
            if OF_THE_COMPILER.contains(&callee) {
                let length = length(&instructions[..idx])
                    .map_or("a length that varies".to_owned(), |length| format!("{length} bytes"));
                wrong.push(format!("{name}+{at:#x} calls {callee} for {length}"));
            }
        }
    }
    equal("calls", &wrong, &vec![])?;
    Ok(Completion::Completed)
}

/// The third argument of a call that stands after these instructions, if it is a constant.
fn length(before: &[(u64, Instruction)]) -> Option<i32> {
    const THIRD: u8 = 3;
    let is_store = |instruction: &Instruction| matches!(instruction.code & CLASS, 2 | 3 | 5 | 6);
    let set = before.iter().rev().find(|(_, it)| it.target == THIRD && !is_store(it));
    set.filter(|(_, it)| MOVE.contains(&it.code)).map(|(_, it)| it.imm)
}

/// The default CPU has no atomic instruction that fetches, and CPU v3 is the first with comparisons of 32 bits.
pub(crate) fn cpu() -> Res<Completion> {
    let compared = found(&programs(&file()?)?, |instruction| instruction.code & CLASS == JMP32);
    truth(&format!("{} comparisons of 32 bits", compared.len()), compared.len() >= 20)?;
    Ok(Completion::Completed)
}

/// Without a license that the kernel takes for compatible, most helpers are refused.
pub(crate) fn license() -> Res<Completion> {
    let file = file()?;
    let section = file.section_by_name("license").ok_or("no section license")?;
    equal("license", &section.data()?, &b"Dual MIT/GPL\0".as_slice())?;
    // The loader takes the types of the maps from it.
    truth("it has type information", file.section_by_name(".BTF").is_some())?;
    Ok(Completion::Completed)
}
