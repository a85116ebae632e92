//! Errors of images.

use std::io;
use std::path::PathBuf;

use super::layer::LayerError;
use super::limits::LimitExceeded;
use super::members::ArchiveError;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file operation.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// Operation.
        op: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A root file system that is not one.
    #[error("image {} is not a directory; give a root file system, or an image as oci:PATH[:TAG]", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// What is no OCI layout, or one that cannot be used.
    #[error("image {}: {reason}", image.display())]
    Layout {
        /// Directory or archive.
        image: PathBuf,
        /// What is wrong, and the way out where there is one.
        reason: String,
    },
    /// The archive of an image is damaged.
    #[error("image {}", image.display())]
    Archive {
        /// The archive.
        image: PathBuf,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// A document that is not what the specification says.
    #[error("image {}: {document} is invalid", image.display())]
    Document {
        /// Directory or archive.
        image: PathBuf,
        /// Name of the document.
        document: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// No image has the tag.
    #[error("image {}: there is no tag {tag:?}; {}", image.display(), have(tags))]
    UnknownTag {
        /// Directory or archive.
        image: PathBuf,
        /// The tag as given.
        tag: String,
        /// Tags that there are.
        tags: Vec<String>,
    },
    /// More than one image could be meant.
    #[error("image {}: {n_images} images fit; name one as oci:PATH:TAG, {}", image.display(), have(tags))]
    Ambiguous {
        /// Directory or archive.
        image: PathBuf,
        /// How many.
        n_images: usize,
        /// Tags that there are.
        tags: Vec<String>,
    },
    /// No image is for this machine.
    #[error("image {}: there is none for {wanted}, only for {}", image.display(), found.join(", "))]
    Platform {
        /// Directory or archive.
        image: PathBuf,
        /// `os/architecture` of this machine.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// A blob is not what its descriptor says.
    #[error("image {}: {what} is damaged: its digest is {actual}, and should be {expected}", image.display())]
    Digest {
        /// Directory or archive.
        image: PathBuf,
        /// The blob.
        what: String,
        /// The digest that it should have.
        expected: String,
        /// The digest that it has.
        actual: String,
    },
    /// A limit was reached.
    #[error("image {}: {what}", image.display())]
    Limit {
        /// Directory or archive.
        image: PathBuf,
        /// What has too much of something.
        what: String,
        /// The limit.
        source: LimitExceeded,
    },
    /// A layer cannot be unpacked.
    #[error("image {}: layer {layer} cannot be unpacked", image.display())]
    Layer {
        /// Directory or archive.
        image: PathBuf,
        /// Digest of its blob.
        layer: String,
        /// Why.
        source: LayerError,
    },
    /// Defaults that no program can be started with.
    #[error("image {}: {field} of its configuration: {reason}", image.display())]
    Config {
        /// Directory or archive.
        image: PathBuf,
        /// Field.
        field: &'static str,
        /// What is wrong with it, with the value.
        reason: String,
    },
}

impl ImageError {
    /// An [`ImageError::Io`].
    pub(super) fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { op, path, source }
    }

    /// The same from an errno.
    pub(super) fn errno(
        op: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(nix::errno::Errno) -> Self {
        let path = path.into();
        move |errno| Self::Io { op, path, source: errno.into() }
    }
}

/// Tags, in words.
fn have(tags: &[String]) -> String {
    if tags.is_empty() { "none has a tag".to_owned() } else { format!("the tags are {}", tags.join(", ")) }
}
