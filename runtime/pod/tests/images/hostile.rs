//! Layers of an enemy: they are refused, or what they want happens inside of the layer. Nothing outside of it changes, and
//! nothing is left of what was refused.

use std::fs;
use std::os::unix::fs::MetadataExt;

use libtest_mimic::Failed;
use pod::image::Limits;
use serde_json::json;
use tar::{EntryType, Header};

use crate::Case;
use crate::fixture::{Cell, GZIP, Layer, Layout, TAR, ZSTD, ensure, gzip, refusal, same, zstd};

pub(crate) const CASES: &[Case] = &[
    ("hostile::names_that_lead_out", names),
    ("hostile::links_that_lead_out", links),
    ("hostile::hard_links_that_lead_out", hard_links),
    ("hostile::directories_that_become_links", replaced),
    ("hostile::links_without_end", loops),
    ("hostile::whiteouts_of_what_is_no_name", whiteouts),
    ("hostile::whiteouts_through_links", whiteouts_through_links),
    ("hostile::bombs", bombs),
    ("hostile::deep_and_long_names", deep),
    ("hostile::damaged_archives", damaged),
    ("hostile::a_late_failure_leaves_nothing", late),
];

fn names() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for name in ["../outside/x", "a/../../outside/x", "..", "a/b/..", "./../x", "/../x"] {
        let layer = Layer::new().directory("a", 0o755).file(name, "escaped");
        cell.refuses(&Layout::of(&[layer]), "has the component .., which could lead out of the layer")?;
    }
    // An absolute name is one below the root of the layer.
    let absolute = format!("{}/sentinel", cell.outside());
    let layer = Layer::new().file(&absolute, "escaped").directory(&cell.outside(), 0o777);
    let image = cell.resolve(&Layout::of(&[layer]))?;
    let inside = image.layers[0].join(absolute.trim_start_matches('/'));
    same(fs::read_to_string(inside)?, "escaped".to_owned(), "inside")?;
    cell.untouched()?;
    let root = |kind| Layer::new().entry(kind, "./", |_header| {}, &[]);
    for kind in [EntryType::Symlink, EntryType::Fifo, EntryType::Link] {
        let cell = Cell::new()?;
        cell.refuses(&Layout::of(&[root(kind)]), "the root of a layer must be a directory")?;
    }
    Ok(())
}

fn links() -> Result<(), Failed> {
    for target in ["ABSOLUTE", "../../../../../../../../../../../..ABSOLUTE", "../../../outside"] {
        let cell = Cell::new()?;
        let target = target.replace("ABSOLUTE", &cell.outside());
        let layer = Layer::new()
            .symlink("evil", &target)
            .file("evil/sentinel", "escaped")
            .directory("evil/new", 0o777)
            .symlink("evil/link", "x")
            .device(EntryType::Fifo, "evil/fifo", 0, 0);
        let image = cell.resolve(&Layout::of(&[layer]))?;
        let inside =
            target.trim_start_matches("../").trim_start_matches("..").trim_start_matches('/').to_owned();
        let inside = image.layers[0].join(inside).join("sentinel");
        same(fs::read_to_string(inside)?, "escaped".to_owned(), &target)?;
        cell.untouched()?;
    }
    // The name of a link is the link, not what it leads to.
    let cell = Cell::new()?;
    let sentinel = format!("{}/sentinel", cell.outside());
    let layer = Layer::new()
        .symlink("a", &sentinel)
        .file("a", "a file")
        .symlink("b", &cell.outside())
        .directory("b", 0o700);
    let layer = layer.symlink("c", &sentinel).pax(&[("SCHILY.xattr.user.a", b"b")]).symlink("d", &sentinel);
    let image = cell.resolve(&Layout::of(&[layer]))?;
    ensure(fs::symlink_metadata(image.layers[0].join("a"))?.is_file(), || "a is no file".to_owned())?;
    ensure(fs::symlink_metadata(image.layers[0].join("b"))?.is_dir(), || "b is no directory".to_owned())?;
    cell.untouched()
}

fn hard_links() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let sentinel = format!("{}/sentinel", cell.outside());
    for (target, wanted) in [
        ("../../../outside/sentinel", "has the component .."),
        ("a/../../x", "has the component .."),
        (sentinel.as_str(), "it is not in the layer before"),
        ("d", "it is a directory"),
        ("", "that is the root of the layer"),
        ("/", "that is the root of the layer"),
        ("evil/sentinel", "it is not in the layer before"),
        ("f/x", "is a file"),
        ("later", "it is not in the layer before"),
    ] {
        let layer = Layer::new().directory("d", 0o755).file("f", "").symlink("evil", &cell.outside());
        let layer = layer.hard_link("stolen", target).file("later", "");
        cell.refuses(&Layout::of(&[layer]), wanted)?;
    }
    // A link to a link is that link, and what is written to its name later is a new file.
    let layer = Layer::new().symlink("evil", &sentinel).hard_link("stolen", "evil").file("stolen", "escaped");
    let image = cell.resolve(&Layout::of(&[layer]))?;
    ensure(fs::symlink_metadata(image.layers[0].join("stolen"))?.is_file(), || {
        "stolen is no file".to_owned()
    })?;
    same(fs::metadata(cell.path("outside/sentinel"))?.nlink(), 1, "links of the sentinel")?;
    cell.untouched()
}

fn replaced() -> Result<(), Failed> {
    // The directory of the entries before is a link by the next, while its descriptor is still known.
    let cell = Cell::new()?;
    let layer = Layer::new()
        .file("d/e/one", "")
        .symlink("d", &cell.outside())
        .file("d/e/two", "escaped")
        .file("d/sentinel", "escaped")
        .file("x/y/z", "")
        .symlink("x/y", &cell.outside())
        .file("x/y/sentinel", "escaped")
        .directory("x/y", 0o777);
    let image = cell.resolve(&Layout::of(&[layer]))?;
    let inside = image.layers[0].join(cell.outside().trim_start_matches('/'));
    same(fs::read_to_string(inside.join("sentinel"))?, "escaped".to_owned(), "inside")?;
    ensure(inside.join("e/two").exists(), || "e/two is not inside".to_owned())?;
    same(
        fs::symlink_metadata(image.layers[0].join("x/y"))?.mode() & 0o7777,
        0o777,
        "directory in place of a link",
    )?;
    // What leads to the directory is replaced through the directory.
    let layer = Layer::new().symlink("l", "e/s/..").directory("e/s", 0o755).file("l/one", "");
    let image = cell.resolve(&Layout::of(&[layer.symlink("l/s", "/other/deep").file("l/two", "")]))?;
    let is_there = |name: &str| image.layers[0].join(name).exists();
    same((is_there("e/one"), is_there("e/two"), is_there("other/two")), (true, false, true), "entries")?;
    cell.untouched()
}

fn loops() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let itself = Layer::new().symlink("a", "a").file("a/x", "");
    cell.refuses(&Layout::of(&[itself]), "entry \"a/x\": cannot follow the links to its directory: ELOOP")?;
    let pair = Layer::new().symlink("a", "b/c").symlink("b", "a/d").file("a/x", "");
    cell.refuses(&Layout::of(&[pair]), "ELOOP")?;
    // Few links, many steps.
    let step = "../".repeat(1300);
    let long = Layer::new()
        .symlink("a", &(step.clone() + "b"))
        .symlink("b", &(step.clone() + "c"))
        .symlink("c", &(step.clone() + "d"));
    let long = long.symlink("d", &(step + "e")).file("a/x", "");
    cell.refuses(&Layout::of(&[long]), "ELOOP")?;
    let file = Layer::new().file("a", "").file("a/x", "");
    cell.refuses(&Layout::of(&[file]), "its directory \"a\" is a file")
}

fn whiteouts() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for name in [".wh...", "a/.wh...", ".wh..", ".wh.", "a/.wh."] {
        cell.refuses(&Layout::of(&[Layer::new().file("a/b", "").file(name, "")]), "which is no name")?;
    }
    cell.refuses(&Layout::of(&[Layer::new().file("../.wh.outside", "")]), "has the component ..")?;
    cell.refuses(
        &Layout::of(&[Layer::new().file(".wh.a/b", "")]),
        "is the name of a whiteout, and cannot be a directory",
    )
}

fn whiteouts_through_links() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let outside = cell.outside();
    let lowest = Layer::new().file(&format!("{outside}/sentinel"), "1").symlink("evil", &outside);
    let upper =
        Layer::new().symlink("evil", &outside).file("evil/.wh.sentinel", "").symlink("more", &outside);
    let upper = upper.file("more/.wh..wh..opq", "");
    let image = cell.resolve(&Layout::of(&[lowest, upper]))?;
    let inside = image.layers[1].join(outside.trim_start_matches('/'));
    let opaque = runtime::sys::xattr::get(&inside, c"trusted.overlay.opaque");
    same(opaque, Some(b"y".to_vec()), "the directory inside is opaque")?;
    same(
        runtime::sys::xattr::get(&cell.path("outside"), c"trusted.overlay.opaque"),
        None,
        "the one outside",
    )?;
    cell.untouched()
}

fn bombs() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let limits = Limits { unpacked_bytes: 1 << 20, entries: 100, ..Limits::default() };
    let big = Layer::new().entry(EntryType::Regular, "zeros", |_header| {}, &vec![0; 4 << 20]).bytes();
    for (kind, blob) in [(TAR, big.clone()), (GZIP, gzip(&big)), (ZSTD, zstd(&big))] {
        let mut layout = Layout::new();
        let image = layout.image(&[(kind, blob, big.clone())], &json!({}));
        layout.manifests = vec![image];
        cell.refuses_with(&layout, limits, "more than 1048576 bytes when unpacked, which is the limit")?;
    }
    // After the end of the archive, and in a hole.
    let after = [Layer::new().bytes(), vec![0; 4 << 20]].concat();
    let mut layout = Layout::new();
    let image = layout.image(&[(GZIP, gzip(&after), after)], &json!({}));
    layout.manifests = vec![image];
    cell.refuses_with(&layout, limits, "more than 1048576 bytes when unpacked")?;
    let hole = |header: &mut Header| {
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.realsize.copy_from_slice(b"77777777777\0");
        }
    };
    let layer = Layer::new().entry(EntryType::GNUSparse, "hole", hole, &[]);
    cell.refuses_with(&Layout::of(&[layer]), limits, "more than 1048576 bytes when unpacked")?;
    let many = (0..101).fold(Layer::new(), |layer, n| layer.file(&n.to_string(), ""));
    cell.refuses_with(&Layout::of(&[many]), limits, "more than 100 entries, which is the limit")?;
    // Few entries, and a directory for each component.
    let parents = (0..10).fold(Layer::new(), |layer, n| layer.file(&format!("{n}/{}f", "d/".repeat(20)), ""));
    cell.refuses_with(&Layout::of(&[parents]), limits, "more than 100 entries")?;
    let two = Limits { remembered_bytes: 5_000, ..Limits::default() };
    let names = (0..30).fold(Layer::new(), |layer, n| layer.file(&format!(".wh.{}{n}", "n".repeat(200)), ""));
    cell.refuses_with(
        &Layout::of(&[names]),
        two,
        "more than 5000 bytes of names of directories and whiteouts",
    )?;
    // The limit is one of the image, not of each of its layers; what was complete stays.
    let half = |name: &str| Layer::new().entry(EntryType::Regular, name, |_header| {}, &vec![0; 700 << 10]);
    let error = refusal(cell.resolve_with(&Layout::of(&[half("a"), half("b")]), limits))?;
    ensure(error.contains("more than 1048576 bytes"), || error)?;
    same(cell.layers()?.len(), 1, "complete layers")
}

fn deep() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let long = |n: usize| Layout::of(&[Layer::new().file(&"n".repeat(n), "")]);
    cell.refuses(&long(256), "a component of the name is longer than 255 bytes")?;
    cell.refuses(&long(10_000), "... (10000 bytes): the name is longer than 4095 bytes")?;
    let deep = |n: usize| Layout::of(&[Layer::new().file(&("d/".repeat(n) + "f"), "")]);
    cell.refuses(&deep(128), "more than 128 directories within directories")?;
    // Not by links, either.
    let by_links =
        Layer::new().symlink("a", &"d/".repeat(70)).symlink(&("d/".repeat(70) + "b"), &"e/".repeat(70));
    let by_links = by_links.file("a/b/f", "");
    cell.refuses(&Layout::of(&[by_links]), "more than 128 directories within directories")?;
    let target = Layer::new().symlink("l", &"x".repeat(5000));
    cell.refuses(&Layout::of(&[target]), "cannot make the symbolic link: ENAMETOOLONG")?;
    cell.resolve(&deep(127))?;
    cell.untouched()
}

fn damaged() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut layout = Layout::new();
    let whole = Layer::new().file("a", &"x".repeat(2000)).bytes();
    for (cut, wanted) in [(1000, "truncated: it ends at byte 1000"), (300, "truncated: it ends at byte 300")]
    {
        let image = layout.image(&[(TAR, whole[..cut].to_vec(), whole[..cut].to_vec())], &json!({}));
        layout.manifests = vec![image];
        cell.refuses(&layout, wanted)?;
    }
    let garbage = Layer::new().file("a", "").raw(&[b'x'; 512]);
    cell.refuses(&Layout::of(&[garbage]), "the header at byte 512 is damaged: its checksum is wrong")?;
    let owner = Layer::new().pax(&[("uid", b"4294967295")]).file("a", "");
    cell.refuses(&Layout::of(&[owner]), "user or group number 4294967295 is out of range")?;
    let nul = Layer::new().pax(&[("path", b"a\0b")]).file("a", "");
    cell.refuses(&Layout::of(&[nul]), "the name contains a NUL")?;
    let attribute = Layer::new().pax(&[("SCHILY.xattr.security.capability", b"no capability")]).file("a", "");
    cell.refuses(&Layout::of(&[attribute]), "entry \"a\": cannot set an extended attribute: EINVAL")?;
    let empty = Layer::new().symlink("l", "");
    cell.refuses(&Layout::of(&[empty]), "a symbolic link to nothing")
}

fn late() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut layer =
        Layer::new().directory("d", 0o000).symlink("d/l", "/").device(EntryType::Char, "d/null", 1, 3);
    for n in 0..50 {
        layer = layer
            .file(&format!("d/{n}/{n}/f"), "data")
            .hard_link(&format!("d/h{n}"), &format!("d/{n}/{n}/f"));
    }
    cell.refuses(&Layout::of(&[layer.file("../x", "")]), "has the component ..")
}
