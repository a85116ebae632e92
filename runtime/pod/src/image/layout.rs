//! An OCI image layout (image-spec, "Image Layout"), as a directory or as a tar archive of one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use oci_spec::image::{Descriptor, OciLayout};
use serde::de::DeserializeOwned;

use super::digest::Sum;
use super::error::ImageError;
use super::limits::{Budget, LimitExceeded, Limits};
use super::members::{ArchiveError, MemberKind, Members, Segment, Source};
use super::regular;

/// A layout that was opened.
#[derive(Debug)]
pub(super) struct Layout {
    /// As it was given.
    pub(super) path: PathBuf,
    limits: Limits,
    files: Files,
}

#[derive(Debug)]
enum Files {
    /// Below a directory.
    Directory(File),
    /// In an archive, by name.
    Archive(File, BTreeMap<String, Extent>),
}

/// Where in an archive a file is; `None` when the entry is none.
type Extent = Option<(u64, u64)>;

impl Layout {
    /// Opens a layout, and checks that it is one.
    ///
    /// # Errors
    /// What it is not.
    pub(super) fn open(path: &Path, limits: Limits) -> Result<Self, ImageError> {
        let io = |op| ImageError::io(op, path);
        // Not to wait where a fifo has the name.
        let flags = libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io("open"))?;
        let kind = file.metadata().map_err(io("look at"))?.file_type();
        let files = if kind.is_dir() {
            Files::Directory(file)
        } else if kind.is_file() {
            let index = index(path, &file, limits)?;
            Files::Archive(file, index)
        } else {
            let reason =
                "it is neither a directory nor a file; an image is an OCI layout or a tar archive of one";
            return Err(ImageError::Layout { image: path.to_owned(), reason: reason.to_owned() });
        };
        let layout = Self { path: path.to_owned(), limits, files };
        let marker: OciLayout = layout.parse("oci-layout", &layout.document("oci-layout")?)?;
        let version = marker.image_layout_version();
        if version.split('.').next() != Some("1") {
            return Err(layout.refused(format!("its layout has version {version:?}; only 1 is supported")));
        }
        Ok(layout)
    }

    /// Reads a file at the top of the layout.
    ///
    /// # Errors
    /// When it is missing or too large, else the failed operation.
    pub(super) fn document(&self, name: &'static str) -> Result<Vec<u8>, ImageError> {
        let Some(blob) = self.file(name)? else {
            return Err(self.refused(match &self.files {
                Files::Archive(_, index) if index.contains_key("manifest.json") => format!(
                    "it is an archive in Docker's own format, without {name}; save it with Docker 25 or later, or \
                     convert it: skopeo copy docker-archive:FILE oci-archive:NEW"
                ),
                _ => format!("{name} is missing, so it is no OCI image layout"),
            }));
        };
        self.whole(blob, name)
    }

    /// Reads a blob that is a document, and checks its size and digest.
    ///
    /// # Errors
    /// When it is missing, too large or damaged, else the failed operation.
    pub(super) fn verified(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>, ImageError> {
        let bytes = self.whole(self.blob(descriptor)?, what)?;
        self.check(what, &self.sum(descriptor)?, &Sum::of(&bytes))?;
        Ok(bytes)
    }

    /// Opens a blob, and checks its size.
    ///
    /// # Errors
    /// When it is missing, has another size or is not named by a SHA-256, else the failed operation.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Blob, ImageError> {
        let sum = self.sum(descriptor)?;
        let blob = self.file(&format!("blobs/sha256/{}", sum.as_str()))?;
        let blob = blob.ok_or_else(|| self.refused(format!("the blob {sum} is missing")))?;
        let (size, stated) = (blob.size(), descriptor.size());
        if size != stated {
            return Err(self.refused(format!("the blob {sum} has {size} bytes, and should have {stated}")));
        }
        Ok(blob)
    }

    /// The SHA-256 that a descriptor names.
    ///
    /// # Errors
    /// When it names another digest.
    pub(super) fn sum(&self, descriptor: &Descriptor) -> Result<Sum, ImageError> {
        let digest = descriptor.digest();
        Sum::named(digest)
            .ok_or_else(|| self.refused(format!("the digest {digest} is not supported, only sha256 is")))
    }

    /// Compares digests.
    ///
    /// # Errors
    /// When they differ.
    pub(super) fn check(&self, what: &str, expected: &Sum, actual: &Sum) -> Result<(), ImageError> {
        if expected == actual {
            return Ok(());
        }
        let (expected, actual) = (expected.to_string(), actual.to_string());
        Err(ImageError::Digest { image: self.path.clone(), what: what.to_owned(), expected, actual })
    }

    /// Reads a document as JSON.
    ///
    /// # Errors
    /// What the parser says.
    pub(super) fn parse<T: DeserializeOwned>(&self, document: &str, text: &[u8]) -> Result<T, ImageError> {
        serde_json::from_slice(text).map_err(|source| ImageError::Document {
            image: self.path.clone(),
            document: document.to_owned(),
            source,
        })
    }

    /// An [`ImageError::Layout`].
    pub(super) fn refused(&self, reason: impl Into<String>) -> ImageError {
        ImageError::Layout { image: self.path.clone(), reason: reason.into() }
    }

    /// An [`ImageError::Limit`].
    pub(super) fn limit(&self, what: &str, source: LimitExceeded) -> ImageError {
        ImageError::Limit { image: self.path.clone(), what: what.to_owned(), source }
    }

    fn whole(&self, mut blob: Blob, what: &str) -> Result<Vec<u8>, ImageError> {
        let limit = self.limits.document_bytes;
        if blob.size() > limit {
            return Err(self.limit(what, LimitExceeded { what: "bytes in a document", limit }));
        }
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).map_err(ImageError::io("read", self.path.join(what)))?;
        Ok(bytes)
    }

    /// A regular file of the layout; `None` when there is none of the name.
    fn file(&self, name: &str) -> Result<Option<Blob>, ImageError> {
        match &self.files {
            Files::Directory(directory) => {
                // A link may lead to another file of the layout, and not out of it.
                let how = OpenHow::new()
                    .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
                    .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
                let path = self.path.join(name);
                let found = match openat2(directory.as_fd(), name, how) {
                    Err(Errno::ENOENT) => return Ok(None),
                    Err(Errno::EXDEV) => {
                        return Err(self.refused(format!("{name} is a link that leads out of the layout")));
                    }
                    found => found.map_err(ImageError::errno("open", &path))?,
                };
                let file = regular::open(found).map_err(ImageError::io("open", &path))?;
                let file = file.ok_or_else(|| self.refused(format!("{name} is not a file")))?;
                let metadata = file.metadata().map_err(ImageError::io("look at", &path))?;
                Ok(Some(Blob { file, position: 0, end: metadata.len() }))
            }
            Files::Archive(file, index) => match index.get(name) {
                None => Ok(None),
                Some(None) => Err(self.refused(format!("{name} is not a file in the archive"))),
                Some(Some((position, size))) => {
                    let file = file.try_clone().map_err(ImageError::io("open", &self.path))?;
                    Ok(Some(Blob { file, position: *position, end: position + size }))
                }
            },
        }
    }
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Blob {
    file: File,
    position: u64,
    end: u64,
}

impl Blob {
    /// Bytes that were not read yet.
    pub(super) fn size(&self) -> u64 {
        self.end - self.position
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = usize::try_from(self.size()).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..n], self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

/// Where the files of the layout are in an archive.
fn index(path: &Path, file: &File, limits: Limits) -> Result<BTreeMap<String, Extent>, ImageError> {
    let image = || path.to_owned();
    let mut magic = [0; 4];
    let n = file.read_at(&mut magic, 0).map_err(ImageError::io("read", path))?;
    let compression = match magic[..n] {
        [0x1f, 0x8b, ..] => Some("gzip -d"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd -d"),
        [0xfd, b'7', b'z', b'X'] => Some("xz -d"),
        _ => None,
    };
    if let Some(way_out) = compression {
        let reason = format!("the archive is compressed; decompress it first: {way_out}");
        return Err(ImageError::Layout { image: image(), reason });
    }
    let length = file.metadata().map_err(ImageError::io("look at", path))?.len();
    let mut members = Members::new(Archive { file, length });
    let mut index = BTreeMap::new();
    // Nothing of it is unpacked here.
    let mut budget = Budget::new(Limits { unpacked_bytes: u64::MAX, ..limits });
    let damaged = |source: ArchiveError| ImageError::Archive { image: image(), source };
    while let Some(member) = members.next(&mut budget).map_err(damaged)? {
        let Ok(name) = String::from_utf8(member.name) else { continue };
        let name = name.trim_start_matches("./");
        if !["oci-layout", "index.json", "manifest.json"].contains(&name) && !name.starts_with("blobs/") {
            continue;
        }
        let extent = match member.kind {
            MemberKind::Directory => continue,
            MemberKind::File { size, segments } if segments == [Segment { offset: 0, length: size }] => {
                Some((members.position(), size))
            }
            _ => None,
        };
        budget.remember(name.len()).map_err(|source| damaged(source.into()))?;
        // The last of a name is the one that unpacking would leave.
        index.insert(name.to_owned(), extent);
    }
    Ok(index)
}

/// An archive that is a file, of which most is left out.
struct Archive<'a> {
    file: &'a File,
    length: u64,
}

impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Source for Archive<'_> {
    fn skip(&mut self, n: u64) -> io::Result<()> {
        let position = self.file.stream_position()?;
        match position.checked_add(n) {
            Some(to) if to <= self.length => self.file.seek(SeekFrom::Start(to)).map(drop),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
