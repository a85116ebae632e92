//! Moves the system from the initial ramfs to a tmpfs.
//!
//! pivot_root(2) refuses to work when the caller's root is the initial ramfs, so no container runtime could
//! start anything there. Each file is deleted from the ramfs right after its copy: the image is in memory
//! once, plus its largest file.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use crate::step::{Failure, Step};

const NEW_ROOT: &str = "/sysroot";

/// Not taken along: this program, which runs already, and what the real /dev replaces.
const LEFT_BEHIND: [&str; 3] = ["init", "dev", "sysroot"];

pub(crate) fn switch_to_tmpfs() -> Result<(), Failure> {
    fs::create_dir(NEW_ROOT).step("create", NEW_ROOT)?;
    // Three quarters of the memory: the rest keeps the kernel and the command alive when the disk fills up.
    mount(Some("root"), NEW_ROOT, Some("tmpfs"), MsFlags::empty(), Some("mode=0755,size=75%"))
        .step("mount tmpfs", NEW_ROOT)?;
    for entry in fs::read_dir("/").step("list", "/")? {
        let entry = entry.step("list", "/")?;
        let name = entry.file_name();
        if !LEFT_BEHIND.iter().any(|left| name == *left) {
            transfer(&entry.path(), &Path::new(NEW_ROOT).join(&name))?;
        }
    }
    chdir(NEW_ROOT).step("chdir", NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).step("move mount", "/")?;
    chroot(".").step("chroot", "/")?;
    chdir("/").step("chdir", "/")?;
    // As service managers do: runtimes must cope with shared propagation, so the guest has it too.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        .step("make shared", "/")
}

fn transfer(from: &Path, to: &Path) -> Result<(), Failure> {
    let object = || from.display().to_string();
    let metadata = fs::symlink_metadata(from).step("stat", object())?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        fs::DirBuilder::new().mode(0o700).create(to).step("create", to.display().to_string())?;
        for entry in fs::read_dir(from).step("list", object())? {
            let entry = entry.step("list", object())?;
            transfer(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.permissions().mode()))
            .step("chmod", to.display().to_string())?;
        fs::remove_dir(from).step("remove", object())
    } else if kind.is_symlink() {
        let target = fs::read_link(from).step("read link", object())?;
        symlink(target, to).step("link", to.display().to_string())?;
        fs::remove_file(from).step("remove", object())
    } else if kind.is_file() {
        fs::copy(from, to).step("copy", object())?;
        fs::remove_file(from).step("remove", object())
    } else {
        Ok(())
    }
}
