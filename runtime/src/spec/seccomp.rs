//! `linux.seccomp`: which system calls the program may do (config-linux.md, seccomp).

use std::path::PathBuf;

use oci_spec::runtime as oci;
use oci_spec::runtime::LinuxSeccompAction as A;
use oci_spec::runtime::LinuxSeccompFilterFlag as F;
use oci_spec::runtime::LinuxSeccompOperator as O;
use serde::{Deserialize, Serialize};

use super::SpecError;
use super::mounts::absolute;
use crate::seccomp::{Action, Arch, Condition, Operator, Profile, Rule, table};

/// The actions that podrt knows.
pub const ACTIONS: [A; 9] = [
    A::ScmpActAllow,
    A::ScmpActErrno,
    A::ScmpActKill,
    A::ScmpActKillProcess,
    A::ScmpActKillThread,
    A::ScmpActLog,
    A::ScmpActNotify,
    A::ScmpActTrace,
    A::ScmpActTrap,
];

/// The operators that podrt knows.
pub const OPERATORS: [O; 7] =
    [O::ScmpCmpEq, O::ScmpCmpGe, O::ScmpCmpGt, O::ScmpCmpLe, O::ScmpCmpLt, O::ScmpCmpMaskedEq, O::ScmpCmpNe];

/// The architectures whose calls can be done on this kernel. Those of other kernels are taken and change nothing.
pub const ARCHITECTURES: [(oci::Arch, Arch); 3] = [
    (oci::Arch::ScmpArchX86, Arch::X86),
    (oci::Arch::ScmpArchX86_64, Arch::X86_64),
    (oci::Arch::ScmpArchX32, Arch::X32),
];

/// The flags that podrt knows, as seccomp(2) takes them. There is one thread to be filtered, so
/// `SECCOMP_FILTER_FLAG_TSYNC` has nothing to do, and would not go together with a listener.
pub const FLAGS: [(F, u32); 4] = [
    (F::SeccompFilterFlagLog, 1 << 1),
    (F::SeccompFilterFlagSpecAllow, 1 << 2),
    (F::SeccompFilterFlagTsync, 0),
    (F::SeccompFilterFlagWaitKillableRecv, WAIT_KILLABLE_RECV),
];

const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Highest errno that the kernel returns (`MAX_ERRNO`).
const ERRNO_MAX: u32 = 4095;

/// Who answers for `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompListener {
    /// A stream socket on the host, absolute.
    pub path: PathBuf,
    /// Passed on.
    pub metadata: Option<String>,
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeccompSpec {
    /// Rules.
    pub profile: Profile,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// There when an action needs it.
    pub listener: Option<SeccompListener>,
}

/// Reads `linux.seccomp`; adds remarks to `warnings`.
///
/// # Errors
/// A value without a meaning, by its path.
pub(super) fn read(
    seccomp: Option<&oci::LinuxSeccomp>,
    warnings: &mut Vec<String>,
) -> Result<Option<SeccompSpec>, SpecError> {
    let Some(seccomp) = seccomp else { return Ok(None) };
    let default =
        action("linux.seccomp.defaultErrnoRet", seccomp.default_action(), seccomp.default_errno_ret())?;
    let calls = seccomp.syscalls().as_deref().unwrap_or_default();
    let rules: Vec<Rule> =
        calls.iter().enumerate().map(|(index, call)| rule(index, call)).collect::<Result<_, _>>()?;

    let mut unknown: Vec<&str> = rules
        .iter()
        .flat_map(|rule| &rule.names)
        .map(String::as_str)
        .filter(|n| !table::is_known(n))
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        warnings.push(format!("linux.seccomp.syscalls: no system call is named {}", unknown.join(", ")));
    }
    let architectures = seccomp.architectures().iter().flatten();
    let architectures = architectures.filter_map(|arch| ARCHITECTURES.iter().find(|(name, _)| name == arch));
    let architectures = architectures.map(|(_, arch)| *arch).collect();

    let has_listener = default == Action::Notify || rules.iter().any(|rule| rule.action == Action::Notify);
    let listener = match seccomp.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) if has_listener => Some(SeccompListener {
            path: absolute("linux.seccomp.listenerPath", path)?,
            metadata: seccomp.listener_metadata().clone().filter(|metadata| !metadata.is_empty()),
        }),
        None if has_listener => return Err(SpecError::Missing { path: "linux.seccomp.listenerPath" }),
        _ => None,
    };
    let known = |flag: &F| FLAGS.iter().find(|(known, _)| known == flag).map_or(0, |(_, bits)| *bits);
    let mut flags = seccomp.flags().iter().flatten().map(known).fold(0, |all, bits| all | bits);
    if listener.is_none() {
        // Nobody receives anything: the kernel would refuse it.
        flags &= !WAIT_KILLABLE_RECV;
    }
    Ok(Some(SeccompSpec { profile: Profile { default, architectures, rules }, flags, listener }))
}

fn rule(index: usize, call: &oci::LinuxSyscall) -> Result<Rule, SpecError> {
    let field = |name: &str| format!("linux.seccomp.syscalls[{index}].{name}");
    if call.names().is_empty() {
        return Err(SpecError::invalid(field("names"), "names no system call"));
    }
    let args = call.args().as_deref().unwrap_or_default();
    let conditions = args.iter().enumerate().map(|(n, arg)| {
        let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6).ok_or_else(|| {
            SpecError::invalid(
                field(&format!("args[{n}].index")),
                format!("{} is not from 0 to 5", arg.index()),
            )
        })?;
        let operator = match arg.op() {
            O::ScmpCmpNe => Operator::Ne,
            O::ScmpCmpLt => Operator::Lt,
            O::ScmpCmpLe => Operator::Le,
            O::ScmpCmpEq => Operator::Eq,
            O::ScmpCmpGe => Operator::Ge,
            O::ScmpCmpGt => Operator::Gt,
            // The first value is the mask.
            O::ScmpCmpMaskedEq => {
                let value = arg.value_two().unwrap_or_default();
                return Ok(Condition { index, operator: Operator::MaskedEq(arg.value()), value });
            }
        };
        Ok(Condition { index, operator, value: arg.value() })
    });
    Ok(Rule {
        names: call.names().clone(),
        action: action(&field("errnoRet"), call.action(), call.errno_ret())?,
        conditions: conditions.collect::<Result<_, SpecError>>()?,
    })
}

fn action(field: &str, action: A, errno: Option<u32>) -> Result<Action, SpecError> {
    let value = errno.unwrap_or(libc::EPERM.unsigned_abs());
    let limited = |max: u32| match u16::try_from(value) {
        Ok(short) if value <= max => Ok(short),
        _ => Err(SpecError::invalid(field, format!("{value} is above {max}"))),
    };
    let plain = match action {
        A::ScmpActErrno => return Ok(Action::Errno(limited(ERRNO_MAX)?)),
        A::ScmpActTrace => return Ok(Action::Trace(limited(u32::from(u16::MAX))?)),
        A::ScmpActKill | A::ScmpActKillThread => Action::KillThread,
        A::ScmpActKillProcess => Action::KillProcess,
        A::ScmpActTrap => Action::Trap,
        A::ScmpActNotify => Action::Notify,
        A::ScmpActLog => Action::Log,
        A::ScmpActAllow => Action::Allow,
    };
    match errno {
        None => Ok(plain),
        Some(errno) => Err(SpecError::invalid(field, format!("{errno}: {action} takes no errno"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<(SeccompSpec, Vec<String>), SpecError> {
        let mut warnings = Vec::new();
        let spec = read(Some(&serde_json::from_str(json).unwrap()), &mut warnings)?;
        Ok((spec.unwrap(), warnings))
    }

    #[test]
    fn everything_of_a_profile_is_read() {
        let (spec, warnings) = parse(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC",
                    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
                "listenerPath": "/nobody/needs/it",
                "syscalls": [{"names": ["clone", "arm_fadvise64_64", "opne"], "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 2114060288, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
        )
        .unwrap();
        assert_eq!(spec.profile.default, Action::Errno(38));
        assert_eq!(spec.profile.architectures, [Arch::X86_64, Arch::X86]);
        assert_eq!((spec.flags, &spec.listener), (2, &None));
        let condition = Condition { index: 0, operator: Operator::MaskedEq(2_114_060_288), value: 4 };
        assert_eq!(spec.profile.rules[0].conditions, [condition]);
        assert_eq!(warnings, ["linux.seccomp.syscalls: no system call is named opne"]);
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (json, text) in [
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#,
                "linux.seccomp.defaultErrnoRet: 1: SCMP_ACT_ALLOW takes no errno",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#,
                "linux.seccomp.defaultErrnoRet: 4096",
            ),
            (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "linux.seccomp.listenerPath: required"),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]}"#,
                "linux.seccomp.syscalls[0].names",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG",
                    "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
                "linux.seccomp.syscalls[0].args[0].index: 6",
            ),
        ] {
            let message = parse(json).unwrap_err().to_string();
            assert!(message.starts_with(text), "{message}");
        }
    }

    #[test]
    fn each_word_that_is_declared_is_the_specifications() {
        for action in ACTIONS {
            assert!(action.to_string().starts_with("SCMP_ACT_"), "{action}");
        }
        for (arch, _) in ARCHITECTURES {
            let text = serde_json::to_string(&arch).unwrap();
            assert!(
                ["\"SCMP_ARCH_X86\"", "\"SCMP_ARCH_X86_64\"", "\"SCMP_ARCH_X32\""].contains(&text.as_str())
            );
        }
    }
}
