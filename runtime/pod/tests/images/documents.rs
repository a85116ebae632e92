//! Layouts, tags, platforms, digests.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use libtest_mimic::Failed;
use pod::image::{ImageStore, Limits};
use pod::spec::ImageRef;
use serde_json::json;

use crate::Case;
use crate::fixture::{
    Cell, GZIP, Layer, Layout, TAR, ZSTD, architecture, digest, ensure, gzip, on, refusal, same, tagged, zstd,
};

pub(crate) const CASES: &[Case] = &[
    ("documents::a_directory_is_its_own_layer", directory),
    ("documents::a_layout_is_a_directory_or_an_archive", layouts),
    ("documents::every_compression_gives_the_same_layer", compressions),
    ("documents::a_tag_chooses_an_image", tags),
    ("documents::a_platform_chooses_an_image", platforms),
    ("documents::what_is_no_layout_is_named", no_layouts),
    ("documents::each_blob_is_checked", digests),
    ("documents::layers_from_elsewhere_are_refused", foreign),
    ("documents::documents_have_a_limit", documents),
    ("documents::archives_are_read_as_archives", archives),
];

fn small() -> Layer {
    Layer::new().directory("./", 0o750).file("etc/name", "value")
}

fn oci(cell: &Cell, name: &str, tag: Option<&str>) -> ImageRef {
    ImageRef::Oci { path: cell.path(name), tag: tag.map(str::to_owned) }
}

fn directory() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let path = cell.path("outside");
    let image = cell.store().resolve(&ImageRef::Directory(path.clone()))?;
    same(image.layers, vec![path.clone()], "layers")?;
    same(image.config.entrypoint.len() + image.config.env.len(), 0, "defaults")?;
    ensure(!cell.path("store").exists(), || "a store was made for nothing".to_owned())?;
    let error = refusal(cell.store().resolve(&ImageRef::Directory(path.join("sentinel"))))?;
    ensure(error.contains("outside/sentinel is not a directory"), || error)?;
    let error = refusal(cell.store().resolve(&ImageRef::Directory(path.join("nothing"))))?;
    ensure(error.contains("outside/nothing"), || error)
}

fn layouts() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut layout = Layout::new();
    let config = json!({"Entrypoint": ["/run"], "Env": ["A=b"], "User": "app:staff", "StopSignal": "SIGINT"});
    let image = layout.image(&[(TAR, small().bytes(), small().bytes())], &config);
    layout.manifests = vec![image];
    let image = cell.resolve(&layout)?;
    same(image.config.entrypoint.clone(), vec!["/run".to_owned()], "entrypoint")?;
    same(image.config.env.clone(), vec![("A".to_owned(), "b".to_owned())], "env")?;
    same(image.config.user.as_deref(), Some("app:staff"), "user")?;
    same(image.config.stop_signal.as_deref(), Some("SIGINT"), "stop signal")?;
    let [layer] = &image.layers[..] else { return Err(format!("{:?}", image.layers).into()) };
    ensure(layer.is_absolute(), || format!("{layer:?} is relative"))?;
    same(fs::read_to_string(layer.join("etc/name"))?, "value".to_owned(), "content")?;
    same(fs::metadata(layer)?.permissions().mode() & 0o7777, 0o750, "mode of the root")?;
    for private in ["store", "store/layers"] {
        same(fs::metadata(cell.path(private))?.permissions().mode() & 0o7777, 0o700, private)?;
    }
    // The same image as an archive is the same layer.
    layout.archive(&cell.path("image.tar"))?;
    let same_image = cell.store().resolve(&oci(&cell, "image.tar", None))?;
    same(same_image.layers, image.layers.clone(), "layers of the archive")?;
    same(cell.layers()?.len(), 1, "layers in the store")?;
    // The layout is not needed for layers that are there, but for the rest of the image.
    fs::remove_file(cell.path("image.tar"))?;
    let error = refusal(cell.store().resolve(&oci(&cell, "image.tar", None)))?;
    ensure(error.contains("image.tar: No such file"), || error)
}

fn compressions() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let archive = small().bytes();
    let mut found = Vec::new();
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    for (kind, blob) in
        [(TAR, archive.clone()), (GZIP, gzip(&archive)), (ZSTD, zstd(&archive)), (docker, gzip(&archive))]
    {
        let mut layout = Layout::new();
        let image = layout.image(&[(kind, blob, archive.clone())], &json!({}));
        layout.manifests = vec![image];
        // Each into a store of its own.
        layout.write(&cell.path("image"))?;
        let store = ImageStore::new(cell.path(&format!("store-{}", found.len())));
        let image = store.resolve(&oci(&cell, "image", None))?;
        same(fs::read_to_string(image.layers[0].join("etc/name"))?, "value".to_owned(), kind)?;
        found.push(image.layers[0].file_name().map(ToOwned::to_owned));
    }
    found.dedup();
    same(found.len(), 1, "names of the layer")
}

fn tags() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut layout = Layout::new();
    let mut image = |name: &str| {
        let archive = Layer::new().file("name", name).bytes();
        layout.image(&[(TAR, archive.clone(), archive)], &json!({}))
    };
    let (one, two) = (image("one"), image("two"));
    layout.manifests = vec![tagged(one.clone(), "v1"), tagged(two.clone(), "v2"), tagged(two, "latest")];
    layout.write(&cell.path("image"))?;
    for (tag, wanted) in [("v1", "one"), ("v2", "two"), ("latest", "two")] {
        let image = cell.store().resolve(&oci(&cell, "image", Some(tag)))?;
        same(fs::read_to_string(image.layers[0].join("name"))?, wanted.to_owned(), tag)?;
    }
    let error = refusal(cell.store().resolve(&oci(&cell, "image", None)))?;
    ensure(error.contains("2 images fit; name one as oci:PATH:TAG, the tags are v1, v2, latest"), || error)?;
    let error = refusal(cell.store().resolve(&oci(&cell, "image", Some("v3"))))?;
    ensure(error.contains("there is no tag \"v3\"; the tags are v1, v2, latest"), || error)?;
    // Two tags of one image are no choice to be made.
    layout.manifests = vec![tagged(one.clone(), "v1"), tagged(one, "latest")];
    cell.resolve(&layout)?;
    layout.manifests = vec![];
    let error = refusal(cell.resolve(&layout))?;
    ensure(error.contains("index.json names no image"), || error)
}

fn platforms() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut layout = Layout::new();
    let mut image = |name: &str| {
        let archive = Layer::new().file("name", name).bytes();
        layout.image(&[(TAR, archive.clone(), archive)], &json!({}))
    };
    let (other, newer, ours) = (image("other"), image("newer"), image("ours"));
    let mut newer = on(newer, "linux", architecture());
    newer["platform"]["variant"] = json!("v3");
    let unknown = on(other.clone(), "unknown", "unknown");
    let foreign = on(other, "linux", "s390x");
    let inner = layout.index(&[unknown, foreign.clone(), newer, on(ours, "linux", architecture())]);
    let outer = layout.index(std::slice::from_ref(&inner));
    layout.manifests = vec![tagged(outer, "v1")];
    let image = cell.resolve(&layout)?;
    same(fs::read_to_string(image.layers[0].join("name"))?, "ours".to_owned(), "chosen")?;
    for manifests in [vec![foreign.clone()], vec![layout.index(std::slice::from_ref(&foreign))]] {
        layout.manifests = manifests;
        let error = refusal(cell.resolve(&layout))?;
        ensure(
            error.contains(&format!("there is none for linux/{}, only for linux/s390x", architecture())),
            || error,
        )?;
    }
    // A manifest without a platform, whose configuration has one.
    let archive = small().bytes();
    let blob = layout.blob(TAR, &archive);
    let document = json!({"architecture": "arm", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(&archive)]}});
    layout.manifests = vec![layout.manifest(&document, &[blob])];
    let error = refusal(cell.resolve(&layout))?;
    ensure(error.contains("only for linux/arm"), || error)?;
    let mut nested = inner;
    for _ in 0..4 {
        nested = layout.index(&[nested]);
    }
    layout.manifests = vec![nested];
    let error = refusal(cell.resolve(&layout))?;
    ensure(error.contains("more than 4 indexes within indexes"), || error)
}

fn no_layouts() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let good = Layout::of(&[small()]);
    let without = |name: &str| {
        let mut layout = good.clone();
        layout.files.remove(name);
        layout
    };
    let with = |name: &str, text: &str| {
        let mut layout = good.clone();
        layout.files.insert(name.to_owned(), text.as_bytes().to_vec());
        layout
    };
    cell.refuses(&without("oci-layout"), "oci-layout is missing, so it is no OCI image layout")?;
    cell.refuses(
        &with("oci-layout", r#"{"imageLayoutVersion": "2.0.0"}"#),
        r#"version "2.0.0"; only 1 is supported"#,
    )?;
    cell.refuses(&with("oci-layout", "{"), "oci-layout is invalid: EOF")?;
    cell.refuses(&with("index.json", "[]"), "index.json is invalid")?;
    // A layout may have links, but not out of it, and nothing but files.
    good.write(&cell.path("image"))?;
    let index = cell.path("image/index.json");
    fs::rename(&index, cell.path("image/real.json"))?;
    symlink("real.json", &index)?;
    cell.store().resolve(&oci(&cell, "image", None))?;
    fs::remove_file(&index)?;
    symlink(cell.path("outside/sentinel"), &index)?;
    let error = refusal(cell.store().resolve(&oci(&cell, "image", None)))?;
    ensure(error.contains("index.json is a link that leads out of the layout"), || error)?;
    fs::remove_file(&index)?;
    nix::unistd::mkfifo(&index, nix::sys::stat::Mode::S_IRWXU)?;
    let error = refusal(cell.store().resolve(&oci(&cell, "image", None)))?;
    ensure(error.contains("index.json is not a file"), || error)?;
    let error = refusal(cell.store().resolve(&oci(&cell, "image/index.json", None)))?;
    ensure(error.contains("neither a directory nor a file"), || error)?;
    cell.untouched()
}

fn digests() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let good = Layout::of(&[small()]);
    for (name, bytes) in good.files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
        let mut damaged = good.clone();
        let mut changed = bytes.clone();
        changed[300.min(bytes.len() - 1)] ^= 1;
        damaged.files.insert(name.clone(), changed);
        cell.refuses(&damaged, "is damaged: its digest is sha256:")?;
        damaged.files.insert(name.clone(), bytes[..bytes.len() - 1].to_vec());
        cell.refuses(&damaged, &format!("has {} bytes, and should have {}", bytes.len() - 1, bytes.len()))?;
        damaged.files.remove(name);
        cell.refuses(&damaged, "is missing")?;
    }
    // A blob that is as its descriptor says, and decompresses to something else.
    let mut layout = Layout::new();
    let archive = small().bytes();
    let image = layout.image(&[(GZIP, gzip(&archive), Layer::new().bytes())], &json!({}));
    layout.manifests = vec![image];
    cell.refuses(&layout, "decompresses to is damaged: its digest is")?;
    let image = layout.image(&[(GZIP, archive.clone(), archive.clone())], &json!({}));
    layout.manifests = vec![image];
    cell.refuses(&layout, "cannot be unpacked: cannot read the archive at byte 0: invalid gzip header")?;
    let cut = zstd(&archive);
    let image = layout.image(&[(ZSTD, cut[..cut.len() - 5].to_vec(), archive.clone())], &json!({}));
    layout.manifests = vec![image];
    cell.refuses(&layout, "cannot be unpacked")?;
    // Counts and algorithms.
    let blob = layout.blob(TAR, &archive);
    let document = |ids: &[String]| json!({"architecture": architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}});
    layout.manifests = vec![layout.manifest(&document(&[]), std::slice::from_ref(&blob))];
    cell.refuses(&layout, "the manifest has 1 layers, and the configuration 0 diff_ids")?;
    layout.manifests = vec![layout.manifest(&document(&[]), &[])];
    cell.refuses(&layout, "it has no layers")?;
    let ids = vec![digest(&archive); 501];
    layout.manifests = vec![layout.manifest(&document(&ids), &vec![blob.clone(); 501])];
    cell.refuses(&layout, "more than 500 layers")?;
    layout.manifests =
        vec![layout.manifest(&document(&["sha256:short".to_owned()]), std::slice::from_ref(&blob))];
    cell.refuses(&layout, "\"sha256:short\" in diff_ids is no sha256 digest")?;
    let mut other = blob;
    other["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    layout.manifests = vec![layout.manifest(&document(&[digest(&archive)]), &[other])];
    cell.refuses(&layout, "is not supported, only sha256 is")
}

fn foreign() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut layout = Layout::new();
    let archive = small().bytes();
    let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    let image = layout.image(&[(kind, archive.clone(), archive.clone())], &json!({}));
    layout.manifests = vec![image];
    cell.refuses(&layout, "only layers that are in the image")?;
    let mut blob = layout.blob(TAR, &archive);
    blob["urls"] = json!(["https://localhost/layer"]);
    let document = json!({"architecture": architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(&archive)]}});
    layout.manifests = vec![layout.manifest(&document, &[blob])];
    cell.refuses(&layout, "is to be fetched from elsewhere")
}

fn documents() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let limits = Limits { document_bytes: 2000, ..Limits::default() };
    let mut layout = Layout::new();
    let image =
        layout.image(&[(TAR, small().bytes(), small().bytes())], &json!({"Labels": {"a": "x".repeat(2000)}}));
    layout.manifests = vec![image];
    cell.refuses_with(&layout, limits, "more than 2000 bytes in a document, which is the limit")?;
    let mut layout = Layout::of(&[small()]);
    layout.files.insert("index.json".to_owned(), vec![b' '; 2001]);
    cell.refuses_with(&layout, limits, "index.json: more than 2000 bytes in a document")?;
    // Not more than the JSON parser's depth, and not a crash.
    layout.files.insert("index.json".to_owned(), "[".repeat(100_000).into_bytes());
    cell.refuses(&layout, "index.json is invalid")
}

fn archives() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let path = cell.path("image");
    let refuses = |wanted: &str| {
        let error = refusal(cell.store().resolve(&oci(&cell, "image", None)))?;
        ensure(error.contains(wanted), || format!("{wanted:?} is not in: {}", error))
    };
    Layout::of(&[small()]).archive(&path)?;
    let good = fs::read(&path)?;
    fs::write(&path, gzip(&good))?;
    refuses("the archive is compressed; decompress it first: gzip -d")?;
    fs::write(&path, &good[..good.len() / 2])?;
    refuses("truncated")?;
    fs::write(&path, "no archive at all")?;
    refuses("truncated")?;
    fs::write(&path, "")?;
    refuses("oci-layout is missing, so it is no OCI image layout")?;
    fs::write(&path, Layer::new().file("manifest.json", "[]").file("repositories", "{}").bytes())?;
    refuses("skopeo copy docker-archive:FILE oci-archive:NEW")?;
    fs::write(&path, Layer::new().symlink("oci-layout", "/etc/passwd").bytes())?;
    refuses("oci-layout is not a file in the archive")
}
