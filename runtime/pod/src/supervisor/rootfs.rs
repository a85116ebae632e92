//! Root file systems and volumes: mounts in the supervisor's own mount namespace, which go with it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat2, renameat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fstat, mkdirat, umask};
use nix::unistd::{chdir, fchdir};

use crate::descriptor::{FDS, fd_path};
use crate::plan::Places;
use crate::plan::cgroup::pod_resources;
use crate::spec::{ContainerSpec, HostPathKind, PodSpec, VolumeSource, VolumeSpec};

/// The writable layer of a run, and what overlayfs needs beside it.
const UPPER: &str = "upper";
const WORK: &str = "work";

/// Size of `/dev/shm`, as container engines have it.
const SHM_BYTES: u64 = 64 << 20;

/// Leaves the mount namespace of the node: mounts made from now on are nobody else's, those of the node still arrive.
pub(super) fn enter_own_namespace() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .context("make the supervisor's mounts slaves of the node's")
}

/// Makes the volumes of a pod, and what its containers share beside them.
pub(super) fn make_volumes(spec: &PodSpec, places: &Places) -> Result<()> {
    for (index, volume) in spec.volumes.iter().enumerate() {
        make_volume(spec, volume, places)
            .with_context(|| format!("spec.volumes[{index}] ({})", volume.name))?;
    }
    if !spec.is_host_ipc {
        tmpfs(&places.shm(), SHM_BYTES, 0o1777)?;
    }
    Ok(())
}

fn make_volume(spec: &PodSpec, volume: &VolumeSpec, places: &Places) -> Result<()> {
    match &volume.source {
        VolumeSource::EmptyDir { is_memory, size_limit_bytes } => {
            let path = places.volume(&volume.name);
            if *is_memory {
                // Without any limit the kernel gives it half of the node's memory.
                tmpfs(&path, memory_limit(spec, *size_limit_bytes).unwrap_or(0), 0o777)?;
            } else {
                directory(&path, 0o777)?;
            }
            if let Some(group) = spec.fs_group {
                chown(&path, None, Some(group)).with_context(|| format!("chown {}", path.display()))?;
                set_mode(&path, 0o2777)?;
            }
            Ok(())
        }
        VolumeSource::HostPath { path, kind } => host_path(path, *kind),
    }
}

/// The size of a volume in memory in bytes: its own limit, and no more than the pod's, of which what it holds is a part.
fn memory_limit(spec: &PodSpec, own: Option<u64>) -> Option<u64> {
    let of_pod = pod_resources(spec).memory_limit_bytes;
    own.into_iter().chain(of_pod).filter(|bytes| *bytes > 0).min()
}

fn host_path(path: &Path, kind: HostPathKind) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let shown = path.display();
    match (kind, fs::metadata(path)) {
        (HostPathKind::Any | HostPathKind::DirectoryOrCreate, Err(error))
            if error.kind() == io::ErrorKind::NotFound =>
        {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .with_context(|| format!("hostPath.path: make {shown}"))
        }
        (HostPathKind::FileOrCreate, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            let mut options = OpenOptions::new();
            let made = options.write(true).create_new(true).mode(0o644).open(path);
            made.map(drop).with_context(|| format!("hostPath.path: make {shown}"))
        }
        (_, Err(error)) => Err(error).with_context(|| format!("hostPath.path: look at {shown}")),
        (_, Ok(found)) => {
            let found = found.file_type();
            let is_right = match kind {
                HostPathKind::Any => true,
                HostPathKind::Directory | HostPathKind::DirectoryOrCreate => found.is_dir(),
                HostPathKind::File | HostPathKind::FileOrCreate => found.is_file(),
                HostPathKind::Socket => found.is_socket(),
                HostPathKind::CharDevice => found.is_char_device(),
                HostPathKind::BlockDevice => found.is_block_device(),
            };
            ensure!(is_right, "hostPath.type: {shown} is there, and is no {kind:?}");
            Ok(())
        }
    }
}

/// Attaches the `subPath`s of a container's mounts, each found inside of its volume whatever links the volume holds.
pub(super) fn attach_sub_paths(spec: &PodSpec, container: &ContainerSpec, places: &Places) -> Result<()> {
    for (index, volume_mount) in container.mounts.iter().enumerate() {
        let Some(sub_path) = &volume_mount.sub_path else { continue };
        let Some(volume) = spec.volumes.iter().find(|volume| volume.name == volume_mount.volume) else {
            bail!("volumeMounts[{index}]: no volume {}", volume_mount.volume);
        };
        let named = || format!("volumeMounts[{index}].subPath {}", sub_path.display());
        let top = places.source(volume);
        let file = open_below(&top, sub_path).with_context(named)?;
        let target = places.sub_path(&container.name, index);
        // An earlier run's mount: what is done to the target would be done to the volume.
        detach(&target);
        let is_directory = fs::metadata(fd_path(&file)).with_context(named)?.is_dir();
        // The earlier run may have made a file of a directory, or the other way round. What fails is told by what comes next.
        drop(if is_directory { fs::remove_file(&target) } else { fs::remove_dir(&target) });
        if is_directory {
            directory(&target, 0o700)?;
        } else {
            let parent = target.parent().unwrap_or(&target);
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
            let mut options = OpenOptions::new();
            let made = options.write(true).create(true).truncate(false).open(&target);
            made.with_context(|| format!("make {}", target.display()))?;
        }
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&fd_path(&file)), &target, None::<&str>, flags, None::<&str>).with_context(named)?;
    }
    Ok(())
}

/// Takes the mounts of [`attach_sub_paths`] away.
pub(super) fn detach_sub_paths(container: &ContainerSpec, places: &Places) {
    let indices = container.mounts.iter().enumerate().filter(|(_, mount)| mount.sub_path.is_some());
    indices.for_each(|(index, _)| detach(&places.sub_path(&container.name, index)));
}

/// Opens a path inside of a directory; missing directories are made, with the mode of that one, as the kubelet does: who may write
/// to the volume may write there. The group comes with its set-group-ID bit. No link leads out.
fn open_below(path: &Path, below: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let top = open(path, flags | OFlag::O_DIRECTORY, Mode::empty())
        .with_context(|| format!("open {}", path.display()))?;
    let beneath = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let find = |below: &Path, more| {
        let how = OpenHow::new().flags(flags | more);
        match openat2(&top, below, how.resolve(beneath)) {
            // Also for a link that is absolute, or leads out and in again. No link that is put in the way meanwhile is followed.
            Err(Errno::EXDEV) => {
                let below = as_the_node_sees(path, below)?;
                openat2(&top, &below, how.resolve(beneath | ResolveFlag::RESOLVE_NO_SYMLINKS))
            }
            result => result,
        }
    };
    let told = |errno| match errno {
        Errno::EXDEV => anyhow!("a link leads out of the volume"),
        Errno::ENOENT => anyhow!("a link leads to nothing"),
        errno => errno.into(),
    };
    match find(below, OFlag::empty()) {
        Err(Errno::ENOENT) => {}
        result => return result.map_err(told),
    }
    let mode = Mode::from_bits_truncate(fstat(&top)?.st_mode & 0o1777);
    // Each part is looked up from the top: a link may lead to another directory of the volume.
    let (mut at, mut so_far) = (top.try_clone()?, PathBuf::new());
    for part in below.components() {
        let part = Path::new(part.as_os_str());
        match make_directory(&at, part, mode) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).with_context(|| format!("make {}", part.display())),
        }
        so_far.push(part);
        at = find(&so_far, OFlag::O_DIRECTORY).map_err(told)?;
    }
    Ok(at)
}

/// Where a path inside of a directory leads without links, from there; `EXDEV` when that is elsewhere. Links lead where they do on the
/// node, as for the kubelet.
fn as_the_node_sees(top: &Path, below: &Path) -> Result<PathBuf, Errno> {
    let real =
        |path: &Path| fs::canonicalize(path).map_err(|error| Errno::try_from(error).unwrap_or(Errno::EINVAL));
    let found = real(&top.join(below))?;
    let rest = found.strip_prefix(real(top)?).map_err(|_outside| Errno::EXDEV)?;
    // The directory itself has no name in itself.
    Ok(Path::new(".").join(rest))
}

/// Makes a directory with this mode, whatever the umask. Not by a change of mode: by then a container may have put another
/// directory in its place.
fn make_directory(at: &OwnedFd, name: &Path, mode: Mode) -> Result<(), Errno> {
    let before = umask(Mode::empty());
    let made = mkdirat(at, name, mode);
    umask(before);
    made
}

/// A root file system that stays when nobody has it mounted any more, until this is dropped: taking an overlay down takes longer
/// than most of what comes between the end of one run and the begin of the next.
#[derive(Debug)]
pub(super) struct Held(OwnedFd);

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn root_of(bundle: &Path) -> PathBuf {
    bundle.join("rootfs")
}

/// Takes the mount of [`mount_root`] from the supervisor's own namespace.
pub(super) fn detach_root(bundle: &Path) {
    detach(&root_of(bundle));
}

/// What mount(2) takes of options, its final NUL included: one page. It cuts the rest off and tells nobody.
const DATA_MAX: usize = 4096;

/// Mounts the root file system of one run of a container: its layers, with an empty writable one above.
pub(super) fn mount_root(bundle: &Path, layers: &[PathBuf], run: u32) -> Result<Held> {
    let (root, scratch) = (root_of(bundle), layer_of(bundle, run));
    if let Err(error) = fs::create_dir(&scratch) {
        // A run that could not be made is tried again; once it has begun, this goes with the other old layers.
        if error.kind() == io::ErrorKind::AlreadyExists {
            set_aside(bundle, run)?;
        }
        fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    }
    let scratch_fd = open_directory(&scratch)?;
    for name in [UPPER, WORK] {
        mkdirat(&scratch_fd, name, Mode::from_bits_truncate(0o755))
            .with_context(|| format!("make {name} in {}", scratch.display()))?;
    }
    present(&root, 0o755)?;
    // By descriptors: a path may hold what overlayfs takes for a separator, and many do not fit in a page.
    let fds = layers.iter().rev().map(|layer| open_directory(layer)).collect::<Result<Vec<OwnedFd>>>()?;
    // The root of the container has the mode and owner of the image's.
    if let Some(top) = fds.first() {
        let (upper, of) = (scratch.join(UPPER), fstat(top)?);
        chown(&upper, Some(of.st_uid), Some(of.st_gid)).context("chown the writable layer")?;
        set_mode(&upper, of.st_mode & 0o7777)?;
    }
    let of_run = fd_path(&scratch_fd);
    let data = |of_layer: &dyn Fn(&OwnedFd) -> String| {
        let lower: Vec<String> = fds.iter().map(of_layer).collect();
        // volatile: what a run has written goes with it, and nobody is to wait until that is on the disk.
        format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            lower.join(":"),
            of_run.join(UPPER).display(),
            of_run.join(WORK).display()
        )
    };
    let by_paths = data(&|fd| fd_path(fd).display().to_string());
    let mounted = if by_paths.len() < DATA_MAX {
        mount_overlay(&root, &by_paths)
    } else {
        // Of 500 layers only the numbers fit.
        let back = open_directory(Path::new("."))?;
        chdir(FDS).context("change to the descriptors")?;
        let mounted = mount_overlay(&root, &data(&|fd| fd.as_raw_fd().to_string()));
        fchdir(&back).context("change back")?;
        mounted
    };
    match mounted {
        Err(Errno::ENODEV) => bail!("this kernel has no overlayfs; load it with: modprobe overlay"),
        result => result.with_context(|| format!("mount an overlay at {}", root.display()))?,
    }
    open_directory(&root).map(Held)
}

fn mount_overlay(root: &Path, data: &str) -> Result<(), Errno> {
    if data.len() >= DATA_MAX {
        return Err(Errno::E2BIG);
    }
    mount(Some("overlay"), root, Some("overlay"), MsFlags::empty(), Some(data))
}

/// Where the writable layers of a container are.
fn scratch_of(bundle: &Path) -> PathBuf {
    bundle.join("scratch")
}

fn layer_of(bundle: &Path, run: u32) -> PathBuf {
    scratch_of(bundle).join(run.to_string())
}

/// The writable layers of a container but that of this run.
pub(super) fn other_layers(bundle: &Path, run: u32) -> Result<Vec<PathBuf>> {
    let (scratch, own) = (scratch_of(bundle), layer_of(bundle, run));
    let named = || format!("list {}", scratch.display());
    let mut others = Vec::new();
    for entry in fs::read_dir(&scratch).with_context(named)? {
        let path = entry.with_context(named)?.path();
        if path != own {
            others.push(path);
        }
    }
    Ok(others)
}

/// Gives the writable layer of a run that is made anew a name that no run has, and tells where it is. Nothing there is an error.
pub(super) fn set_aside(bundle: &Path, run: u32) -> Result<PathBuf> {
    let layer = layer_of(bundle, run);
    let mut n = 0_u64;
    loop {
        let aside = layer.with_file_name(format!("{run}-{n}"));
        match renameat2(AT_FDCWD, &layer, AT_FDCWD, &aside, RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::EEXIST) => n += 1,
            result => {
                result.with_context(|| format!("rename {}", layer.display()))?;
                return Ok(aside);
            }
        }
    }
}

/// Takes a mount away, if there is one. It may still be in use by the container that goes.
pub(super) fn detach(target: &Path) {
    while umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open {}", path.display()))
}

fn tmpfs(path: &Path, size_bytes: u64, mode: u32) -> Result<()> {
    directory(path, mode)?;
    let size = if size_bytes == 0 { String::new() } else { format!(",size={size_bytes}") };
    let data = format!("mode={mode:o}{size}");
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(data.as_str()))
        .with_context(|| format!("mount a tmpfs at {}", path.display()))
}

/// A directory, made with this mode where there is none, whatever the umask.
pub(super) fn present(path: &Path, mode: u32) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // The directories above may be missing.
        _ => directory(path, mode),
    }
}

/// A directory with this mode, whatever the umask.
pub(super) fn directory(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).with_context(|| format!("set the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_missing_host_path_becomes_a_directory_unless_it_must_be_there() {
        let temp = tempfile::tempdir().unwrap();
        for kind in [HostPathKind::Any, HostPathKind::DirectoryOrCreate] {
            let path = temp.path().join(format!("{kind:?}/below"));
            host_path(&path, kind).unwrap();
            assert_eq!(mode(&path), 0o755, "{kind:?}");
        }
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        host_path(&file, HostPathKind::Any).unwrap();
        assert!(file.is_file(), "what is there stays");
        let absent = temp.path().join("absent");
        for kind in [HostPathKind::Directory, HostPathKind::File, HostPathKind::Socket] {
            assert!(host_path(&absent, kind).is_err() && !absent.exists(), "{kind:?}");
        }
    }

    #[test]
    fn a_volume_in_memory_is_no_larger_than_the_pod() {
        use serde_json::json;

        use crate::spec::samples::{read, with_container};

        for (of_pod, own, wanted) in [
            (None, None, None),
            (None, Some(7), Some(7)),
            (Some("1Ki"), None, Some(1024)),
            (Some("1Ki"), Some(0), Some(1024)),
            (Some("1Ki"), Some(7), Some(7)),
            (Some("1Ki"), Some(5000), Some(1024)),
            (Some("0"), None, None),
        ] {
            let limits = of_pod.map_or(json!({}), |memory| json!({"memory": memory}));
            let spec = read(&with_container("resources", json!({"limits": limits}))).unwrap();
            assert_eq!(memory_limit(&spec, own), wanted, "{of_pod:?} {own:?}");
        }
    }

    #[test]
    fn a_link_may_lead_anywhere_inside_of_its_volume() {
        let temp = tempfile::tempdir().unwrap();
        let (top, other) = (temp.path().join("top"), temp.path().join("top-other"));
        for directory in [&top.join("a/b"), &other] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(top.join("a/file"), "").unwrap();
        fs::write(other.join("file"), "").unwrap();
        // The volume may be reached through a link itself.
        symlink(&top, temp.path().join("link")).unwrap();
        for (name, target) in [
            ("absolute", top.join("a/b")),
            ("by-link", temp.path().join("link/a")),
            ("chain", "absolute".into()),
            ("whole", top.clone()),
            ("out-and-in", "../top/a".into()),
            ("outside", other.clone()),
            ("back", "../top-other".into()),
            ("nowhere", top.join("gone")),
        ] {
            symlink(target, top.join(name)).unwrap();
        }
        let inode = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).unwrap();
        for top in [&top, &temp.path().join("link")] {
            for (sub_path, wanted) in [
                ("absolute", "a/b"),
                ("by-link/file", "a/file"),
                ("by-link/b", "a/b"),
                ("chain", "a/b"),
                ("whole", "."),
                ("whole/whole/a", "a"),
                ("out-and-in/file", "a/file"),
            ] {
                let found = open_below(top, Path::new(sub_path)).unwrap();
                assert_eq!(inode(&fd_path(&found)), inode(&top.join(wanted)), "{sub_path}");
            }
            // What is missing is made where the link leads.
            let made = open_below(top, Path::new("chain/new/below")).unwrap();
            assert_eq!(inode(&fd_path(&made)), inode(&top.join("a/b/new/below")));
            fs::remove_dir_all(top.join("a/b/new")).unwrap();
            for (sub_path, wanted) in [
                ("outside", "a link leads out of the volume"),
                ("outside/file", "a link leads out of the volume"),
                ("back/file", "a link leads out of the volume"),
                ("back/made", "a link leads out of the volume"),
                ("nowhere", "a link leads to nothing"),
                ("nowhere/made", "a link leads to nothing"),
            ] {
                let error = open_below(top, Path::new(sub_path)).unwrap_err();
                assert_eq!(error.to_string(), wanted, "{sub_path}");
            }
        }
        assert!(!other.join("made").exists() && !top.join("gone").exists());
    }

    #[test]
    fn a_sub_path_is_made_with_the_mode_of_its_volume() {
        let temp = tempfile::tempdir().unwrap();
        let before = temp.path().join("before");
        fs::create_dir(&before).unwrap();
        for (index, wanted) in [0o777, 0o700, 0o2777, 0o2770, 0o1777].into_iter().enumerate() {
            let top = temp.path().join(index.to_string());
            directory(&top, wanted).unwrap();
            open_below(&top, Path::new("a/b")).unwrap();
            assert_eq!((mode(&top.join("a")), mode(&top.join("a/b"))), (wanted, wanted), "{wanted:o}");
            // What is there keeps its own.
            directory(&top.join("a"), 0o751).unwrap();
            open_below(&top, Path::new("a/c")).unwrap();
            assert_eq!(mode(&top.join("a")), 0o751);
        }
        fs::create_dir(temp.path().join("after")).unwrap();
        assert_eq!(mode(&temp.path().join("after")), mode(&before), "the umask is as it was");
    }
}
