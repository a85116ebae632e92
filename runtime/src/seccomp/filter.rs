//! From rules to a program.
//!
//! The program asks for the architecture, then finds the number of the call by halving the ranges of numbers that are treated
//! alike, then looks at arguments where rules do.

use std::collections::BTreeMap;

use super::assemble::{ARCH, Assembler, IF_EQ, IF_GE, NR, Place, Width};
use super::table::{X32_BIT, multiplexer, number};
use super::{Action, Arch, Condition, Instruction, Operator, Profile, Rule};

/// What is done with a call of an architecture that is not in the profile.
const OTHER_ARCH: Action = Action::KillThread;

/// `AUDIT_ARCH_X86_64`.
const AUDIT_X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`.
const AUDIT_X86: u32 = 0x4000_0003;

/// What is done with one number: the first that holds decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Treatment {
    unconditional: Option<Action>,
    conditional: Vec<(Vec<Condition>, Action)>,
}

impl Treatment {
    fn add(&mut self, conditions: &[Condition], action: Action) {
        if conditions.is_empty() {
            self.unconditional.get_or_insert(action);
        } else if holds_two_on_one(conditions) {
            self.conditional.extend(conditions.iter().map(|condition| (vec![*condition], action)));
        } else {
            self.conditional.push((conditions.to_vec(), action));
        }
    }
}

fn holds_two_on_one(conditions: &[Condition]) -> bool {
    let is_repeated = |n: usize| conditions[..n].iter().any(|earlier| earlier.index == conditions[n].index);
    (1..conditions.len()).any(is_repeated)
}

/// Makes the program.
#[must_use]
pub fn compile(profile: &Profile) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let has = |arch| profile.architectures.contains(&arch);
    let other = code.result(OTHER_ARCH);
    let x86 = if has(Arch::X86) { number_tree(&mut code, profile, &[Arch::X86], Width::Low) } else { other };
    let native = if has(Arch::X32) {
        number_tree(&mut code, profile, &[Arch::X86_64, Arch::X32], Width::Both)
    } else {
        let tree = number_tree(&mut code, profile, &[Arch::X86_64], Width::Both);
        // A tracer sets -1 to suppress a call.
        let suppressed = code.result(profile.default);
        let beyond = code.branch(IF_EQ, u32::MAX, suppressed, other);
        let checked = code.branch(IF_GE, X32_BIT, beyond, tree);
        code.load(NR, checked)
    };
    let at = code.branch(IF_EQ, AUDIT_X86, x86, other);
    let at = code.branch(IF_EQ, AUDIT_X86_64, native, at);
    let entry = code.load(ARCH, at);
    code.finish(entry)
}

/// Loads the number and finds what is done with it.
fn number_tree(code: &mut Assembler, profile: &Profile, archs: &[Arch], width: Width) -> Place {
    let mut treatments: BTreeMap<u32, Treatment> = BTreeMap::new();
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
        for arch in archs {
            sort_in(&mut treatments, rule, *arch);
        }
    }
    // Ranges by their first number, each up to the next.
    let mut ranges: Vec<(u32, Treatment)> = vec![(0, Treatment::default())];
    let mut next = 0;
    for (number, treatment) in treatments {
        if number > next {
            begin(&mut ranges, next, Treatment::default());
        }
        begin(&mut ranges, number, treatment);
        next = number + 1;
    }
    begin(&mut ranges, next, Treatment::default());
    let tree = halve(code, &ranges, profile.default, width);
    code.load(NR, tree)
}

fn sort_in(treatments: &mut BTreeMap<u32, Treatment>, rule: &Rule, arch: Arch) {
    for name in &rule.names {
        if let Some(number) = number(arch, name) {
            treatments.entry(number).or_default().add(&rule.conditions, rule.action);
        }
        if let (Arch::X86, Some((number, call, mask))) = (arch, multiplexer(name)) {
            let chosen = Condition { index: 0, operator: Operator::MaskedEq(mask), value: call };
            treatments.entry(number).or_default().add(&[chosen], rule.action);
        }
    }
}

/// Ends the last range, and begins another unless it is treated the same.
fn begin(ranges: &mut Vec<(u32, Treatment)>, first: u32, treatment: Treatment) {
    match ranges.last_mut() {
        Some((last, old)) if *last == first => *old = treatment,
        Some((_, old)) if *old == treatment => {}
        _ => ranges.push((first, treatment)),
    }
}

fn halve(code: &mut Assembler, ranges: &[(u32, Treatment)], default: Action, width: Width) -> Place {
    match ranges {
        [] => code.result(default),
        [(first, treatment)] => leaf(code, *first, treatment, default, width),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let upper = halve(code, high, default, width);
            let lower = halve(code, low, default, width);
            code.branch(IF_GE, high[0].0, upper, lower)
        }
    }
}

fn leaf(code: &mut Assembler, first: u32, treatment: &Treatment, default: Action, width: Width) -> Place {
    if let Some(action) = treatment.unconditional {
        return code.result(action);
    }
    // x32 passes arguments as 32 bits.
    let width = if first >= X32_BIT { Width::Low } else { width };
    let mut otherwise = code.result(default);
    for (conditions, action) in treatment.conditional.iter().rev() {
        let mut at = code.result(*action);
        for condition in conditions.iter().rev() {
            at = code.condition(condition, width, at, otherwise);
        }
        otherwise = at;
    }
    otherwise
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Call {
        audit: u32,
        nr: u32,
        args: [u64; 6],
    }

    /// Runs a program as the kernel does.
    fn run(program: &[Instruction], call: &Call) -> u32 {
        let mut data = [call.nr, call.audit, 0, 0].to_vec();
        data.extend(call.args.iter().flat_map(|arg| [*arg as u32, (*arg >> 32) as u32]));
        let (mut a, mut at) = (0_u32, 0_usize);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                0x20 => a = data[k as usize / 4],
                0x54 => a &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(a == k),
                0x35 => at += jump(a >= k),
                0x25 => at += jump(a > k),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// What the rules say, without a program.
    fn expected(profile: &Profile, arch: Option<Arch>, name: &str, args: [u64; 6]) -> Action {
        let Some(arch) = arch.filter(|a| *a == Arch::X86_64 || profile.architectures.contains(a)) else {
            return OTHER_ARCH;
        };
        let see = |value: u64| if arch == Arch::X86_64 { value } else { value & 0xffff_ffff };
        let holds = |c: &Condition| {
            let (arg, value) = (see(args[usize::from(c.index)]), see(c.value));
            match c.operator {
                Operator::Ne => arg != value,
                Operator::Lt => arg < value,
                Operator::Le => arg <= value,
                Operator::Eq => arg == value,
                Operator::Ge => arg >= value,
                Operator::Gt => arg > value,
                Operator::MaskedEq(mask) => arg & see(mask) == value,
            }
        };
        let rules = || {
            let names = |r: &&Rule| r.names.iter().any(|n| n == name) && r.action != profile.default;
            profile.rules.iter().filter(names)
        };
        let unconditional = rules().find(|r| r.conditions.is_empty());
        let conditional = rules().find(|r| match holds_two_on_one(&r.conditions) {
            true => r.conditions.iter().any(holds),
            false => r.conditions.iter().all(holds),
        });
        unconditional.or(conditional).map_or(profile.default, |r| r.action)
    }

    /// Numbers without a pattern, the same in each run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % n
        }

        fn of<T: Copy>(&mut self, list: &[T]) -> T {
            list[self.below(list.len())]
        }
    }

    const VALUES: [u64; 7] = [0, 1, 5, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX];

    #[test]
    fn programs_decide_as_the_rules_say() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let names: Vec<String> = (0..470)
            .filter_map(syscalls::x86_64::Sysno::new)
            .map(|call| call.to_string())
            .filter(|name| multiplexer(name).is_none())
            .collect();
        let actions = [
            Action::Allow,
            Action::Errno(1),
            Action::Errno(38),
            Action::KillThread,
            Action::KillProcess,
            Action::Trap,
            Action::Notify,
            Action::Trace(7),
            Action::Log,
        ];
        for size in [0, 1, 3, 40, 400] {
            let condition = |random: &mut Random| Condition {
                index: u8::try_from(random.below(6)).unwrap(),
                operator: random.of(&[
                    Operator::Ne,
                    Operator::Lt,
                    Operator::Le,
                    Operator::Eq,
                    Operator::Ge,
                    Operator::Gt,
                    Operator::MaskedEq(0x1_0000_0005),
                ]),
                value: random.of(&VALUES),
            };
            let rules = (0..size)
                .map(|_| Rule {
                    names: (0..=random.below(3)).map(|_| names[random.below(names.len())].clone()).collect(),
                    action: random.of(&actions),
                    conditions: (0..random.below(4)).map(|_| condition(&mut random)).collect(),
                })
                .collect();
            let architectures = if size % 2 == 0 { vec![Arch::X32, Arch::X86] } else { Vec::new() };
            let profile = Profile { default: random.of(&actions), architectures, rules };
            let program = compile(&profile);
            assert!(program.len() <= 4096 || size == 400, "{} instructions", program.len());
            for _ in 0..20_000 {
                let name = &names[random.below(names.len())];
                let arch = random.of(&[Arch::X86_64, Arch::X32, Arch::X86]);
                let Some(nr) = number(arch, name) else { continue };
                let args = std::array::from_fn(|_| random.of(&VALUES));
                let audit = if arch == Arch::X86 { AUDIT_X86 } else { AUDIT_X86_64 };
                let found = run(&program, &Call { audit, nr, args });
                let wanted = expected(&profile, Some(arch), name, args).value();
                assert_eq!(found, wanted, "{name} {arch:?} {args:x?} of {size} rules");
            }
            let foreign = run(&program, &Call { audit: 0xc000_00b7, nr: 0, args: [0; 6] });
            assert_eq!(foreign, expected(&profile, None, "", [0; 6]).value());
            let suppressed = run(&program, &Call { audit: AUDIT_X86_64, nr: u32::MAX, args: [0; 6] });
            assert_eq!(suppressed, profile.default.value());
        }
    }

    #[test]
    fn calls_behind_others_are_filtered_there() {
        let rule = |name: &str, conditions| Rule {
            names: vec![name.to_owned()],
            action: Action::Errno(97),
            conditions,
        };
        let family = Condition { index: 0, operator: Operator::Eq, value: 38 };
        let profile = Profile {
            default: Action::Allow,
            architectures: vec![Arch::X86],
            rules: vec![rule("socket", vec![family]), rule("msgget", Vec::new())],
        };
        let program = compile(&profile);
        for (nr, first, is_filtered) in [
            (359, 38, true),
            (359, 2, false),
            (102, 1, true),
            (102, 2, false),
            (117, 13, true),
            (117, 0x1_000d, true),
            (117, 14, false),
        ] {
            let found = run(&program, &Call { audit: AUDIT_X86, nr, args: [first, 0, 0, 0, 0, 0] });
            assert_eq!(found != Action::Allow.value(), is_filtered, "{nr} {first}");
        }
    }

    #[test]
    fn a_profile_of_the_usual_size_fits_and_is_shallow() {
        let names: Vec<String> = (0..470)
            .filter(|n| n % 7 != 0)
            .filter_map(syscalls::x86_64::Sysno::new)
            .map(|call| call.to_string())
            .collect();
        let rule = Rule { names, action: Action::Allow, conditions: Vec::new() };
        let profile = Profile {
            default: Action::Errno(1),
            architectures: vec![Arch::X32, Arch::X86],
            rules: vec![rule],
        };
        let n_instructions = compile(&profile).len();
        assert!(n_instructions < 1500, "{n_instructions}");
    }
}
