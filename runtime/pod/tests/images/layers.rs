//! What layers become: attributes, links, devices, and what overlayfs shows of several.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use pod::image::Image;
use runtime::sys::xattr;
use tar::{EntryType, Header};

use crate::Case;
use crate::fixture::{Cell, Layer, Layout, ensure, same};

pub(crate) const CASES: &[Case] = &[
    ("layers::owners_modes_times_and_attributes_are_kept", attributes),
    ("layers::attributes_that_speak_to_overlayfs_are_left_out", attributes_left_out),
    ("layers::links_and_devices_are_kept", kinds),
    ("layers::an_entry_replaces_the_one_before", duplicates),
    ("layers::links_lead_to_directories_inside", links),
    ("layers::long_names_and_holes", names_and_holes),
    ("layers::directories_without_an_entry_are_as_below", inherited),
    ("layers::overlayfs_shows_what_the_image_means", merged),
    ("layers::whiteouts_concern_the_layers_below_only", whiteouts),
    ("layers::an_opaque_root_hides_all_layers_below", opaque_root),
];

/// The directory of the only layer.
fn only(image: &Image) -> Result<&Path, Failed> {
    match &image.layers[..] {
        [layer] => Ok(layer),
        layers => Err(format!("{} layers", layers.len()).into()),
    }
}

/// VFS_CAP_REVISION_2, effective, with bits 1 and 3: a byte that is a newline.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn attributes() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let owner = |mode: u32| {
        move |header: &mut Header| {
            header.set_mode(mode);
            header.set_uid(1000);
            header.set_gid(70_000);
        }
    };
    let records = [
        ("mtime", &b"1234.5"[..]),
        ("SCHILY.xattr.user.a", b"b\nc"),
        ("SCHILY.xattr.security.capability", CAPABILITY),
    ];
    let layer = Layer::new()
        .entry(EntryType::Directory, "d/", owner(0o3775), &[])
        .pax(&records)
        .entry(EntryType::Regular, "d/f", owner(0o6711), b"data")
        .entry(EntryType::Regular, "d/closed", owner(0o000), b"")
        .pax(&[("uid", b"5"), ("mtime", b"-2.25")])
        .symlink("d/l", "f");
    let image = cell.resolve(&Layout::of(&[layer]))?;
    let layer = only(&image)?;
    let of = |name: &str| fs::symlink_metadata(layer.join(name));
    let (directory, file) = (of("d")?, of("d/f")?);
    same((directory.mode() & 0o7777, directory.uid(), directory.gid()), (0o3775, 1000, 70_000), "directory")?;
    same(directory.mtime(), 1_000_000_000, "time of the directory, in which files were made after it")?;
    same((file.mode() & 0o7777, file.uid(), file.gid()), (0o6711, 1000, 70_000), "file")?;
    same((file.mtime(), file.mtime_nsec()), (1234, 500_000_000), "time of the file")?;
    // A file system in memory has no attributes of users before Linux 6.6.
    let has_user = match xattr::set(&cell.path("outside"), c"user.a", b"b") {
        Ok(()) => true,
        Err(Errno::EOPNOTSUPP) => false,
        Err(errno) => return Err(format!("set an attribute: {errno}").into()),
    };
    let attribute = has_user.then(|| b"b\nc".to_vec());
    same(xattr::get(&layer.join("d/f"), c"user.a"), attribute, "attribute")?;
    same(xattr::get(&layer.join("d/f"), c"security.capability"), Some(CAPABILITY.to_vec()), "capability")?;
    same(of("d/closed")?.mode() & 0o7777, 0, "closed file")?;
    let link = of("d/l")?;
    same((link.uid(), link.mtime(), link.mtime_nsec()), (5, -3, 750_000_000), "link")?;
    let root = fs::metadata(layer)?;
    same((root.mode() & 0o7777, root.uid(), root.gid()), (0o755, 0, 0), "root without an entry")
}

fn attributes_left_out() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let left_out = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.a",
        "user.overlay.opaque",
        "security.selinux",
    ];
    let keys: Vec<String> = left_out.iter().map(|name| format!("SCHILY.xattr.{name}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"y"[..])).collect();
    let layer = Layer::new().pax(&records).directory("d", 0o755).pax(&records).file("f", "");
    let image = cell.resolve(&Layout::of(&[layer]))?;
    for (name, file) in left_out.iter().flat_map(|name| [(name, "d"), (name, "f")]) {
        let key = std::ffi::CString::new(*name)?;
        same(xattr::get(&only(&image)?.join(file), &key), None, name)?;
    }
    Ok(())
}

fn kinds() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let layer = Layer::new()
        .file("a", "data")
        .hard_link("b/c", "./a")
        .hard_link("b/d", "/b/c")
        .symlink("l", "../../no/such")
        .hard_link("l2", "l")
        .device(EntryType::Char, "null", 1, 3)
        .device(EntryType::Block, "disk", 259, 300)
        .device(EntryType::Fifo, "fifo", 0, 0)
        .hard_link("a", "b/c");
    let image = cell.resolve(&Layout::of(&[layer]))?;
    let layer = only(&image)?;
    let of = |name: &str| fs::symlink_metadata(layer.join(name));
    same((of("a")?.ino(), of("a")?.nlink()), (of("b/d")?.ino(), 3), "hard links")?;
    same(fs::read_link(layer.join("l"))?, PathBuf::from("../../no/such"), "symbolic link")?;
    same(of("l2")?.ino(), of("l")?.ino(), "hard link to a symbolic link")?;
    ensure(of("null")?.file_type().is_char_device(), || "no character device".to_owned())?;
    same(of("null")?.rdev(), nix::sys::stat::makedev(1, 3), "number of the character device")?;
    ensure(of("disk")?.file_type().is_block_device(), || "no block device".to_owned())?;
    same(of("disk")?.rdev(), nix::sys::stat::makedev(259, 300), "number of the block device")?;
    ensure(of("fifo")?.file_type().is_fifo(), || "no fifo".to_owned())?;
    same(of("fifo")?.mode() & 0o7777, 0o755, "mode of the fifo")
}

fn duplicates() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let layer = Layer::new()
        .file("f", "one")
        .hard_link("g", "f")
        .file("f", "two")
        .directory("d", 0o700)
        .file("d/in/deep", "")
        .directory("d", 0o711)
        .directory("e", 0o700)
        .file("e/in/deep", "")
        .file("e", "a file")
        .symlink("s", "d")
        .directory("s", 0o755)
        .file("s/x", "")
        .file("t", "")
        .directory("t/", 0o755)
        .file("t/y", "");
    let image = cell.resolve(&Layout::of(&[layer]))?;
    let layer = only(&image)?;
    let text = |name: &str| fs::read_to_string(layer.join(name));
    same(
        (text("f")?, text("g")?),
        ("two".to_owned(), "one".to_owned()),
        "a replaced file and its other name",
    )?;
    same(fs::metadata(layer.join("d"))?.mode() & 0o7777, 0o711, "mode of a directory with two entries")?;
    ensure(layer.join("d/in/deep").exists(), || "a directory was emptied".to_owned())?;
    same(text("e")?, "a file".to_owned(), "a replaced directory")?;
    ensure(fs::symlink_metadata(layer.join("s"))?.is_dir(), || "a link was not replaced".to_owned())?;
    ensure(!layer.join("d/x").exists(), || "an entry went through a replaced link".to_owned())?;
    ensure(layer.join("t/y").exists(), || "a file was not replaced".to_owned())
}

fn links() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let layer = Layer::new()
        .directory("usr/lib", 0o755)
        .symlink("lib", "/usr/lib")
        .symlink("usr/up", "../../../../usr/./lib")
        .symlink("new", "made/for/it")
        .file("lib/a", "a")
        .file("usr/up/b", "b")
        .file("new/c", "c")
        .hard_link("d", "lib/a");
    let image = cell.resolve(&Layout::of(&[layer]))?;
    let layer = only(&image)?;
    for (name, text) in [("usr/lib/a", "a"), ("usr/lib/b", "b"), ("made/for/it/c", "c"), ("d", "a")] {
        same(fs::read_to_string(layer.join(name))?, text.to_owned(), name)?;
    }
    ensure(fs::symlink_metadata(layer.join("lib"))?.is_symlink(), || "a link was replaced".to_owned())
}

fn names_and_holes() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let long = format!("{}/{}", "d".repeat(255), "f".repeat(255));
    let set = |header: &mut Header| {
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.realsize.copy_from_slice(b"00004000000\0");
            gnu.sparse[0].offset.copy_from_slice(b"00000200000\0");
            gnu.sparse[0].numbytes.copy_from_slice(b"00000000003\0");
        }
    };
    let layer = Layer::new()
        .file(&long, "long")
        .symlink("l", &long)
        .hard_link("h", &long)
        .pax(&[("path", b"odd \n\xff name")])
        .file("short", "odd")
        .entry(EntryType::GNUSparse, "holes", set, b"abc");
    let image = cell.resolve(&Layout::of(&[layer]))?;
    let layer = only(&image)?;
    for name in [&long, "l", "h"] {
        same(fs::read_to_string(layer.join(name))?, "long".to_owned(), name)?;
    }
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"odd \n\xff name");
    same(fs::read_to_string(layer.join(odd))?, "odd".to_owned(), "odd name")?;
    let mut holes = Vec::new();
    fs::File::open(layer.join("holes"))?.read_to_end(&mut holes)?;
    let wanted = [vec![0; 0o200_000], b"abc".to_vec(), vec![0; 0o4_000_000 - 0o200_003]].concat();
    ensure(holes == wanted, || format!("{} bytes, and not those of the archive", holes.len()))?;
    let blocks = fs::metadata(layer.join("holes"))?.blocks();
    ensure(blocks < 512, || format!("{blocks} blocks: the holes were filled"))
}

fn inherited() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let set = |header: &mut Header| {
        header.set_mode(0o1777);
        header.set_uid(7);
        header.set_mtime(5);
    };
    let lowest = Layer::new()
        .entry(EntryType::Directory, "./", set, &[])
        .entry(EntryType::Directory, "tmp", set, &[])
        .entry(EntryType::Directory, "gone", set, &[])
        .entry(EntryType::Directory, "opaque/in", set, &[])
        .symlink("link", "tmp");
    let middle = Layer::new().file(".wh.gone", "").file("opaque/.wh..wh..opq", "").file("other", "");
    let highest = Layer::new()
        .file("tmp/a", "")
        .file("gone/a", "")
        .file("opaque/in/a", "")
        .file("link/a", "")
        .file("new/a", "");
    let image = cell.resolve(&Layout::of(&[lowest, middle, highest]))?;
    let highest = &image.layers[2];
    let is = |name: &str, wanted: (u32, u32)| -> Result<(), Failed> {
        let meta = fs::symlink_metadata(highest.join(name))?;
        same((meta.mode() & 0o7777, meta.uid()), wanted, name)
    };
    is("", (0o1777, 7))?;
    is("tmp", (0o1777, 7))?;
    same(fs::metadata(highest.join("tmp"))?.mtime(), 5, "time of an inherited directory")?;
    same(fs::metadata(highest)?.mtime(), 5, "time of the root")?;
    // Removed or hidden in between, a link, and one that is new.
    for name in ["gone", "opaque/in", "link", "new"] {
        is(name, (0o755, 0))?;
    }
    Ok(())
}

/// A mount of an image's layers.
struct Merged(PathBuf);

impl Merged {
    fn mount(cell: &Cell, image: &Image) -> Result<Self, Failed> {
        let [upper, work, target] = ["store/upper", "store/work", "store/merged"].map(|name| cell.path(name));
        for path in [&upper, &work, &target] {
            fs::create_dir(path)?;
        }
        let lower: Vec<String> = image.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        mount(Some("overlay"), &target, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
        Ok(Self(target))
    }

    /// Every file with its content, every other thing with its type.
    fn list(&self) -> Result<BTreeMap<String, String>, Failed> {
        let mut all = BTreeMap::new();
        let mut todo = vec![self.0.clone()];
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                let name = path.strip_prefix(&self.0)?.display().to_string();
                // A whiteout that shows in the list is not there when it is looked at.
                let meta =
                    fs::symlink_metadata(&path).map_err(|error| format!("{name} is listed: {error}"))?;
                let what = if meta.is_dir() {
                    todo.push(path);
                    "directory".to_owned()
                } else if meta.is_file() {
                    fs::read_to_string(&path)?
                } else {
                    format!("{:?}", meta.file_type())
                };
                all.insert(name, what);
            }
        }
        Ok(all)
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        if let Err(errno) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {errno}", self.0.display());
        }
    }
}

/// Layers as overlayfs shows them, as `name=content` in order.
fn shown(layers: &[Layer]) -> Result<Vec<String>, Failed> {
    let cell = Cell::new()?;
    let image = cell.resolve(&Layout::of(layers))?;
    let list = Merged::mount(&cell, &image)?.list()?;
    Ok(list
        .into_iter()
        .filter(|(_, what)| what != "directory")
        .map(|(name, what)| format!("{name}={what}"))
        .collect())
}

fn merged() -> Result<(), Failed> {
    let lowest = Layer::new()
        .file("a", "1")
        .file("d/b", "1")
        .file("d/c", "1")
        .file("o/p", "1")
        .file("r/s/t", "1")
        .file("k", "1");
    let middle = Layer::new()
        .file(".wh.a", "")
        .file("d/.wh.b", "")
        .file("o/.wh..wh..opq", "")
        .file("o/q", "2")
        .file("r", "2")
        .file("new/x", "2");
    let highest = Layer::new()
        .file("a", "3")
        .file("o/.wh.q", "")
        .file("r/s/u", "3")
        .file("d/.wh.c", "")
        .file("d/e", "3");
    same(
        shown(&[lowest, middle, highest])?,
        ["a=3", "d/e=3", "k=1", "new/x=2", "r/s/u=3"].map(str::to_owned).to_vec(),
        "merged",
    )
}

fn whiteouts() -> Result<(), Failed> {
    let lowest = Layer::new()
        .file("a", "1")
        .file("d/b", "1")
        .file("d/e/f", "1")
        .file("k/l", "1")
        .file("w", "1")
        .file("m/n", "1");
    // Before and after what the layer has of the name itself; of what is not there; within an opaque directory; by a device.
    let upper = Layer::new()
        .file("a", "2")
        .file(".wh.a", "")
        .file(".wh.d", "")
        .file("d/c", "2")
        .file("d/e/g", "2")
        .file("k/.wh.nothing", "")
        .file("new/.wh.nothing", "")
        .file("m/.wh.n", "")
        .file("m/.wh..wh..opq", "")
        .file(".wh..wh.plnk/1.2", "aufs")
        .device(EntryType::Char, "w", 0, 0);
    let wanted = ["a=2", "d/c=2", "d/e/g=2", "k/l=1"].map(str::to_owned).to_vec();
    same(shown(&[lowest.clone(), upper])?, wanted, "merged")?;
    // What is removed already needs no whiteout.
    let cell = Cell::new()?;
    let (middle, highest) = (Layer::new().file("d/.wh.b", ""), Layer::new().file("d/.wh.b", ""));
    let image = cell.resolve(&Layout::of(&[lowest.clone(), middle, highest]))?;
    let is_there = |n: usize| fs::symlink_metadata(image.layers[n].join("d/b")).is_ok();
    same((is_there(1), is_there(2)), (true, false), "whiteouts of the middle layer and of the highest")?;
    // In the lowest layer they concern nothing, and do not show.
    same(
        shown(&[Layer::new().file(".wh.a", "").file("d/.wh.b", "").file("d/c", "1")])?,
        vec!["d/c=1".to_owned()],
        "lowest",
    )?;
    // A whiteout of a directory that becomes something else meanwhile.
    let upper = Layer::new()
        .file("d/x", "2")
        .file("d/.wh.b", "")
        .file("d", "2")
        .file(".wh.d", "")
        .file("k", "2")
        .file(".wh.k", "");
    same(
        shown(&[lowest, upper])?,
        ["a=1", "d=2", "k=2", "m/n=1", "w=1"].map(str::to_owned).to_vec(),
        "replaced",
    )
}

fn opaque_root() -> Result<(), Failed> {
    let (lowest, upper) = (Layer::new().file("a", "1"), Layer::new().file("b", "2").file(".wh..wh..opq", ""));
    same(shown(&[lowest.clone(), upper.clone()])?, vec!["b=2".to_owned()], "merged")?;
    let highest = Layer::new().file("c", "3").file(".wh.a", "");
    same(
        shown(&[lowest, upper, highest])?,
        ["b=2", "c=3"].map(str::to_owned).to_vec(),
        "merged with one above",
    )
}
