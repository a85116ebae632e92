//! The directory of unpacked layers.
//!
//! ```text
//! STORE/                     locked with flock(2): shared by whoever uses layers that no pod names yet, exclusive to collect
//! STORE/layers/sha256-X/     a layer, complete; X is its chain id, because what a layer does not say comes from those below it
//! STORE/layers/sha256-X.new/ a layer that is being unpacked, locked meanwhile, or what a killed command left of one
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;
use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageManifest};

use super::compression::{Compression, Decoder};
use super::config::ImageConfig;
use super::digest::{Hashed, Sum};
use super::error::ImageError;
use super::layer::{self, Lower};
use super::layout::Layout;
use super::limits::{Budget, LAYERS, Limits, at_most};
use super::{Image, select};
use crate::spec::ImageRef;

/// Ending of the name of a layer that is not complete.
const UNFINISHED: &str = ".new";

/// The store of unpacked layers.
#[derive(Debug, Clone)]
pub struct ImageStore {
    root: PathBuf,
    limits: Limits,
}

/// While it lives, no layer is collected.
#[derive(Debug)]
pub struct Lease {
    _locked: File,
}

impl ImageStore {
    /// A store; its directory is made, with mode 0700, when it is first used.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_limits(path, Limits::default())
    }

    /// A store with limits of its own.
    #[must_use]
    pub fn with_limits(path: impl Into<PathBuf>, limits: Limits) -> Self {
        Self { root: path.into(), limits }
    }

    /// Finds an image, and unpacks the layers of it that are not unpacked. Waits while another command unpacks one of them.
    ///
    /// # Errors
    /// What is wrong with the image, or the failed operation. Layers that were complete by then stay; of others nothing does.
    pub fn resolve(&self, image: &ImageRef) -> Result<Image, ImageError> {
        match image {
            ImageRef::Directory(path) => {
                let metadata = fs::metadata(path).map_err(ImageError::io("look at", path))?;
                if !metadata.is_dir() {
                    return Err(ImageError::NotADirectory { path: path.clone() });
                }
                Ok(Image { layers: vec![path.clone()], config: ImageConfig::default(), lease: None })
            }
            ImageRef::Oci { path, tag } => self.oci(path, tag.as_deref()),
        }
    }

    /// Keeps others out to collect layers; `None` while a command uses some that no pod names yet. What is in use must be
    /// found out after this.
    ///
    /// # Errors
    /// The failed operation.
    pub fn collector(&self) -> Result<Option<Collector>, ImageError> {
        let layers = self.root.join("layers");
        let locked = match File::open(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            root => Some(root.map_err(ImageError::io("open", &self.root))?),
        };
        match locked.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => Ok(None),
            Some(Err(TryLockError::Error(error))) => Err(ImageError::io("lock", &self.root)(error)),
            None | Some(Ok(())) => Ok(Some(Collector { layers, _locked: locked })),
        }
    }

    fn oci(&self, path: &Path, tag: Option<&str>) -> Result<Image, ImageError> {
        let layout = Layout::open(path, self.limits)?;
        let chosen = select::manifest(&layout, tag)?;
        let what = format!("the manifest {}", chosen.digest());
        let manifest: ImageManifest = layout.parse(&what, &layout.verified(&chosen, &what)?)?;
        let what = format!("the configuration {}", manifest.config().digest());
        let document: ImageConfiguration =
            layout.parse(&what, &layout.verified(manifest.config(), &what)?)?;
        let platform = format!("{}/{}", document.os(), document.architecture());
        if platform != select::here() && platform != "/" {
            return Err(ImageError::Platform {
                image: path.to_owned(),
                wanted: select::here(),
                found: vec![platform],
            });
        }
        let config = ImageConfig::parse(path, &document)?;
        let (blobs, diff_ids) = (manifest.layers(), document.rootfs().diff_ids());
        let (n_blobs, n_ids) = (blobs.len(), diff_ids.len());
        if n_blobs != n_ids {
            return Err(layout.refused(format!(
                "the manifest has {n_blobs} layers, and the configuration {n_ids} diff_ids"
            )));
        }
        if n_blobs == 0 {
            return Err(layout.refused("it has no layers, so there is no program in it"));
        }
        at_most(n_blobs, LAYERS, "layers").map_err(|source| layout.limit("the manifest", source))?;
        let lease = self.lease()?;
        let directory = self.layers()?;
        let mut budget = Budget::new(self.limits);
        let (mut layers, mut chain) = (Vec::new(), None);
        for (blob, diff_id) in blobs.iter().zip(diff_ids) {
            let diff = layer_sum(&layout, diff_id)?;
            let above = Unpacking { layout: &layout, blob, diff: &diff, below: &layers };
            let id = chain_id(chain.as_ref(), &diff);
            let path = directory.join(format!("sha256-{}", id.as_str()));
            above.ensure(&path, &mut budget)?;
            // overlayfs merges the roots of all its layers, whatever their attributes say.
            let root = File::open(&path).map_err(ImageError::io("open", &path))?;
            if layer::is_opaque(&root) {
                layers.clear();
            }
            layers.push(path);
            chain = Some(id);
        }
        Ok(Image { layers, config, lease: Some(lease) })
    }

    /// Makes the store, and keeps its layers from being collected.
    fn lease(&self) -> Result<Lease, ImageError> {
        make_private(&self.root)?;
        let root = File::open(&self.root).map_err(ImageError::io("open", &self.root))?;
        root.lock_shared().map_err(ImageError::io("lock", &self.root))?;
        Ok(Lease { _locked: root })
    }

    /// The directory of the layers, absolute.
    fn layers(&self) -> Result<PathBuf, ImageError> {
        let layers = self.root.join("layers");
        make_private(&layers)?;
        fs::canonicalize(&layers).map_err(ImageError::io("resolve", layers))
    }
}

/// Makes a directory for this user alone, with those above it.
fn make_private(path: &Path) -> Result<(), ImageError> {
    DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(ImageError::io("make", path))
}

/// A `diff_ids` entry, as a sum.
fn layer_sum(layout: &Layout, diff_id: &str) -> Result<Sum, ImageError> {
    let digest = diff_id.parse::<Digest>().ok();
    let sum = digest.as_ref().and_then(Sum::named);
    sum.ok_or_else(|| layout.refused(format!("{diff_id:?} in diff_ids is no sha256 digest")))
}

/// The identity of a layer with all below it (image-spec, "Layer ChainID").
fn chain_id(below: Option<&Sum>, diff: &Sum) -> Sum {
    below.map_or_else(|| diff.clone(), |below| Sum::of(format!("{below} {diff}").as_bytes()))
}

/// A layer that may have to be unpacked.
struct Unpacking<'a> {
    layout: &'a Layout,
    blob: &'a Descriptor,
    /// What it decompresses to.
    diff: &'a Sum,
    /// Directories of the layers below, lowest first.
    below: &'a [PathBuf],
}

impl Unpacking<'_> {
    /// Unpacks the layer unless that is done.
    fn ensure(&self, complete: &Path, budget: &mut Budget) -> Result<(), ImageError> {
        let mut name = complete.as_os_str().to_owned();
        name.push(UNFINISHED);
        let unfinished = PathBuf::from(name);
        let Some(directory) = lock(complete, &unfinished)? else { return Ok(()) };
        let result =
            clean(&directory, &unfinished).and_then(|()| self.unpack(&directory, budget)).and_then(|()| {
                // Else a power failure could leave a layer that has its name and not its data.
                syncfs(&directory).map_err(ImageError::errno("write to the disk", &unfinished))?;
                fs::rename(&unfinished, complete).map_err(ImageError::io("rename", &unfinished))
            });
        if result.is_err() {
            // The first failure is what counts; what cannot be removed here is found by the collector.
            let _removed = clean(&directory, &unfinished).is_ok() && fs::remove_dir(&unfinished).is_ok();
        }
        result
    }

    fn unpack(&self, directory: &File, budget: &mut Budget) -> Result<(), ImageError> {
        let digest = self.blob.digest();
        let compression = Compression::of(self.blob.media_type());
        let has_urls = self.blob.urls().as_ref().is_some_and(|urls| !urls.is_empty());
        let Some(compression) = compression.filter(|_| !has_urls) else {
            return Err(self.layout.refused(format!(
                "the layer {digest} has media type {}{}; only layers that are in the image, as tar, tar+gzip or tar+zstd, are \
                 supported",
                self.blob.media_type(),
                if has_urls { " and is to be fetched from elsewhere" } else { "" },
            )));
        };
        let lower =
            Lower::open(self.below).map_err(|(path, errno)| ImageError::errno("open", path)(errno))?;
        let mut blob = BufReader::with_capacity(128 << 10, Hashed::new(self.layout.blob(self.blob)?));
        let mut archive = Hashed::new(Decoder::new(compression, &mut blob));
        let unpacked = layer::unpack(&mut archive, directory.as_fd(), &lower, budget);
        let diff = archive.sum();
        if let Err(source) = &unpacked
            && source.limit().is_some()
        {
            return unpacked.map_err(|source| self.failed(source));
        }
        // A damaged blob is the reason for whatever else is wrong, so its digest comes first.
        let rest = io::copy(&mut blob, &mut io::sink());
        rest.map_err(ImageError::io("read", &self.layout.path))?;
        let what = format!("the layer {digest}");
        self.layout.check(&what, &self.layout.sum(self.blob)?, &blob.into_inner().sum())?;
        unpacked.map_err(|source| self.failed(source))?;
        self.layout.check(&format!("what {what} decompresses to"), self.diff, &diff)
    }

    fn failed(&self, source: layer::LayerError) -> ImageError {
        ImageError::Layer { image: self.layout.path.clone(), layer: self.blob.digest().to_string(), source }
    }
}

/// Locks the directory that a layer is unpacked into; `None` when the layer is complete, by another command perhaps.
fn lock(complete: &Path, unfinished: &Path) -> Result<Option<File>, ImageError> {
    loop {
        if fs::symlink_metadata(complete).is_ok() {
            return Ok(None);
        }
        match DirBuilder::new().mode(0o700).create(unfinished) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(ImageError::io("make", unfinished))?,
        }
        let directory = match File::open(unfinished) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result.map_err(ImageError::io("open", unfinished))?,
        };
        directory.lock().map_err(ImageError::io("lock", unfinished))?;
        let mine = directory.metadata().map_err(ImageError::io("look at", unfinished))?;
        // Whoever had the lock may have completed the layer, or have removed the directory.
        let now = fs::symlink_metadata(unfinished);
        if now.is_ok_and(|now| (now.dev(), now.ino()) == (mine.dev(), mine.ino())) {
            return Ok(Some(directory));
        }
    }
}

/// Removes all that is in a directory.
fn clean(directory: &File, path: &Path) -> Result<(), ImageError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let emptied = openat(directory, ".", flags, Mode::empty()).and_then(layer::empty);
    emptied.map_err(ImageError::errno("empty", path))
}

/// The store while nobody else uses it.
#[derive(Debug)]
pub struct Collector {
    layers: PathBuf,
    _locked: Option<File>,
}

impl Collector {
    /// Removes the layers that are not among those in use, and what killed commands left; tells what was removed. Layers in use
    /// are given as [`Image::layers`] has them.
    ///
    /// # Errors
    /// The failed operation; what is removed by then stays so, and no layer is left in part.
    pub fn remove_unused(self, in_use: &[PathBuf]) -> Result<Vec<PathBuf>, ImageError> {
        let entries = match fs::read_dir(&self.layers) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(ImageError::io("list", &self.layers))?,
        };
        let directory = File::open(&self.layers).map_err(ImageError::io("open", &self.layers))?;
        let mut removed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ImageError::io("list", &self.layers))?;
            let (name, path) = (entry.file_name(), entry.path());
            // What has another name is nobody's layer.
            let Some(text) = name.to_str().filter(|text| text.starts_with("sha256-")) else { continue };
            if in_use.iter().any(|layer| layer.file_name() == Some(&name)) {
                continue;
            }
            let doomed = if text.ends_with(UNFINISHED) {
                name.clone()
            } else {
                // A layer that is there in part must not look like one.
                let doomed = format!("{text}{UNFINISHED}");
                let remains = layer::remove(directory.as_fd(), doomed.as_str());
                remains.map_err(ImageError::errno("remove", self.layers.join(&doomed)))?;
                fs::rename(&path, self.layers.join(&doomed)).map_err(ImageError::io("rename", &path))?;
                doomed.into()
            };
            let result = layer::remove(directory.as_fd(), doomed.as_os_str());
            match result {
                Ok(()) | Err(Errno::ENOENT) => removed.push(path),
                Err(errno) => return Err(ImageError::errno("remove", path)(errno)),
            }
        }
        removed.sort();
        Ok(removed)
    }
}
