//! Writes a program from its end to its beginning, since all jumps go forward.

use std::collections::HashMap;

use super::{Action, Condition, Instruction, Operator};

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
/// Jump when the loaded word is equal.
pub(super) const IF_EQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
/// Jump when it is greater or equal.
pub(super) const IF_GE: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_GT: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;

/// Offset of `nr` in `struct seccomp_data`.
pub(super) const NR: u32 = 0;
/// Offset of `arch`.
pub(super) const ARCH: u32 = 4;
/// Offset of the low word of the first argument.
const ARGS: u32 = 16;

/// How much of an argument a condition sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// The low word.
    Low,
    /// Both words.
    Both,
}

/// A place in the program: how many instructions come from it to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(usize);

/// The program, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    returns: HashMap<u32, Place>,
}

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Place {
        self.reversed.push(Instruction { code, jt, jf, k });
        Place(self.reversed.len())
    }

    /// Returns an action.
    pub(super) fn result(&mut self, action: Action) -> Place {
        let value = action.value();
        match self.returns.get(&value) {
            Some(place) if self.distance(*place) < 200 => *place,
            _ => {
                let place = self.push(RETURN, 0, 0, value);
                self.returns.insert(value, place);
                place
            }
        }
    }

    /// Loads a word, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Place) -> Place {
        self.next_is(next);
        self.push(LOAD, 0, 0, offset)
    }

    /// Goes to `yes` or `no`.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: Place, no: Place) -> Place {
        // A conditional jump reaches 255 instructions. The first of two detours moves the second target by one.
        let yes = if self.distance(yes) >= 254 { self.detour(yes) } else { yes };
        let no = if self.distance(no) > 255 { self.detour(no) } else { no };
        let reach = |place| u8::try_from(self.distance(place)).unwrap_or(u8::MAX);
        let (jt, jf) = (reach(yes), reach(no));
        self.push(code, jt, jf, k)
    }

    /// Goes to `yes` when the condition holds, else to `no`.
    pub(super) fn condition(&mut self, condition: &Condition, width: Width, yes: Place, no: Place) -> Place {
        let Condition { index, operator, value } = *condition;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "takes the low word; the high one is shifted down"
        )]
        let words = |value: u64| ((value >> 32) as u32, value as u32);
        let low = ARGS + 8 * u32::from(index);
        let high = low + 4;
        let (value_high, value_low) = words(value);
        match operator {
            Operator::Ne => {
                self.condition(&Condition { operator: Operator::Eq, ..*condition }, width, no, yes)
            }
            Operator::Lt => {
                self.condition(&Condition { operator: Operator::Ge, ..*condition }, width, no, yes)
            }
            Operator::Le => {
                self.condition(&Condition { operator: Operator::Gt, ..*condition }, width, no, yes)
            }
            Operator::Eq => {
                let at = self.branch(IF_EQ, value_low, yes, no);
                let at = self.load(low, at);
                if width == Width::Low {
                    return at;
                }
                let at = self.branch(IF_EQ, value_high, at, no);
                self.load(high, at)
            }
            Operator::MaskedEq(mask) => {
                let (mask_high, mask_low) = words(mask);
                let at = self.branch(IF_EQ, value_low, yes, no);
                let at = self.and(mask_low, at);
                let at = self.load(low, at);
                if width == Width::Low {
                    return at;
                }
                let at = self.branch(IF_EQ, value_high, at, no);
                let at = self.and(mask_high, at);
                self.load(high, at)
            }
            Operator::Ge | Operator::Gt => {
                let code = if operator == Operator::Ge { IF_GE } else { IF_GT };
                let at = self.branch(code, value_low, yes, no);
                let at = self.load(low, at);
                if width == Width::Low {
                    return at;
                }
                let at = self.branch(IF_EQ, value_high, at, no);
                let at = self.branch(IF_GT, value_high, yes, at);
                self.load(high, at)
            }
        }
    }

    /// The program, first instruction first, from `entry` on.
    pub(super) fn finish(mut self, entry: Place) -> Vec<Instruction> {
        self.next_is(entry);
        self.reversed.reverse();
        self.reversed
    }

    fn and(&mut self, mask: u32, next: Place) -> Place {
        self.next_is(next);
        self.push(AND, 0, 0, mask)
    }

    /// Makes sure that what is written before the present beginning goes on at `place`.
    fn next_is(&mut self, place: Place) {
        if self.distance(place) > 0 {
            self.detour(place);
        }
    }

    fn detour(&mut self, target: Place) -> Place {
        let distance = u32::try_from(self.distance(target)).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, distance)
    }

    /// How many instructions lie between the present beginning and a place.
    fn distance(&self, place: Place) -> usize {
        self.reversed.len() - place.0
    }
}
