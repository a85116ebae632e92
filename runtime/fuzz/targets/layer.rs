//! Any bytes as the archive of a layer: it is refused with a reason, or unpacked; and either way nothing outside of its directory
//! has changed.

#![no_main]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use pod::image::layer::{Lower, unpack};
use pod::image::{Budget, Limits};

fuzz_target!(|bytes: &[u8]| {
    let Ok(temp) = tempfile::tempdir() else { return };
    let (below, layer, outside) =
        (temp.path().join("below"), temp.path().join("layer"), temp.path().join("outside"));
    for directory in [&below, &layer, &outside] {
        assert!(fs::create_dir(directory).is_ok(), "{} cannot be made", directory.display());
    }
    for file in [below.join("a"), outside.join("sentinel")] {
        assert!(fs::write(&file, "as it was").is_ok(), "{} cannot be written", file.display());
    }
    let before = snapshot(temp.path(), &layer);
    let (Ok(lower), Ok(directory)) = (Lower::open(&[below]), File::open(&layer)) else { return };
    let limits =
        Limits { unpacked_bytes: 1 << 20, entries: 200, remembered_bytes: 1 << 20, ..Limits::default() };
    if let Err(error) = unpack(bytes, directory.as_fd(), &lower, &mut Budget::new(limits)) {
        assert!(!error.to_string().is_empty(), "a refusal without a reason");
    }
    assert_eq!(snapshot(temp.path(), &layer), before, "something outside of the layer has changed");
});

/// What is below a directory, but for one of those in it.
fn snapshot(root: &Path, without: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(path) = todo.pop() {
        if path == without {
            continue;
        }
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        all.insert(path, (meta.mode(), meta.nlink(), meta.ctime(), meta.ctime_nsec()));
    }
    all
}
