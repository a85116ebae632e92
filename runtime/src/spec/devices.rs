//! `linux.devices`: the nodes to be made. What may be done with them is in [`super::resources::devices`].

use std::path::PathBuf;

use oci_spec::runtime as oci;

use super::SpecError;
use super::mounts::absolute;

/// Type of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// Named pipe; has no numbers.
    Fifo,
}

/// A device node to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Absolute path in the container.
    pub path: PathBuf,
    /// Type.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as seen in the container.
    pub uid: u32,
    /// Group, as seen in the container.
    pub gid: u32,
}

/// Reads `linux.devices`.
///
/// # Errors
/// A path that is not absolute, a type without numbers, numbers out of range.
pub(super) fn read(list: &[oci::LinuxDevice]) -> Result<Vec<DeviceSpec>, SpecError> {
    list.iter()
        .enumerate()
        .map(|(index, device)| {
            let field = |name: &str| format!("linux.devices[{index}].{name}");
            let kind = match device.typ() {
                oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => DeviceKind::Char,
                oci::LinuxDeviceType::B => DeviceKind::Block,
                oci::LinuxDeviceType::P => DeviceKind::Fifo,
                oci::LinuxDeviceType::A => {
                    return Err(SpecError::invalid(field("type"), "a node is one of c, u, b, p"));
                }
            };
            let number = |name: &str, value: i64| {
                u64::try_from(value)
                    .map_err(|_negative| SpecError::invalid(field(name), format!("{value} is negative")))
            };
            Ok(DeviceSpec {
                path: absolute(&field("path"), device.path())?,
                kind,
                major: number("major", device.major())?,
                minor: number("minor", device.minor())?,
                mode: device.file_mode().unwrap_or(0o666) & 0o7777,
                uid: device.uid().unwrap_or(0),
                gid: device.gid().unwrap_or(0),
            })
        })
        .collect()
}
