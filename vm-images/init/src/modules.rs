//! Kernel modules: finit_module(2) in the order that the host worked out. A loaded module's file is deleted,
//! since the image lies in memory.

use std::fs::File;
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use vm_init::MODULES_DIR;

use crate::step::{Failure, Step};

pub(crate) fn load(names: &[String]) -> Result<(), Failure> {
    for name in names {
        let path = Path::new(MODULES_DIR).join(name);
        let object = || path.display().to_string();
        let file = File::open(&path).step("open module", object())?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            // Built into this kernel, or loaded already: what is wanted is there.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => {
                return Err(Failure::new(
                    "load module",
                    object(),
                    format!("{errno} (ENOENT: a module that it needs is missing or comes later)"),
                ));
            }
        }
        std::fs::remove_file(&path).step("remove", object())?;
    }
    Ok(())
}
