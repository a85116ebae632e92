//! Images: where the root file system of a container comes from, and how its program is started by default.
//!
//! References: OCI image-spec 1.1; overlayfs (kernel documentation). [`ImageStore::resolve`] is the way in:
//!
//! ```text
//! layout   oci-layout, index.json and blobs, in a directory or a tar archive (layout, members)
//! select   tag and platform, down to one manifest
//! config   what the program is started with
//! store    each layer unpacked once, below STORE/layers (layer)
//! ```
//!
//! Nothing of an image is trusted: documents and blobs are read up to a limit and checked by size and digest, what layers
//! decompress to is checked by its digest before it is used, and unpacking never leaves its directory ([`layer`]). What an
//! image may ask for at most is in [`Limits`].
//!
//! Not read: the volumes and ports of a configuration, which Kubernetes leaves to the manifest; layers that are to be fetched
//! from elsewhere.

mod compression;
mod config;
mod digest;
mod error;
pub mod layer;
mod layout;
mod limits;
mod members;
mod regular;
mod select;
mod store;
mod user;

use std::path::PathBuf;

pub use config::ImageConfig;
pub use error::ImageError;
pub use limits::{Budget, LimitExceeded, Limits};
pub use members::ArchiveError;
pub use store::{Collector, ImageStore, Lease};
pub use user::{UserError, UserIds, resolve_uid, resolve_user};

/// An image that is ready to be mounted.
#[derive(Debug)]
pub struct Image {
    /// Directories for overlayfs, lowest first, absolute. overlayfs shows the root directory with the attributes that it has in the
    /// directory mounted above these, so that one must be given those of the last of these.
    pub layers: Vec<PathBuf>,
    /// The defaults of its program.
    pub config: ImageConfig,
    /// Keeps the layers from being collected. To be dropped when the pod's state names them, and before a process is cloned that
    /// lives on; `None` for a directory, which is nobody's to collect.
    pub lease: Option<Lease>,
}
