//! Kernels: from a file to something that QEMU boots directly, and the modules that go with it.
//!
//! A bzImage unpacks itself in the guest, which under emulation costs more than the whole boot afterwards.
//! So its `vmlinux` is taken out once, on the host, and kept; QEMU enters it through PVH. A kernel without a
//! PVH entry boots as the bzImage that it came in.

mod compression;
mod extract;
mod modules;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use compression::DecompressError;
pub use extract::ExtractError;
pub use modules::{ModuleError, ModuleTree};

/// A kernel that is ready to boot.
#[derive(Debug, Clone)]
pub struct Kernel {
    image: PathBuf,
    version: String,
    modules: Option<ModuleTree>,
}

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A file could not be read.
    #[error("read kernel {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is no kernel, or one that cannot be unpacked.
    #[error("{} is no kernel that can boot here", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ExtractError,
    },
    /// The unpacked package has no kernel, or several.
    #[error("{} must hold exactly one boot/vmlinuz-VERSION, it holds {count}", tree.display())]
    Package {
        /// Root of the unpacked package.
        tree: PathBuf,
        /// How many were found.
        count: usize,
    },
    /// The unpacked image could not be kept.
    #[error("write {}", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The modules could not be read.
    #[error(transparent)]
    Modules(#[from] ModuleError),
}

impl Kernel {
    /// Takes the kernel of an unpacked distribution package: `boot/vmlinuz-VERSION` and
    /// `lib/modules/VERSION` below `tree`.
    ///
    /// # Errors
    /// When the tree does not hold exactly one kernel, and as [`Kernel::from_file`].
    pub fn from_package(tree: &Path, cache_dir: &Path) -> Result<Self, KernelError> {
        let boot = tree.join("boot");
        let listing = fs::read_dir(&boot).map_err(|source| KernelError::Read { path: boot, source })?;
        let images: Vec<PathBuf> = listing
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
            .map(|entry| entry.path())
            .collect();
        match images.as_slice() {
            [image] => Self::from_file(image, cache_dir),
            _ => Err(KernelError::Package { tree: tree.to_owned(), count: images.len() }),
        }
    }

    /// Takes any bzImage or ELF vmlinux. Modules are looked for in `lib/modules/VERSION` and
    /// `usr/lib/modules/VERSION` beside the `boot` directory that holds the file, then in `/lib/modules/VERSION`;
    /// with none of them, everything that is needed must be built in.
    ///
    /// The unpacked image is kept in `cache_dir`, under the hash of the file.
    ///
    /// # Errors
    /// When the file cannot be read, is no kernel, or cannot be unpacked into `cache_dir`.
    pub fn from_file(path: &Path, cache_dir: &Path) -> Result<Self, KernelError> {
        let bytes = fs::read(path).map_err(|source| KernelError::Read { path: path.to_owned(), source })?;
        let not_a_kernel = |source| KernelError::NotAKernel { path: path.to_owned(), source };
        let (image, version) = if extract::is_elf(&bytes) {
            if !extract::has_pvh_entry(&bytes).map_err(not_a_kernel)? {
                return Err(not_a_kernel(ExtractError::NoPvhEntry));
            }
            (path.to_owned(), extract::vmlinux_version(&bytes).map_err(not_a_kernel)?)
        } else {
            let header = extract::BzImage::parse(&bytes).map_err(not_a_kernel)?;
            let kept = cache_dir.join(format!("vmlinux-{}", hex(&Sha256::digest(&bytes))));
            // An empty file remembers that this one has no PVH entry.
            let image = match fs::metadata(&kept) {
                Ok(metadata) if metadata.len() == 0 => path.to_owned(),
                Ok(_) => kept,
                Err(_) => {
                    let vmlinux = header.vmlinux().map_err(not_a_kernel)?;
                    let pvh = extract::has_pvh_entry(&vmlinux).map_err(not_a_kernel)?;
                    keep(&kept, if pvh { &vmlinux } else { &[] })?;
                    if pvh { kept } else { path.to_owned() }
                }
            };
            (image, header.version)
        };
        let modules = ModuleTree::find(path, &version)?;
        Ok(Self { image, version, modules })
    }

    /// What QEMU gets as `-kernel`.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// `uname -r` of this kernel.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its modules, when they are at hand.
    #[must_use]
    pub fn modules(&self) -> Option<&ModuleTree> {
        self.modules.as_ref()
    }
}

/// Writes the whole file or none: a reader never sees a part.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), KernelError> {
    use std::io::Write as _;
    let dir = path.parent().unwrap_or(Path::new("."));
    let failed = |source| KernelError::Cache { path: path.to_owned(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    // Kept for whoever uses the cache; temporary files are their owner's alone.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
