//! `linux.resources.rdma` (file `rdma.max`).

use std::collections::HashMap;

use oci_spec::runtime as oci;

use super::{CgroupSetting, path_of, setting};
use crate::spec::SpecError;

pub(super) fn read(devices: &HashMap<String, oci::LinuxRdma>) -> Result<Vec<CgroupSetting>, SpecError> {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    let mut settings = Vec::new();
    for (name, limits) in devices {
        let field = format!("rdma[{name:?}]");
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(SpecError::invalid(path_of(&field), "is not the name of a device"));
        }
        let mut text = name.clone();
        for (key, count) in [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())] {
            if let Some(count) = count {
                text.push_str(&format!(" {key}={count}"));
            }
        }
        if text == *name {
            return Err(SpecError::invalid(path_of(&field), "needs hcaHandles or hcaObjects"));
        }
        settings.push(setting("rdma", &field, "rdma.max", text));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{files, pairs};

    #[test]
    fn each_device_is_a_line() {
        let json =
            r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "mlx4_0": {"hcaObjects": 1}}}"#;
        let expected =
            [("rdma.max", "mlx4_0 hca_object=1"), ("rdma.max", "mlx5_1 hca_handle=3 hca_object=10")];
        assert_eq!(files(json).unwrap(), pairs(&expected));
        assert!(files(r#"{"rdma": {"a b": {"hcaObjects": 1}}}"#).is_err());
        assert!(files(r#"{"rdma": {"a": {}}}"#).is_err());
    }
}
