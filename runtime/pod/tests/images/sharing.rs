//! The store as several commands use it: at once, after one was killed, and while it is collected.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use libtest_mimic::Failed;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use pod::image::ImageStore;
use pod::spec::ImageRef;
use serde_json::json;
use tar::EntryType;

use crate::Case;
use crate::fixture::{Cell, GZIP, Layer, Layout, ensure, gzip, same};

pub(crate) const CASES: &[Case] = &[
    ("sharing::commands_at_once_unpack_once", at_once),
    ("sharing::a_killed_command_is_made_good", killed),
    ("sharing::remains_are_collected", collected),
    ("sharing::layers_are_shared_where_all_below_is_the_same", chains),
];

/// What this program does as a command of its own: resolves an image, and tells the inodes of its layers.
pub(crate) fn resolve(store: &str, image: &str) -> ExitCode {
    let reference = ImageRef::Oci { path: PathBuf::from(image), tag: None };
    match ImageStore::new(store).resolve(&reference) {
        Ok(image) => {
            for layer in &image.layers {
                match fs::metadata(layer) {
                    Ok(meta) => println!("{}", meta.ino()),
                    Err(error) => eprintln!("{}: {error}", layer.display()),
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", crate::fixture::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn command(cell: &Cell) -> Result<Child, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--resolve").arg(cell.path("store")).arg(cell.path("image"));
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// A layer that takes a while.
fn large() -> Layout {
    let layer = (0..2000).fold(Layer::new(), |layer, n| layer.file(&format!("d{}/f{n}", n % 50), "data"));
    let layer = layer.entry(EntryType::Regular, "zeros", |_header| {}, &vec![0; 16 << 20]);
    let mut layout = Layout::new();
    let image = layout.image(&[(GZIP, gzip(&layer.bytes()), layer.bytes())], &json!({}));
    layout.manifests = vec![image];
    layout
}

fn at_once() -> Result<(), Failed> {
    let cell = Cell::new()?;
    large().write(&cell.path("image"))?;
    let commands: Vec<Child> = (0..4).map(|_| command(&cell)).collect::<Result<_, _>>()?;
    let mut inodes = Vec::new();
    for command in commands {
        let output = command.wait_with_output()?;
        ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
        inodes.push(String::from_utf8(output.stdout)?);
    }
    inodes.dedup();
    same(inodes.len(), 1, "different directories of the layer")?;
    same(cell.layers()?.len(), 1, "entries in the store")
}

fn killed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    large().write(&cell.path("image"))?;
    fs::create_dir_all(cell.path("store/layers"))?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    watch.add_watch(&cell.path("store/layers"), AddWatchFlags::IN_CREATE)?;
    let mut command = command(&cell)?;
    // The unpacking has begun, and has thousands of files before it.
    let mut ready = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
    same(
        poll(&mut ready, PollTimeout::from(60_000_u16))?,
        1,
        "directories that the command made within a minute",
    )?;
    command.kill()?;
    command.wait()?;
    let left = cell.layers()?;
    ensure(left.len() == 1 && left[0].ends_with(".new"), || {
        format!("{left:?}: the command was done before it was killed")
    })?;
    // What another version of the program could have left there.
    fs::write(cell.path("store/layers").join(&left[0]).join("stray"), "")?;
    let image = cell.store().resolve(&ImageRef::Oci { path: cell.path("image"), tag: None })?;
    same(count(&image.layers[0])?, 2051, "entries of the layer")?;
    ensure(cell.layers()?.iter().all(|name| !name.ends_with(".new")), || "remains".to_owned())?;
    cell.untouched()
}

/// Entries below a directory.
fn count(directory: &Path) -> Result<usize, Failed> {
    let mut n = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        n += 1;
        if entry.file_type()?.is_dir() {
            n += count(&entry.path())?;
        }
    }
    Ok(n)
}

fn collected() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let collect = |in_use: &[PathBuf]| -> Result<Option<usize>, Failed> {
        match cell.store().collector()? {
            Some(collector) => Ok(Some(collector.remove_unused(in_use)?.len())),
            None => Ok(None),
        }
    };
    same(collect(&[])?, Some(0), "collected of a store that does not exist")?;
    ensure(!cell.path("store").exists(), || "the collector made the store".to_owned())?;
    let layer =
        |name: &str| Layer::new().directory("d", 0o000).file("d/f", name).symlink("out", &cell.outside());
    let used = cell.resolve(&Layout::of(&[layer("one"), layer("two")]))?;
    let unused = cell.resolve(&Layout::of(&[layer("three")]))?;
    same(collect(&used.layers)?, None, "collected while leases are held")?;
    let in_use = used.layers.clone();
    drop((used, unused));
    // What killed commands may leave, and what is nobody's.
    let store = cell.path("store/layers");
    let zeros = "0".repeat(64);
    fs::create_dir_all(store.join(format!("sha256-{zeros}.new/deep/er")))?;
    std::os::unix::fs::symlink(cell.outside(), store.join(format!("sha256-{zeros}.new/deep/link")))?;
    fs::create_dir(store.join("mine"))?;
    same(collect(&in_use)?, Some(2), "collected: one layer and the remains of another")?;
    same(cell.layers()?.len(), 3, "two layers in use, and what is nobody's")?;
    for layer in &in_use {
        ensure(layer.join("d/f").exists(), || format!("{} was emptied", layer.display()))?;
    }
    same(collect(&[])?, Some(2), "collected at the end")?;
    same(cell.layers()?, vec!["mine".to_owned()], "left")?;
    cell.untouched()
}

fn chains() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let (base, other, top) =
        (Layer::new().file("a", "1"), Layer::new().file("a", "2"), Layer::new().file("b/c", "3"));
    let one = cell.resolve(&Layout::of(&[base.clone(), top.clone()]))?;
    let two = cell.resolve(&Layout::of(&[base, top.clone(), other.clone()]))?;
    same(&one.layers[..], &two.layers[..2], "layers of the same chain")?;
    // The same layer on another: what it does not say could come from there.
    let three = cell.resolve(&Layout::of(&[other, top]))?;
    ensure(three.layers[1] != one.layers[1], || "layers of different chains are one".to_owned())?;
    same(cell.layers()?.len(), 5, "layers")
}
