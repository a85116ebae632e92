//! Virtio-serial ports by name: `/dev/virtio-ports/NAME` links to the device that sysfs gives that name.
//!
//! The kernel adds ports and their names some time after the driver is loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vm_init::PORTS_DIR;

use crate::step::{Failure, Step};
use crate::uevents::Uevents;

const CLASS: &str = "/sys/class/virtio-ports";

/// Makes the links, waiting until every wanted name is there.
pub(crate) fn link(wanted: &[String], uevents: &Uevents) -> Result<(), Failure> {
    let missing = |found: &BTreeMap<String, String>| -> Vec<String> {
        wanted.iter().filter(|name| !found.contains_key(*name)).cloned().collect()
    };
    let all = || Some(named_ports()).filter(|found| missing(found).is_empty());
    let Some(found) = uevents.until(all)? else {
        return Err(Failure::new(
            "find virtio-serial port",
            missing(&named_ports()).join(", "),
            "not announced by the kernel; it needs virtio_pci and virtio_console, built in or as modules",
        ));
    };
    fs::create_dir_all(PORTS_DIR).step("create", PORTS_DIR)?;
    for (name, device) in found {
        let path = Path::new(PORTS_DIR).join(&name);
        std::os::unix::fs::symlink(format!("../{device}"), &path).step("link", path.display().to_string())?;
    }
    Ok(())
}

fn named_ports() -> BTreeMap<String, String> {
    let mut ports = BTreeMap::new();
    // The class is missing until the driver is there: no ports yet.
    for entry in fs::read_dir(CLASS).into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        let name = name.trim();
        if !name.is_empty() && !name.contains('/') {
            ports.insert(name.to_owned(), entry.file_name().to_string_lossy().into_owned());
        }
    }
    ports
}
