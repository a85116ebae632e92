//! The container's mounts and its root (pivot_root(2), mount_namespaces(7)).
//!
//! Everything is mounted while the old root is still there: in a user namespace a new proc or sysfs is
//! only allowed next to a visible one. Targets are opened inside the new root, never by a joined path.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat, readlinkat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::super::{Context, StepError};
use super::{Init, copy};
use crate::plan::TreeSlot;
use crate::spec::mounts::Attributes;
use crate::spec::{MountKind, MountSpec, NsKind, Propagation, PropagationMode};
use crate::sys::mount::{FsContext, attach as attach_mount, clone_tree, open_in_root, set_attributes};

const RDONLY: Attributes = Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0 };
const NO_CHANGE: Attributes = Attributes { set: 0, clear: 0 };
/// As many links as the kernel follows in a path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Attaches the root file system on top of the root.
pub(super) fn attach(rootfs: BorrowedFd<'_>, propagation: Option<Propagation>) -> Result<(), StepError> {
    // Nothing that is mounted from here on may appear on the node.
    let root = open_path("/")?;
    set_attributes(root.as_fd(), NO_CHANGE, libc::MS_PRIVATE, true).during(|| "make all mounts private")?;
    // A slave has to stay one from the start; any other mode is set after the pivot.
    let mode = match propagation {
        Some(Propagation { mode: PropagationMode::Slave, .. }) => libc::MS_SLAVE,
        _ => libc::MS_PRIVATE,
    };
    set_attributes(rootfs, NO_CHANGE, mode, true).during(|| "set its propagation")?;
    attach_mount(rootfs, root.as_fd())?;
    Ok(())
}

/// Takes the root file system away again where it would outlive this process: in a mount namespace of others.
pub(super) fn detach_if_joined(init: &Init<'_>) {
    let is_joined = init.namespaces.iter().any(|(kind, _)| *kind == NsKind::Mount);
    if let (true, Ok(rootfs)) = (is_joined, init.rootfs()) {
        // Fails when it was not attached yet, or is the root by now: then there is nothing to take away.
        let _best_effort = fchdir(rootfs).and_then(|()| umount2(".", MntFlags::MNT_DETACH));
    }
}

/// Makes one of `mounts`.
pub(super) fn mount<'a>(
    rootfs: BorrowedFd<'_>,
    spec: &MountSpec,
    tree: impl Fn(TreeSlot) -> Result<BorrowedFd<'a>, StepError>,
) -> Result<(), StepError> {
    match &spec.kind {
        MountKind::Filesystem { fstype, source, parameters } => {
            // A directory that is only made for the mount has nothing to give, its mode included.
            let has_something = spec.has_copy_up && existing(rootfs, &spec.destination)?.is_some();
            let target = make_directory(rootfs, &spec.destination)?;
            let mount = if has_something {
                let mount = new_filesystem(fstype, source, parameters, 0)?;
                copy::directory(target.as_fd(), mount.as_fd()).during(|| "copy what was there")?;
                // It may be made read-only by these.
                finish(mount.as_fd(), spec, spec.attributes)?;
                mount
            } else {
                let mount = new_filesystem(fstype, source, parameters, spec.attributes.set)?;
                finish(mount.as_fd(), spec, Attributes::default())?;
                mount
            };
            attach_mount(mount.as_fd(), target.as_fd()).during(|| "attach it")
        }
        MountKind::Bind { .. } => {
            let source = tree(TreeSlot::Mount(spec.index))?;
            let target = if is_directory(&fstat(source)?) {
                make_directory(rootfs, &spec.destination)?
            } else {
                make_file(rootfs, &spec.destination)?
            };
            // A copy of a shared mount is shared with it: what the bundle does not ask for is private.
            if spec.propagation.is_empty() {
                set_attributes(source, NO_CHANGE, libc::MS_PRIVATE, true).during(|| "make it private")?;
            }
            finish(source, spec, spec.attributes)?;
            attach_mount(source, target.as_fd()).during(|| "attach it")
        }
        MountKind::Remount { parameters } => {
            let target = open_in_root(rootfs, &spec.destination, OFlag::O_PATH)
                .during(|| "open it in the root file system")?;
            if let Some(parameters) = parameters {
                let context = FsContext::of(target.as_fd()).during(|| "it is not a mount")?;
                set_parameters(&context, parameters)?;
                context.reconfigure().during(|| told(&context, String::from("change the file system")))?;
            }
            finish(target.as_fd(), spec, spec.attributes)
        }
        MountKind::Cgroup => Err(Errno::ENOTSUP.into()),
    }
}

/// Attributes and propagation of a mount that is still detached.
fn finish(mount: BorrowedFd<'_>, spec: &MountSpec, attributes: Attributes) -> Result<(), StepError> {
    if !attributes.is_empty() {
        set_attributes(mount, attributes, 0, false).during(|| "set its options")?;
    }
    if !spec.recursive_attributes.is_empty() {
        set_attributes(mount, spec.recursive_attributes, 0, true).during(|| "set its recursive options")?;
    }
    for propagation in &spec.propagation {
        set_attributes(mount, NO_CHANGE, propagation.mode.flag(), propagation.is_recursive)
            .during(|| "set its propagation")?;
    }
    Ok(())
}

fn new_filesystem(
    fstype: &str,
    source: &str,
    parameters: &[(String, Option<String>)],
    attributes: u64,
) -> Result<OwnedFd, StepError> {
    let text = |text: &str| CString::new(text).map_err(|_nul| Errno::EINVAL);
    let context = FsContext::open(&text(fstype)?)
        .during(|| format!("open file system type {fstype} (see /proc/filesystems)"))?;
    let source = if source.is_empty() { fstype } else { source };
    let source = (String::from("source"), Some(source.to_owned()));
    set_parameters(&context, std::iter::once(&source).chain(parameters))?;
    context.mount(attributes).during(|| told(&context, String::from("make the file system")))
}

fn set_parameters<'a>(
    context: &FsContext,
    parameters: impl IntoIterator<Item = &'a (String, Option<String>)>,
) -> Result<(), StepError> {
    let text = |text: &str| CString::new(text).map_err(|_nul| Errno::EINVAL);
    for (key, value) in parameters {
        let value_c = value.as_deref().map(text).transpose()?;
        context.set(&text(key)?, value_c.as_deref()).during(|| {
            let option = match value {
                Some(value) => format!("option {key}={value}"),
                None => format!("option {key}"),
            };
            told(context, option)
        })?;
    }
    Ok(())
}

/// What failed, with what the kernel adds to the errno, if anything.
fn told(context: &FsContext, what: String) -> String {
    match context.message() {
        Some(message) => format!("{what}: {message}"),
        None => what,
    }
}

/// Makes a path read-only, with the mounts below it. A path that does not exist is a success.
pub(super) fn make_readonly(rootfs: BorrowedFd<'_>, path: &Path) -> Result<(), StepError> {
    let Some(target) = existing(rootfs, path)? else { return Ok(()) };
    let copy = clone_tree(target.as_fd(), Path::new(""), true).during(|| "bind it")?;
    set_attributes(copy.as_fd(), RDONLY, 0, true)?;
    attach_mount(copy.as_fd(), target.as_fd()).during(|| "attach it")
}

/// Hides a path: a file under the null device, a directory under an empty one. A path that does not exist is a success.
pub(super) fn mask(rootfs: BorrowedFd<'_>, path: &Path) -> Result<(), StepError> {
    let Some(target) = existing(rootfs, path)? else { return Ok(()) };
    let cover = if is_directory(&fstat(&target)?) {
        new_filesystem("tmpfs", "tmpfs", &[("nr_inodes".into(), Some("1".into()))], libc::MOUNT_ATTR_RDONLY)?
    } else {
        super::devices::node_of_host(Path::new("/dev/null"), 1, 3)?
    };
    attach_mount(cover.as_fd(), target.as_fd()).during(|| "attach it")
}

/// Makes the root file system the root, and lets go of the old one.
pub(super) fn pivot(rootfs: BorrowedFd<'_>) -> Result<(), StepError> {
    fchdir(rootfs)?;
    // Onto itself: the old root is stacked on the new one, where no directory has to be made for it (pivot_root(2)).
    pivot_root(".", ".").during(|| {
        "pivot_root (it is refused when the node's root is the initial ramfs: switch to another root first, or use --no-pivot)"
    })?;
    umount2(".", MntFlags::MNT_DETACH).during(|| "detach the old root")?;
    chdir("/").during(|| "enter the new root")
}

/// As [`pivot`], where that is refused: the old root stays below the new one.
pub(super) fn change_root(rootfs: BorrowedFd<'_>) -> Result<(), StepError> {
    fchdir(rootfs)?;
    chroot(".").during(|| "chroot")?;
    chdir("/").during(|| "enter the new root")
}

/// Sets the propagation of the root mount.
pub(super) fn set_root_propagation(propagation: Propagation) -> Result<(), StepError> {
    let root = open_path("/")?;
    Ok(set_attributes(root.as_fd(), NO_CHANGE, propagation.mode.flag(), propagation.is_recursive)?)
}

/// Makes the root mount read-only, without the mounts below.
pub(super) fn make_root_readonly() -> Result<(), StepError> {
    let root = open_path("/")?;
    Ok(set_attributes(root.as_fd(), RDONLY, 0, false)?)
}

/// Enters the working directory, making it if need be. Links of `/proc` that jump out of the root are not followed.
pub(super) fn enter(path: &Path) -> Result<(), StepError> {
    let root = open_path("/")?;
    let directory = make_directory(root.as_fd(), path)?;
    fchdir(&directory)?;
    Ok(())
}

/// Enters a working directory that must exist, as [`enter`].
pub(super) fn enter_existing(path: &Path) -> Result<(), StepError> {
    let root = open_path("/")?;
    let directory = open_in_root(&root, path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    fchdir(&directory)?;
    Ok(())
}

pub(super) fn open_path(path: &str) -> Result<OwnedFd, StepError> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during(|| format!("open {path}"))
}

fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

fn existing(rootfs: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, StepError> {
    match open_in_root(rootfs, path, OFlag::O_PATH) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        result => Ok(Some(result?)),
    }
}

/// Opens a directory in the root, making the missing parts of its path.
pub(super) fn make_directory(rootfs: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, StepError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match open_in_root(rootfs, path, flags) {
        Err(Errno::ENOENT) => {}
        result => return result.during(|| format!("open {} in the root file system", path.display())),
    }
    let made =
        make_last(rootfs, path, |parent, name| mkdirat(parent, name, Mode::from_bits_truncate(0o755)))?;
    if made.is_some_and(|made| made.is_ok()) {
        return open_in_root(rootfs, path, flags)
            .during(|| format!("make {} in the root file system", path.display()));
    }
    // Part by part, where links lead to what is missing, and for the error.
    let path = without_links(rootfs, path)?;
    let mut so_far = PathBuf::from("/");
    let mut directory = open_in_root(rootfs, &so_far, flags)?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        so_far.push(name);
        directory = match open_in_root(rootfs, &so_far, flags) {
            Err(Errno::ENOENT) => mkdirat(&directory, name, Mode::from_bits_truncate(0o755))
                .and_then(|()| open_in_root(rootfs, &so_far, flags)),
            result => result,
        }
        .during(|| format!("make {} in the root file system", so_far.display()))?;
    }
    Ok(directory)
}

/// Opens a file in the root, making an empty one if need be.
pub(super) fn make_file(rootfs: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, StepError> {
    let make = |parent: BorrowedFd<'_>, name: &OsStr| {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(parent, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
    };
    let opened = match open_in_root(rootfs, path, OFlag::O_PATH) {
        Err(Errno::ENOENT) => match make_last(rootfs, path, make)? {
            // Without a slash at the end, which a file must not have.
            Some(Ok(())) => open_in_root(rootfs, path.components().as_path(), OFlag::O_PATH),
            _ => {
                let path = without_links(rootfs, path)?;
                let (directory, name) = parent_and_name(rootfs, &path)?;
                make(directory.as_fd(), name).and_then(|()| open_in_root(rootfs, &path, OFlag::O_PATH))
            }
        },
        result => result,
    };
    opened.during(|| format!("make {} in the root file system", path.display()))
}

/// Makes the last part of a path that cannot be opened, in the directory that the others lead to, which is made if need be. `None`
/// where the path goes up again: behind a link to what is missing it would lead elsewhere.
fn make_last(
    rootfs: BorrowedFd<'_>,
    path: &Path,
    make: impl Fn(BorrowedFd<'_>, &OsStr) -> Result<(), Errno>,
) -> Result<Option<Result<(), Errno>>, StepError> {
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let (true, Some(parent), Some(name)) = (path.components().all(is_plain), path.parent(), path.file_name())
    else {
        return Ok(None);
    };
    if parent == Path::new("/") {
        return Ok(Some(make(rootfs, name)));
    }
    let parent = make_directory(rootfs, parent)?;
    Ok(Some(make(parent.as_fd(), name)))
}

/// Where a path leads whose end, or more, may be missing: a link to what is to be made cannot be opened. What is opened by the
/// result is looked up in the root again, so that a link that changes in between leads nowhere else.
fn without_links(rootfs: BorrowedFd<'_>, path: &Path) -> Result<PathBuf, StepError> {
    let (mut so_far, mut rest, mut n_links) = (PathBuf::from("/"), path.to_owned(), 0);
    loop {
        let mut parts = rest.components();
        let Some(part) = parts.next() else { return Ok(so_far) };
        let mut behind = parts.as_path().to_owned();
        match part {
            Component::RootDir => so_far = PathBuf::from("/"),
            Component::ParentDir => drop(so_far.pop()),
            Component::Normal(name) => {
                let link = open_in_root(rootfs, &so_far.join(name), OFlag::O_PATH | OFlag::O_NOFOLLOW)
                    .and_then(|link| readlinkat(&link, ""));
                match link {
                    Ok(target) => {
                        n_links += 1;
                        if n_links > MAX_LINKS {
                            return Err(Errno::ELOOP)
                                .during(|| format!("follow the links of {}", path.display()));
                        }
                        behind = Path::new(&target).join(behind);
                    }
                    // Not there, or no link.
                    Err(_) => so_far.push(name),
                }
            }
            Component::CurDir | Component::Prefix(_) => {}
        }
        rest = behind;
    }
}

/// Opens the directory that a path is in, making it if need be.
pub(super) fn parent_and_name<'a>(
    rootfs: BorrowedFd<'_>,
    path: &'a Path,
) -> Result<(OwnedFd, &'a OsStr), StepError> {
    let name = path.file_name().ok_or(Errno::EISDIR)?;
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    Ok((make_directory(rootfs, parent)?, name))
}

/// A detached copy of a file of the node, by its path there.
pub(super) fn clone_of_host(path: &Path) -> Result<OwnedFd, StepError> {
    clone_tree(AT_FDCWD, path, false).during(|| format!("bind {} of the node", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_link_leads_to_is_made_inside_of_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("root");
        fs::create_dir_all(top.join("usr/etc")).unwrap();
        for (name, target) in [
            ("etc", "usr/etc"),
            ("usr/etc/conf", "../run/none/conf"),
            ("out", "../../../else"),
            ("absolute", "/etc/../new"),
            ("loop", "loop"),
        ] {
            symlink(target, top.join(name)).unwrap();
        }
        let root = open_path(top.to_str().unwrap()).unwrap();
        make_file(root.as_fd(), Path::new("/etc/conf")).unwrap();
        make_directory(root.as_fd(), Path::new("/out/below")).unwrap();
        make_directory(root.as_fd(), Path::new("/absolute")).unwrap();
        assert!(top.join("usr/run/none/conf").is_file());
        assert!(top.join("else/below").is_dir());
        assert!(top.join("usr/new").is_dir());
        make_directory(root.as_fd(), Path::new("/out/deep/er")).unwrap();
        make_directory(root.as_fd(), Path::new("/none/../up")).unwrap();
        make_file(root.as_fd(), Path::new("/far/below/file/")).unwrap();
        assert!(top.join("else/deep/er").is_dir());
        assert!(top.join("up").is_dir() && !top.join("none").exists());
        assert!(top.join("far/below/file").is_file());
        assert!(make_directory(root.as_fd(), Path::new("/loop/below")).is_err());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "something was made outside");
    }
}
