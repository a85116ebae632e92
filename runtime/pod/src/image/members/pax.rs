//! Extended headers: records of the form `LENGTH KEY=VALUE\n`.

use super::id;

/// What an extended header says about the member after it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    /// `path`.
    pub(super) path: Option<Vec<u8>>,
    /// `linkpath`.
    pub(super) linkpath: Option<Vec<u8>>,
    /// `size`.
    pub(super) size: Option<u64>,
    /// `uid`.
    pub(super) uid: Option<u32>,
    /// `gid`.
    pub(super) gid: Option<u32>,
    /// `mtime`.
    pub(super) modified: Option<(i64, i64)>,
    /// `SCHILY.xattr.NAME`.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// It has a record `GNU.sparse.*`.
    pub(super) is_sparse: bool,
}

impl Pax {
    /// Reads the records. A value may have any byte, so the lengths alone tell where a record ends.
    ///
    /// # Errors
    /// What is wrong with a record.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, String> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (record, rest) = split(records).ok_or("an extended header with a damaged record")?;
            records = rest;
            let equals = record.iter().position(|byte| *byte == b'=');
            let (key, value) = record.split_at(equals.ok_or("an extended header with a record without =")?);
            pax.take(key, &value[1..])?;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let invalid = || {
            format!(
                "{} of an extended header is no number: {:?}",
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(value)
            )
        };
        let text = || std::str::from_utf8(value).ok();
        let number = || text()?.parse::<i64>().ok();
        // An empty value takes the record of a global header away; there is none here.
        match key {
            _ if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") => {}
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.linkpath = Some(value.to_vec()),
            b"size" => {
                self.size = Some(number().and_then(|size| u64::try_from(size).ok()).ok_or_else(invalid)?);
            }
            b"uid" => self.uid = Some(id(number().ok_or_else(invalid)?)?),
            b"gid" => self.gid = Some(id(number().ok_or_else(invalid)?)?),
            b"mtime" => self.modified = Some(text().and_then(time).ok_or_else(invalid)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
                self.is_sparse |= key.starts_with(b"GNU.sparse.");
            }
        }
        Ok(())
    }
}

/// The first record without its length and newline, and what follows it.
fn split(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

/// Seconds, as a decimal fraction; digits beyond nanoseconds are cut off.
fn time(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    // -1.25 is 1.25 s before the epoch, and nanoseconds count forwards.
    if seconds.starts_with('-') && nanoseconds > 0 {
        return Some((whole.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((whole, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_have_newlines_and_spaces() {
        let pax = Pax::parse(b"31 SCHILY.xattr.user.a=1\n2 =3\n\n12 path=a b\n").unwrap();
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"1\n2 =3\n".to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(&b"a b"[..]));
    }

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12.1234567899"), Some((12, 123_456_789)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("-0.5"), Some((-1, 500_000_000)));
        for bad in ["", ".", "a", "1.x", "1.-5", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"9 a=b\n",
            b"0 a=b\n",
            b"6 abc\n",
            b"99999999999999999999999 a=b\n",
            b"14 size=-1234\n",
            b"13 uid=-1\n\n\n\n",
            b"18 uid=4294967295\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(Pax::parse(b"22 GNU.sparse.major=1\n").unwrap().is_sparse);
        assert_eq!(Pax::parse(b"").unwrap(), Pax::default());
    }
}
