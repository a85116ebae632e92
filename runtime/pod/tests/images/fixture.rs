//! Layers, layouts, and a place for them that shows whether something outside of the store was touched.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::sys::stat::{Mode, SFlag, mknod};
use pod::image::{Image, ImageError, ImageStore, Limits};
use pod::spec::ImageRef;
use runtime::sys::xattr;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use tempfile::TempDir;

pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Why the tests cannot run here.
pub(crate) fn missing_prerequisite() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let temp = tempfile::tempdir().ok()?;
    let device = temp.path().join("null");
    if let Err(errno) = mknod(&device, SFlag::S_IFCHR, Mode::S_IRUSR, nix::sys::stat::makedev(1, 3)) {
        return Some(format!("no devices can be made in {}: {errno}", temp.path().display()));
    }
    let attribute = xattr::set(temp.path(), c"trusted.overlay.opaque", b"y");
    attribute.err().map(|errno| format!("no trusted attributes in {}: {errno}", temp.path().display()))
}

/// Fails unless it is true.
pub(crate) fn ensure(is_true: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if is_true { Ok(()) } else { Err(what().into()) }
}

/// Fails unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(actual: T, wanted: T, of: &str) -> Result<(), Failed> {
    ensure(actual == wanted, || format!("{of}: {actual:?}, and should be {wanted:?}"))
}

/// The error with its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}

/// Why an image was refused.
pub(crate) fn refusal(result: Result<Image, ImageError>) -> Result<String, Failed> {
    match result {
        Ok(image) => Err(format!("not refused: {image:?}").into()),
        Err(error) => Ok(chain(&error)),
    }
}

/// A directory with a store, an image, and what nothing may touch.
pub(crate) struct Cell {
    temp: TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Cell {
    pub(crate) fn new() -> Result<Self, Failed> {
        let temp = tempfile::tempdir()?;
        fs::create_dir(temp.path().join("outside"))?;
        fs::write(temp.path().join("outside/sentinel"), "as it was")?;
        let mut cell = Self { temp, before: BTreeMap::new() };
        cell.before = cell.snapshot()?;
        Ok(cell)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The directory that an escape would aim at, as an absolute path.
    pub(crate) fn outside(&self) -> String {
        self.path("outside").display().to_string()
    }

    pub(crate) fn store(&self) -> ImageStore {
        ImageStore::new(self.path("store"))
    }

    /// Writes a layout and resolves its only image.
    pub(crate) fn resolve(&self, layout: &Layout) -> Result<Image, ImageError> {
        self.resolve_with(layout, Limits::default())
    }

    pub(crate) fn resolve_with(&self, layout: &Layout, limits: Limits) -> Result<Image, ImageError> {
        let path = self.path("image");
        layout.write(&path).map_err(|source| ImageError::Io { op: "write", path: path.clone(), source })?;
        ImageStore::with_limits(self.path("store"), limits).resolve(&ImageRef::Oci { path, tag: None })
    }

    /// Resolves what must be refused, with words of the reason; nothing of it may be left.
    pub(crate) fn refuses(&self, layout: &Layout, wanted: &str) -> Result<(), Failed> {
        self.refuses_with(layout, Limits::default(), wanted)
    }

    pub(crate) fn refuses_with(&self, layout: &Layout, limits: Limits, wanted: &str) -> Result<(), Failed> {
        match self.resolve_with(layout, limits) {
            Ok(image) => return Err(format!("not refused ({wanted}): {image:?}").into()),
            Err(error) => {
                let text = chain(&error);
                ensure(text.contains(wanted), || format!("{wanted:?} is not in: {text}"))?;
            }
        }
        same(self.layers()?, vec![], "left in the store")?;
        self.untouched()
    }

    /// Names of what is in the store.
    pub(crate) fn layers(&self) -> Result<Vec<String>, Failed> {
        let layers = self.path("store/layers");
        if !layers.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(layers)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Fails when something outside of the store and the image is not as it was.
    pub(crate) fn untouched(&self) -> Result<(), Failed> {
        same(self.snapshot()?, self.before.clone(), "outside of the store")
    }

    fn snapshot(&self) -> Result<BTreeMap<PathBuf, String>, Failed> {
        let mut all = BTreeMap::new();
        let mut todo = vec![self.temp.path().to_owned()];
        while let Some(path) = todo.pop() {
            if path.ends_with("store") || path.ends_with("image") {
                continue;
            }
            let is_top = path == self.temp.path();
            let meta = fs::symlink_metadata(&path)?;
            // The store and the image are made at the top.
            let times = if is_top { 0 } else { meta.ctime_nsec() ^ meta.ctime() };
            let text = if meta.is_file() { fs::read_to_string(&path)? } else { String::new() };
            if meta.is_dir() {
                for entry in fs::read_dir(&path)? {
                    todo.push(entry?.path());
                }
            }
            let links = if is_top { 0 } else { meta.nlink() };
            all.insert(
                path,
                format!("{:o} {}:{} {links} {times} {text}", meta.mode(), meta.uid(), meta.gid()),
            );
        }
        Ok(all)
    }
}

/// A layer's archive.
#[derive(Default, Clone)]
pub(crate) struct Layer(Vec<u8>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.entry(EntryType::Regular, name, |header| header.set_mode(0o644), data.as_bytes())
    }

    pub(crate) fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, |header| header.set_mode(mode), &[])
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, name, target)
    }

    pub(crate) fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Self {
        let set = |header: &mut Header| {
            if let Some(gnu) = header.as_gnu_mut() {
                gnu.set_device_major(major);
                gnu.set_device_minor(minor);
            }
        };
        self.entry(kind, name, set, &[])
    }

    /// Records for the entry after it.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut builder = tar::Builder::new(Vec::new());
        let appended = builder.append_pax_extensions(records.iter().copied());
        let bytes = appended.and_then(|()| builder.into_inner()).unwrap_or_default();
        // Without the two blocks that end an archive.
        self.raw(&bytes[..bytes.len().saturating_sub(1024)])
    }

    /// An entry whose name may be anything; a long one gets a GNU header of its own.
    pub(crate) fn entry(
        self,
        kind: EntryType,
        name: &str,
        set: impl FnOnce(&mut Header),
        data: &[u8],
    ) -> Self {
        let long = if name.len() > 100 { self.long(EntryType::GNULongName, name) } else { self };
        long.header(kind, name, set, data)
    }

    fn long(self, kind: EntryType, name: &str) -> Self {
        self.header(kind, "././@LongLink", |_header| {}, name.as_bytes())
    }

    fn header(self, kind: EntryType, name: &str, set: impl FnOnce(&mut Header), data: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        let short = &name.as_bytes()[..name.len().min(100)];
        header.as_old_mut().name[..short.len()].copy_from_slice(short);
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        set(&mut header);
        header.set_cksum();
        self.raw(header.as_bytes()).raw(data)
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let long = if target.len() > 100 { self.long(EntryType::GNULongLink, target) } else { self };
        let short = &target.as_bytes()[..target.len().min(100)];
        long.entry(
            kind,
            name,
            |header| header.as_old_mut().linkname[..short.len()].copy_from_slice(short),
            &[],
        )
    }
}

/// `sha256:...` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = encoder.write_all(bytes);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An OCI layout: the files of it, by name.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) manifests: Vec<Value>,
}

impl Layout {
    pub(crate) fn new() -> Self {
        let marker = json!({"imageLayoutVersion": "1.0.0"}).to_string().into_bytes();
        Self { files: BTreeMap::from([("oci-layout".to_owned(), marker)]), manifests: Vec::new() }
    }

    /// A layout of one image, which has these layers uncompressed.
    pub(crate) fn of(layers: &[Layer]) -> Self {
        let mut layout = Self::new();
        let blobs: Vec<_> = layers.iter().map(|layer| (TAR, layer.bytes(), layer.bytes())).collect();
        let manifest = layout.image(&blobs, &json!({}));
        layout.manifests.push(manifest);
        layout
    }

    /// Adds a blob; its descriptor.
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.files.insert(format!("blobs/{}", digest.replace(':', "/")), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Adds an image of layers, each with its media type, its blob and what that decompresses to; the manifest's descriptor.
    pub(crate) fn image(&mut self, layers: &[(&str, Vec<u8>, Vec<u8>)], config: &Value) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|(_, _, archive)| digest(archive)).collect();
        let document = json!({"architecture": architecture(), "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let blobs: Vec<Value> = layers.iter().map(|(kind, blob, _)| self.blob(kind, blob)).collect();
        self.manifest(&document, &blobs)
    }

    pub(crate) fn manifest(&mut self, document: &Value, layers: &[Value]) -> Value {
        let config = self.blob(CONFIG, document.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// Adds an index of manifests; its descriptor.
    pub(crate) fn index(&mut self, manifests: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// Everything, with `index.json`.
    fn complete(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files.clone();
        let index = json!({"schemaVersion": 2, "manifests": self.manifests}).to_string();
        files.entry("index.json".to_owned()).or_insert_with(|| index.into_bytes());
        files
    }

    /// Writes it as a directory, in place of the one before.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::create_dir_all(path.join("blobs/sha256"))?;
        self.complete().iter().try_for_each(|(name, bytes)| fs::write(path.join(name), bytes))
    }

    /// Writes it as a tar archive.
    pub(crate) fn archive(&self, path: &Path) -> std::io::Result<()> {
        let files = self.complete();
        let layer = files.iter().fold(Layer::new().directory("blobs/", 0o755), |layer, (name, bytes)| {
            layer.entry(EntryType::Regular, name, |_header| {}, bytes)
        });
        File::create(path)?.write_all(&layer.bytes())
    }
}

pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A descriptor with a tag.
pub(crate) fn tagged(mut descriptor: Value, tag: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    descriptor
}

/// A descriptor with a platform.
pub(crate) fn on(mut descriptor: Value, os: &str, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": os, "architecture": architecture});
    descriptor
}
