//! A tar archive as a stream of members: name, kind, attributes, data.
//!
//! The headers are those of the crate `tar`; the stream is read here, because its reader takes long names and extended headers
//! into memory whatever their length, and cuts the values of extended headers at each newline, which capabilities may contain.
//! References: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar, "Basic Tar Format".

mod header;
mod pax;
mod sparse;

use std::io::{self, Read};

use tar::Header;

pub(super) use header::Fields;
use pax::Pax;

use super::limits::{Budget, HEADER_BYTES, LimitExceeded};

/// Length of a header, and what data is padded to.
const BLOCK: u64 = 512;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream below failed.
    #[error("cannot read the archive at byte {position}")]
    Read {
        /// Where.
        position: u64,
        /// Why.
        source: io::Error,
    },
    /// The stream ended inside of a member.
    #[error("the archive is truncated: it ends at byte {position}, inside of an entry")]
    Truncated {
        /// Where.
        position: u64,
    },
    /// A header that is none.
    #[error("the header at byte {position} is damaged: {reason}")]
    Header {
        /// Where.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit was reached.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// A name from an archive, for people: escaped, and cut when it is long.
pub(super) fn shown(name: &[u8]) -> String {
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]);
    if name.len() > SHOWN { format!("{text:?}... ({} bytes)", name.len()) } else { format!("{text:?}") }
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Name as it is in the archive.
    pub(super) name: Vec<u8>,
    /// What it is.
    pub(super) kind: MemberKind,
    /// Owner, mode, time.
    pub(super) attributes: Attributes,
}

/// Owner, mode, time and extended attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Permissions with the set-id bits and the sticky bit.
    pub(super) mode: u32,
    /// User.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Time of the last change of the data: seconds since the epoch, and nanoseconds.
    pub(super) modified: (i64, i64),
    /// Extended attributes by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    /// A regular file; what is between the segments reads as zeros.
    File {
        /// Length.
        size: u64,
        /// Where the data in the archive belongs, in order.
        segments: Vec<Segment>,
    },
    /// Another name of the member with this name.
    HardLink(Vec<u8>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A directory.
    Directory,
    /// A fifo.
    Fifo,
}

/// Number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    /// Major number.
    pub(super) major: u32,
    /// Minor number.
    pub(super) minor: u32,
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Length.
    pub(super) length: u64,
}

/// What an archive is read from.
pub(super) trait Source: Read + Sized {
    /// Leaves out `n` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when there are fewer, else why it cannot be read.
    fn skip(&mut self, n: u64) -> io::Result<()> {
        match io::copy(&mut self.by_ref().take(n), &mut io::sink())? {
            skipped if skipped == n => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A stream that is read from its beginning to its end.
pub(super) struct Stream<R>(pub(super) R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Stream<R> {}

/// The members of an archive, one after the other.
pub(super) struct Members<S> {
    source: S,
    /// Where the stream is.
    position: u64,
    /// Bytes of the member's data that were not read.
    left: u64,
    /// Bytes after the data, up to the next header.
    padding: u64,
}

impl<S: Source> Members<S> {
    /// Begins at the first header.
    pub(super) fn new(source: S) -> Self {
        Self { source, position: 0, left: 0, padding: 0 }
    }

    /// Where in the archive the stream is: after [`Members::next`] that is where the member's data begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next member; `None` at the end. What was not read of the last one is left out.
    pub(super) fn next(&mut self, budget: &mut Budget) -> Result<Option<Member>, ArchiveError> {
        let (mut long_name, mut long_link, mut pax) = (None, None, None);
        loop {
            let Some(fields) = self.header(budget)? else {
                if long_name.is_some() || long_link.is_some() || pax.is_some() {
                    return Err(ArchiveError::Truncated { position: self.position });
                }
                return Ok(None);
            };
            match fields.kind {
                b'L' => long_name = Some(without_end(self.extension(&fields, budget)?)),
                b'K' => long_link = Some(without_end(self.extension(&fields, budget)?)),
                b'x' => {
                    let records = self.extension(&fields, budget)?;
                    let parsed = Pax::parse(&records);
                    pax = Some(parsed.map_err(|reason| self.damaged(reason))?);
                }
                // Defaults for the whole archive: Docker and containerd leave them out too.
                b'g' => self.store(fields.size, budget)?,
                _ => {
                    return self
                        .member(fields, long_name, long_link, pax.unwrap_or_default(), budget)
                        .map(Some);
                }
            }
        }
    }

    /// Reads data of the member; 0 bytes at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if n == 0 {
            return Ok(0);
        }
        match self.some(&mut buffer[..n])? {
            0 => Err(ArchiveError::Truncated { position: self.position }),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }

    /// Reads what comes after the last member.
    pub(super) fn finish(mut self, budget: &mut Budget) -> Result<(), ArchiveError> {
        let mut buffer = [0; 8192];
        loop {
            match self.some(&mut buffer)? {
                0 => return Ok(()),
                n => budget.bytes(n as u64)?,
            }
        }
    }

    fn member(
        &mut self,
        fields: Fields,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        pax: Pax,
        budget: &mut Budget,
    ) -> Result<Member, ArchiveError> {
        budget.entry()?;
        // The order of GNU tar and of Go's reader: a GNU long name, else that of the extended header, else the header's.
        let name = long_name.or(pax.path).unwrap_or_else(|| fields.name.clone());
        let link = long_link.or(pax.linkpath).unwrap_or_else(|| fields.link.clone());
        let size = pax.size.unwrap_or(fields.size);
        if pax.is_sparse {
            let reason = "a sparse file in the pax format, which is not supported; make the layer without sparse files";
            return Err(self.damaged(format!("{}: {reason}", shown(&name))));
        }
        let device = || {
            fields.device.ok_or_else(|| self.damaged(format!("{}: a device without a number", shown(&name))))
        };
        let kind = match fields.kind {
            // Before there was a kind for directories, a slash told them.
            b'0' | b'\0' | b'7' if name.ends_with(b"/") => {
                self.store(size, budget)?;
                MemberKind::Directory
            }
            b'0' | b'\0' | b'7' => {
                self.store(size, budget)?;
                MemberKind::File { size, segments: vec![Segment { offset: 0, length: size }] }
            }
            b'1' => MemberKind::HardLink(link),
            b'2' => MemberKind::Symlink(link),
            b'3' => MemberKind::CharDevice(device()?),
            b'4' => MemberKind::BlockDevice(device()?),
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            b'S' => self.sparse(&fields, size, budget)?,
            other => {
                let reason =
                    format!("{}: entries of kind {:?} are not supported", shown(&name), char::from(other));
                return Err(self.damaged(reason));
            }
        };
        let attributes = Attributes {
            mode: fields.mode,
            uid: pax.uid.map_or_else(|| id(fields.uid), Ok).map_err(|reason| self.damaged(reason))?,
            gid: pax.gid.map_or_else(|| id(fields.gid), Ok).map_err(|reason| self.damaged(reason))?,
            modified: pax.modified.unwrap_or((fields.modified, 0)),
            xattrs: pax.xattrs,
        };
        Ok(Member { name, kind, attributes })
    }

    /// A file in GNU tar's own sparse format: the list of its segments may go on in blocks after the header.
    fn sparse(
        &mut self,
        fields: &Fields,
        stored: u64,
        budget: &mut Budget,
    ) -> Result<MemberKind, ArchiveError> {
        let Some(map) = &fields.sparse else {
            return Err(self.damaged("a sparse file without its list of segments".to_owned()));
        };
        let mut map = map.clone();
        while map.goes_on {
            let mut block = [0; BLOCK as usize];
            if !self.block(&mut block, budget)? {
                return Err(ArchiveError::Truncated { position: self.position });
            }
            map.extend(&block).map_err(|reason| self.damaged(reason))?;
        }
        let segments = map.checked(stored).map_err(|reason| self.damaged(reason))?;
        self.store(stored, budget)?;
        // The holes take no room on the node, and all of it in whatever copies the file.
        budget.bytes(map.size.saturating_sub(stored))?;
        Ok(MemberKind::File { size: map.size, segments })
    }

    /// The data of the current header is that long.
    fn store(&mut self, size: u64, budget: &mut Budget) -> Result<(), ArchiveError> {
        let padded = size.checked_next_multiple_of(BLOCK);
        let padded = padded.ok_or_else(|| self.damaged(format!("size {size} is out of range")))?;
        budget.bytes(padded)?;
        (self.left, self.padding) = (size, padded - size);
        Ok(())
    }

    /// The data of a header that belongs to the next one.
    fn extension(&mut self, fields: &Fields, budget: &mut Budget) -> Result<Vec<u8>, ArchiveError> {
        if fields.size > HEADER_BYTES {
            return Err(LimitExceeded {
                what: "bytes in an extended header or long name",
                limit: HEADER_BYTES,
            }
            .into());
        }
        self.store(fields.size, budget)?;
        let mut data = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(data),
                n => data.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// The next header; `None` at the end of the archive, which is a block of zeros, or of the stream.
    fn header(&mut self, budget: &mut Budget) -> Result<Option<Fields>, ArchiveError> {
        let rest = self.left + self.padding;
        if rest > 0 {
            self.source.skip(rest).map_err(|error| self.failed(error))?;
            self.position += rest;
            (self.left, self.padding) = (0, 0);
        }
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes(), budget)? || header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let fields = Fields::parse(&header);
        fields.map(Some).map_err(|reason| ArchiveError::Header { position: self.position - BLOCK, reason })
    }

    /// Fills a block; false when the stream is at its end.
    fn block(&mut self, block: &mut [u8; BLOCK as usize], budget: &mut Budget) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < block.len() {
            match self.some(&mut block[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ArchiveError::Truncated { position: self.position }),
                n => filled += n,
            }
        }
        budget.bytes(BLOCK)?;
        Ok(true)
    }

    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        loop {
            match self.source.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
                Ok(n) => {
                    self.position += n as u64;
                    return Ok(n);
                }
            }
        }
    }

    fn failed(&self, source: io::Error) -> ArchiveError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Truncated { position: self.position },
            _ => ArchiveError::Read { position: self.position, source },
        }
    }

    fn damaged(&self, reason: String) -> ArchiveError {
        ArchiveError::Header { position: self.position, reason }
    }
}

/// A user or group number; the highest means "leave it as it is" to chown(2).
fn id(number: i64) -> Result<u32, String> {
    let id = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| format!("user or group number {number} is out of range"))
}

/// A long name without the NUL that ends it.
fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    name
}

#[cfg(test)]
mod tests;
