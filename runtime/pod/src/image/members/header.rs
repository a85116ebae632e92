//! The fields of a header block.

use tar::Header;

use super::Device;
use super::sparse::SparseMap;

/// A header's fields, as numbers and bytes.
#[derive(Debug, Clone)]
pub(in super::super) struct Fields {
    /// Type flag.
    pub(super) kind: u8,
    /// Name, with the prefix of ustar.
    pub(super) name: Vec<u8>,
    /// Name that a link leads to.
    pub(super) link: Vec<u8>,
    /// Bytes of data that follow.
    pub(super) size: u64,
    /// Permissions.
    pub(super) mode: u32,
    /// User, not checked yet: an extended header may have another.
    pub(super) uid: i64,
    /// Group, not checked yet.
    pub(super) gid: i64,
    /// Seconds since the epoch.
    pub(super) modified: i64,
    /// Number of a device, when the header is one of a device and has one in range.
    pub(super) device: Option<Device>,
    /// The first segments of a sparse file.
    pub(super) sparse: Option<SparseMap>,
}

impl Fields {
    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(header: &Header) -> Result<Self, String> {
        check_sum(header)?;
        let old = header.as_old();
        let field = |name: &str, bytes: &[u8]| {
            number(bytes).ok_or_else(|| format!("{name} is no number: {:?}", String::from_utf8_lossy(bytes)))
        };
        let kind = old.linkflag[0];
        let size = field("size", &old.size)?;
        let size = u64::try_from(size).map_err(|_negative| format!("size {size} is negative"))?;
        let device = match (kind, header.as_ustar(), header.as_gnu()) {
            (b'3' | b'4', Some(ustar), _) => device(&ustar.dev_major, &ustar.dev_minor),
            (b'3' | b'4', _, Some(gnu)) => device(&gnu.dev_major, &gnu.dev_minor),
            _ => None,
        };
        Ok(Self {
            kind,
            name: header.path_bytes().into_owned(),
            link: header.link_name_bytes().map_or_else(Vec::new, |link| link.into_owned()),
            size,
            mode: u32::try_from(field("mode", &old.mode)? & 0o7777).unwrap_or(0),
            uid: field("uid", &old.uid)?,
            gid: field("gid", &old.gid)?,
            modified: field("mtime", &old.mtime)?,
            device,
            sparse: if kind == b'S' { header.as_gnu().map(SparseMap::parse).transpose()? } else { None },
        })
    }
}

/// The sum of the bytes, of which the sum's own count as spaces. Some programs add them up as signed numbers.
fn check_sum(header: &Header) -> Result<(), String> {
    let stated = number(&header.as_old().cksum);
    let bytes = header.as_bytes();
    let summed = || bytes[..148].iter().chain([b' '; 8].iter()).chain(&bytes[156..]);
    let unsigned: i64 = summed().map(|byte| i64::from(*byte)).sum();
    let signed: i64 = summed().map(|byte| i64::from(byte.cast_signed())).sum();
    if stated == Some(unsigned) || stated == Some(signed) {
        return Ok(());
    }
    Err("its checksum is wrong".to_owned())
}

/// Numbers that mknod(2) takes: 12 bits and 20 bits.
fn device(major: &[u8], minor: &[u8]) -> Option<Device> {
    let part = |bytes, end: u32| u32::try_from(number(bytes)?).ok().filter(|part| *part < end);
    Some(Device { major: part(major, 1 << 12)?, minor: part(minor, 1 << 20)? })
}

/// A number: octal digits, or with the first bit set a big-endian one in two's complement. Nothing is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        // 7 bits of the first byte, of which the highest is the sign; 12 bytes are the longest field.
        let first = i128::from((field[0] << 1).cast_signed() >> 1);
        let value = field[1..].iter().fold(first, |value, byte| value << 8 | i128::from(*byte));
        return i64::try_from(value).ok();
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() {
        return Some(0);
    }
    // from_str_radix takes a sign, which a header has none of.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| i64::from_str_radix(text, 8).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0\0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"777777777777"), Some(0o777_777_777_777));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]), Some(-2));
        for bad in [
            &b"0000648\0"[..],
            b"-000001\0",
            b"+000001\0",
            b"12 34\0",
            &[0x80, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_device_has_a_number_in_range() {
        assert_eq!(device(b"0000001\0", b"0000003\0"), Some(Device { major: 1, minor: 3 }));
        assert_eq!(device(b"0010000\0", b"0000003\0"), None);
        assert_eq!(device(b"0000001\0", b"4000000\0"), None);
    }
}
