//! Moves the system from the initial ramfs to a tmpfs, or to the image on a disk.
//!
//! pivot_root(2) refuses to work when the caller's root is the initial ramfs, so no container runtime could
//! start anything there. Each file is deleted from the ramfs right after its copy: the ramfs is in memory
//! once, plus its largest file. The image on a disk is read-only; an overlay keeps in memory what is written over it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use crate::step::{Failure, Step};
use crate::uevents::Uevents;

const NEW_ROOT: &str = "/sysroot";

/// Where the image and the tmpfs of an overlay are mounted; both are out of sight once the root has moved.
const LOWER: &str = "/lower";
const LAYERS: &str = "/layers";

/// Not taken along: this program, which runs already, what the real /dev replaces, and mount points.
const LEFT_BEHIND: [&str; 5] = ["init", "dev", "sysroot", "lower", "layers"];

/// Below it the image keeps what it has: its programs were linked against these libraries.
const LIBRARIES: &str = "/sysroot/usr/lib";

/// Three quarters of the memory: the rest keeps the kernel and the command alive when the disk fills up.
const TMPFS: &str = "mode=0755,size=75%";

/// Makes a tmpfs the root, or the image on `device` with a tmpfs over it, and lays the ramfs's files over that.
pub(crate) fn switch(device: Option<&str>, uevents: &Uevents) -> Result<(), Failure> {
    fs::create_dir(NEW_ROOT).step("create", NEW_ROOT)?;
    match device {
        Some(device) => mount_image(device, uevents)?,
        None => mount(Some("root"), NEW_ROOT, Some("tmpfs"), MsFlags::empty(), Some(TMPFS))
            .step("mount tmpfs", NEW_ROOT)?,
    }
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

fn mount_image(device: &str, uevents: &Uevents) -> Result<(), Failure> {
    mount(Some("devtmpfs"), "/dev", Some("devtmpfs"), MsFlags::MS_NOSUID, None::<&str>)
        .step("mount devtmpfs", "/dev")?;
    if uevents.until(|| Path::new(device).exists().then_some(()))?.is_none() {
        return Err(Failure::new(
            "find disk",
            device,
            "not announced by the kernel; it needs virtio_pci and virtio_blk, built in or as modules",
        ));
    }
    fs::create_dir(LOWER).step("create", LOWER)?;
    mount(Some(device), LOWER, Some("erofs"), MsFlags::MS_RDONLY, None::<&str>)
        .step("mount erofs", device)?;
    fs::create_dir(LAYERS).step("create", LAYERS)?;
    mount(Some("root"), LAYERS, Some("tmpfs"), MsFlags::empty(), Some(TMPFS)).step("mount tmpfs", LAYERS)?;
    for layer in ["upper", "work"] {
        let path = Path::new(LAYERS).join(layer);
        fs::DirBuilder::new().mode(0o755).create(&path).step("create", path.display().to_string())?;
    }
    let options = format!("lowerdir={LOWER},upperdir={LAYERS}/upper,workdir={LAYERS}/work");
    mount(Some("root"), NEW_ROOT, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .step("mount overlay", NEW_ROOT)
}

fn transfer(from: &Path, to: &Path) -> Result<(), Failure> {
    let object = || from.display().to_string();
    let metadata = fs::symlink_metadata(from).step("stat", object())?;
    let kind = metadata.file_type();
    // Only an image has something there already: its own programs before links to busybox, its own libraries.
    let is_there = !kind.is_dir() && fs::symlink_metadata(to).is_ok();
    if is_there && (kind.is_symlink() || to.starts_with(LIBRARIES)) {
        return fs::remove_file(from).step("remove", object());
    }
    if is_there {
        // Not through a link of the image, which would change another of its files.
        fs::remove_file(to).step("replace", to.display().to_string())?;
    }
    if kind.is_dir() {
        // Through links too: the image may have `bin` as a link to `usr/bin`.
        let is_new = !to.is_dir();
        if is_new {
            fs::DirBuilder::new().mode(0o700).create(to).step("create", to.display().to_string())?;
        }
        for entry in fs::read_dir(from).step("list", object())? {
            let entry = entry.step("list", object())?;
            transfer(&entry.path(), &to.join(entry.file_name()))?;
        }
        if is_new {
            fs::set_permissions(to, fs::Permissions::from_mode(metadata.permissions().mode()))
                .step("chmod", to.display().to_string())?;
        }
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
