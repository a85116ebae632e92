//! `linux.resources.hugepageLimits` (files `hugetlb.SIZE.max` and `hugetlb.SIZE.rsvd.max`).

use oci_spec::runtime as oci;

use super::{CgroupSetting, path_of, setting};
use crate::spec::SpecError;

pub(super) fn read(limits: &[oci::LinuxHugepageLimit]) -> Result<Vec<CgroupSetting>, SpecError> {
    let mut settings = Vec::new();
    for (index, limit) in limits.iter().enumerate() {
        let field = format!("hugepageLimits[{index}]");
        let size = limit.page_size();
        if !is_size(size) {
            return Err(SpecError::invalid(
                path_of(&format!("{field}.pageSize")),
                format!("{size:?} is not of the form 64KB, 2MB or 1GB"),
            ));
        }
        let field = format!("{field}.limit");
        let Ok(bytes) = u64::try_from(limit.limit()) else {
            return Err(SpecError::invalid(path_of(&field), format!("{} is not a size", limit.limit())));
        };
        // Pages in use, and pages reserved by mmap(2), which would otherwise fail only at their first use, by SIGBUS.
        for kind in ["", ".rsvd"] {
            settings.push(setting(
                "hugetlb",
                &field,
                &format!("hugetlb.{size}{kind}.max"),
                bytes.to_string(),
            ));
        }
    }
    Ok(settings)
}

/// A number without leading zeroes, and a unit: part of a file name.
fn is_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or_default();
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{files, pairs};

    #[test]
    fn pages_in_use_and_reserved_are_limited() {
        let json = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#;
        let expected = pairs(&[("hugetlb.2MB.max", "0"), ("hugetlb.2MB.rsvd.max", "0")]);
        assert_eq!(files(json).unwrap(), expected);
    }

    #[test]
    fn a_size_is_no_path() {
        for size in ["", "2", "MB", "02MB", "../2MB", "2mb", "2TB"] {
            let json = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1}}]}}"#);
            let error = files(&json).unwrap_err().to_string();
            assert!(error.starts_with("linux.resources.hugepageLimits[0].pageSize: "), "{error}");
        }
    }
}
