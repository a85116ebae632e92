//! `linux.resources.devices`: which devices may be opened and made (config-linux.md, allowed device list).
//!
//! The list is read in order: for each of read, write and mknod the last entry that matches the device decides. Below the list lie
//! podrt's defaults: nothing may be opened; any node may be made, which alone opens no device. Above it lie the devices that the
//! specification has every runtime supply: they are always allowed.

use oci_spec::runtime as oci;

use super::path_of;
use crate::spec::{DeviceKind, SpecError};

/// What may be done with a device; the kernel's `BPF_DEVCG_ACC_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(pub u8);

impl Access {
    /// mknod(2).
    pub const MKNOD: Self = Self(1);
    /// Opening for reading.
    pub const READ: Self = Self(2);
    /// Opening for writing.
    pub const WRITE: Self = Self(4);
    /// All of them.
    pub const ALL: Self = Self(7);
}

/// One entry. `None` matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allows, or denies.
    pub is_allowed: bool,
    /// Character or block device.
    pub kind: Option<DeviceKind>,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// For which accesses the entry speaks.
    pub access: Access,
}

const fn rule(is_allowed: bool, kind: Option<DeviceKind>, access: Access) -> DeviceRule {
    DeviceRule { is_allowed, kind, major: None, minor: None, access }
}

const fn node(major: u32, minor: Option<u32>) -> DeviceRule {
    let kind = Some(DeviceKind::Char);
    DeviceRule { is_allowed: true, kind, major: Some(major), minor, access: Access::ALL }
}

/// Before the list.
const BASE: [DeviceRule; 2] = [rule(false, None, Access::ALL), rule(true, None, Access::MKNOD)];

/// After the list: null, zero, full, random, urandom, tty, console, ptmx, and terminals of devpts.
const ALWAYS: [DeviceRule; 9] = [
    node(1, Some(3)),
    node(1, Some(5)),
    node(1, Some(7)),
    node(1, Some(8)),
    node(1, Some(9)),
    node(5, Some(0)),
    node(5, Some(1)),
    node(5, Some(2)),
    node(136, None),
];

/// The whole list for a container: podrt's defaults, what was asked, and what is always allowed.
#[must_use]
pub fn complete(asked: &[DeviceRule]) -> Vec<DeviceRule> {
    [&BASE, asked, &ALWAYS].concat()
}

pub(super) fn read(list: &[oci::LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>, SpecError> {
    list.iter().enumerate().map(|(index, entry)| read_one(index, entry)).collect()
}

fn read_one(index: usize, entry: &oci::LinuxDeviceCgroup) -> Result<DeviceRule, SpecError> {
    let invalid = |field: &str, reason: String| {
        SpecError::invalid(path_of(&format!("devices[{index}].{field}")), reason)
    };
    let kind = match entry.typ() {
        None | Some(oci::LinuxDeviceType::A) => None,
        Some(oci::LinuxDeviceType::B) => Some(DeviceKind::Block),
        Some(oci::LinuxDeviceType::C | oci::LinuxDeviceType::U) => Some(DeviceKind::Char),
        Some(oci::LinuxDeviceType::P) => {
            return Err(invalid("type", "p: a FIFO is not a device".to_owned()));
        }
    };
    let number = |field: &str, value: Option<i64>| match value {
        // -1 is customary for all.
        None | Some(-1) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_too_big) => Err(invalid(field, format!("{value} is not a device number"))),
        },
    };
    let mut access = 0;
    for letter in entry.access().iter().flat_map(|access| access.chars()) {
        access |= match letter {
            'm' => Access::MKNOD.0,
            'r' => Access::READ.0,
            'w' => Access::WRITE.0,
            other => return Err(invalid("access", format!("{other:?} is none of r, w and m"))),
        };
    }
    // The field is optional, and an entry about nothing would be none.
    let access = if access == 0 { Access::ALL } else { Access(access) };
    Ok(DeviceRule {
        is_allowed: entry.allow(),
        kind,
        major: number("major", entry.major())?,
        minor: number("minor", entry.minor())?,
        access,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::spec;
    use super::super::{Present, Purpose};
    use super::*;

    fn rules(json: &str) -> Result<Vec<DeviceRule>, SpecError> {
        let json = format!(r#"{{"devices": {json}}}"#);
        spec(&json, &Present::default(), Purpose::Create).map(|spec| spec.devices)
    }

    #[test]
    fn entries_are_read_with_their_wildcards() {
        let json = r#"[{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": true, "type": "b", "major": 8, "minor": -1}, {"allow": true, "type": "a"}]"#;
        let fuse = DeviceRule {
            is_allowed: true,
            kind: Some(DeviceKind::Char),
            major: Some(10),
            minor: Some(229),
            access: Access(6),
        };
        let disk = DeviceRule {
            kind: Some(DeviceKind::Block),
            major: Some(8),
            minor: None,
            access: Access::ALL,
            ..fuse
        };
        assert_eq!(
            rules(json).unwrap(),
            [rule(false, None, Access::ALL), fuse, disk, rule(true, None, Access::ALL)]
        );
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for (json, field) in [
            (r#"[{"allow": true, "type": "p"}]"#, "devices[0].type"),
            (r#"[{"allow": true}, {"allow": true, "major": -2}]"#, "devices[1].major"),
            (r#"[{"allow": true, "minor": 4294967296}]"#, "devices[0].minor"),
            (r#"[{"allow": true, "access": "rx"}]"#, "devices[0].access"),
        ] {
            let error = rules(json).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.resources.{field}: ")), "{error}");
        }
    }
}
