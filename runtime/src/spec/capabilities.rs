//! `process.capabilities` as bit sets (capabilities(7)).

use oci_spec::runtime as oci;
use oci_spec::runtime::Capability as C;
use serde::Deserialize as _;
use serde_json::Value;

/// A set of capabilities, one bit each, numbered as the kernel numbers them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSet(pub u64);

impl CapSet {
    /// The numbers of the members, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.contains(*number))
    }

    /// True when the capability is a member.
    #[must_use]
    pub fn contains(self, number: u8) -> bool {
        self.0 & (1_u64 << number) != 0
    }
}

/// The five sets of a process. All empty when the bundle has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySpec {
    /// Upper limit of what an exec can give.
    pub bounding: CapSet,
    /// Checked by the kernel.
    pub effective: CapSet,
    /// Kept over an exec by programs that ask for it.
    pub inheritable: CapSet,
    /// May become effective.
    pub permitted: CapSet,
    /// Kept over an exec by any program.
    pub ambient: CapSet,
}

impl CapabilitySpec {
    /// With one more that is permitted and effective.
    #[must_use]
    pub fn with_permitted(self, number: u8) -> Self {
        let add = |set: CapSet| CapSet(set.0 | 1_u64 << number);
        Self { permitted: add(self.permitted), effective: add(self.effective), ..self }
    }
}

/// Takes the names that podrt does not know out of the lists of a `process`, and tells of each: what cannot be mapped to the
/// kernel is a warning (config.md, Linux Process).
pub(super) fn take_unknown(process: &mut Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
    for (set, list) in sets.into_iter().flatten() {
        let Some(list) = list.as_array_mut() else { continue };
        list.retain(|name| {
            // What is no text is an error, which the reader of the whole names.
            let is_kept = !name.is_string() || C::deserialize(name).is_ok();
            if !is_kept {
                warnings.push(format!(
                    "process.capabilities.{set}: {name} is no capability that podrt knows, left out"
                ));
            }
            is_kept
        });
    }
    warnings
}

/// Turns the lists into sets.
pub(super) fn read(lists: Option<&oci::LinuxCapabilities>) -> CapabilitySpec {
    let set = |list: &Option<oci::Capabilities>| {
        CapSet(list.iter().flatten().fold(0, |bits, cap| bits | 1_u64 << number(*cap)))
    };
    lists.map_or_else(CapabilitySpec::default, |lists| CapabilitySpec {
        bounding: set(lists.bounding()),
        effective: set(lists.effective()),
        inheritable: set(lists.inheritable()),
        permitted: set(lists.permitted()),
        ambient: set(lists.ambient()),
    })
}

/// The capabilities, at their numbers in `linux/capability.h`.
const CAPABILITIES: [C; 41] = [
    C::Chown,
    C::DacOverride,
    C::DacReadSearch,
    C::Fowner,
    C::Fsetid,
    C::Kill,
    C::Setgid,
    C::Setuid,
    C::Setpcap,
    C::LinuxImmutable,
    C::NetBindService,
    C::NetBroadcast,
    C::NetAdmin,
    C::NetRaw,
    C::IpcLock,
    C::IpcOwner,
    C::SysModule,
    C::SysRawio,
    C::SysChroot,
    C::SysPtrace,
    C::SysPacct,
    C::SysAdmin,
    C::SysBoot,
    C::SysNice,
    C::SysResource,
    C::SysTime,
    C::SysTtyConfig,
    C::Mknod,
    C::Lease,
    C::AuditWrite,
    C::AuditControl,
    C::Setfcap,
    C::MacOverride,
    C::MacAdmin,
    C::Syslog,
    C::WakeAlarm,
    C::BlockSuspend,
    C::AuditRead,
    C::Perfmon,
    C::Bpf,
    C::CheckpointRestore,
];

/// The names of all capabilities that podrt knows, as `CAP_CHOWN`.
#[must_use]
pub fn names() -> Vec<String> {
    CAPABILITIES.iter().map(|cap| format!("CAP_{cap}")).collect()
}

/// The number of a capability in `linux/capability.h`.
fn number(cap: C) -> u8 {
    match cap {
        C::Chown => 0,
        C::DacOverride => 1,
        C::DacReadSearch => 2,
        C::Fowner => 3,
        C::Fsetid => 4,
        C::Kill => 5,
        C::Setgid => 6,
        C::Setuid => 7,
        C::Setpcap => 8,
        C::LinuxImmutable => 9,
        C::NetBindService => 10,
        C::NetBroadcast => 11,
        C::NetAdmin => 12,
        C::NetRaw => 13,
        C::IpcLock => 14,
        C::IpcOwner => 15,
        C::SysModule => 16,
        C::SysRawio => 17,
        C::SysChroot => 18,
        C::SysPtrace => 19,
        C::SysPacct => 20,
        C::SysAdmin => 21,
        C::SysBoot => 22,
        C::SysNice => 23,
        C::SysResource => 24,
        C::SysTime => 25,
        C::SysTtyConfig => 26,
        C::Mknod => 27,
        C::Lease => 28,
        C::AuditWrite => 29,
        C::AuditControl => 30,
        C::Setfcap => 31,
        C::MacOverride => 32,
        C::MacAdmin => 33,
        C::Syslog => 34,
        C::WakeAlarm => 35,
        C::BlockSuspend => 36,
        C::AuditRead => 37,
        C::Perfmon => 38,
        C::Bpf => 39,
        C::CheckpointRestore => 40,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_cannot_be_read_is_taken_out_and_told() {
        let mut process =
            json!({"capabilities": {"bounding": ["CAP_KILL", "chown", "CAP_OF_TOMORROW"], "ambient": [7]}});
        let warning =
            "process.capabilities.bounding: \"CAP_OF_TOMORROW\" is no capability that podrt knows, left out";
        assert_eq!(take_unknown(&mut process), [warning]);
        assert_eq!(process["capabilities"], json!({"bounding": ["CAP_KILL", "chown"], "ambient": [7]}));
        for other in [json!({"args": []}), json!("text"), json!({"capabilities": []}), json!([1])] {
            assert!(take_unknown(&mut other.clone()).is_empty(), "{other}");
        }
    }

    #[test]
    fn lists_become_the_bits_of_the_kernel() {
        let lists: oci::LinuxCapabilities = serde_json::from_str(
            r#"{"bounding": ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"], "ambient": ["CAP_KILL"]}"#,
        )
        .unwrap();
        let caps = read(Some(&lists));
        assert_eq!(caps.bounding.0, 1 | 1 << 40);
        assert_eq!(caps.ambient.numbers().collect::<Vec<_>>(), [5]);
        assert_eq!(caps.effective, CapSet(0));
    }

    #[test]
    fn each_name_is_read_as_its_number() {
        for (index, name) in names().iter().enumerate() {
            let cap: C = serde_json::from_value(serde_json::json!(name)).unwrap();
            assert_eq!(usize::from(number(cap)), index, "{name}");
        }
    }
}
