//! From bzImage to vmlinux (x86 boot protocol, Documentation/arch/x86/boot.rst), and what a vmlinux tells.

use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use super::compression::{self, DecompressError};

/// Why a file is not taken as a kernel.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// Neither an ELF file nor a bzImage.
    #[error(
        "it is neither an ELF vmlinux nor an x86 bzImage (no \"HdrS\" at offset 0x202); give the path of one"
    )]
    NotABzImage,
    /// A boot protocol from before 2007.
    #[error("boot protocol {major}.{minor} does not say where the packed kernel is; 2.8 or later does")]
    OldProtocol {
        /// Its major number.
        major: u8,
        /// Its minor number.
        minor: u8,
    },
    /// The header points behind the end of the file.
    #[error(
        "the file ends before its packed kernel does (bytes {start} to {end} of {length}); is it a partial copy?"
    )]
    Truncated {
        /// First byte of the packed kernel.
        start: usize,
        /// The byte after its last.
        end: usize,
        /// Length of the file.
        length: usize,
    },
    /// The packed kernel does not unpack.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// What came out is no x86-64 ELF file.
    #[error("no x86-64 ELF kernel: {detail}")]
    Elf {
        /// What the parser says.
        detail: String,
    },
    /// A vmlinux that QEMU cannot enter.
    #[error("this vmlinux has no PVH entry (CONFIG_PVH); give the bzImage of the same build")]
    NoPvhEntry,
    /// The version text is missing.
    #[error("no \"Linux version\" text inside")]
    NoVersion,
}

/// A parsed bzImage.
#[derive(Debug)]
pub(super) struct BzImage<'a> {
    payload: &'a [u8],
    pub(super) version: String,
}

const SECTOR_BYTES: usize = 512;
/// Offsets of the boot protocol's fields.
const SETUP_SECTS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const VERSION_POINTER: usize = 0x20e;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

impl<'a> BzImage<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ExtractError> {
        if bytes.get(MAGIC..MAGIC + 4) != Some(b"HdrS".as_slice()) {
            return Err(ExtractError::NotABzImage);
        }
        let word = |at: usize| {
            bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|four| u32::from_le_bytes(*four))
        };
        let half = |at: usize| {
            bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()).map(|two| u16::from_le_bytes(*two))
        };
        let [minor, major] = half(PROTOCOL).ok_or(ExtractError::NotABzImage)?.to_le_bytes();
        if (major, minor) < (2, 8) {
            return Err(ExtractError::OldProtocol { major, minor });
        }
        // Zero means four, for the sake of very old loaders.
        let setup_sects = match bytes[SETUP_SECTS] {
            0 => 4,
            n_sectors => usize::from(n_sectors),
        };
        let size = |at| word(at).and_then(|word| usize::try_from(word).ok()).ok_or(ExtractError::NotABzImage);
        let start = (setup_sects + 1) * SECTOR_BYTES + size(PAYLOAD_OFFSET)?;
        let end = start + size(PAYLOAD_LENGTH)?;
        let payload =
            bytes.get(start..end).ok_or(ExtractError::Truncated { start, end, length: bytes.len() })?;

        let version_at = usize::from(half(VERSION_POINTER).ok_or(ExtractError::NotABzImage)?) + 0x200;
        let version =
            first_word(bytes.get(version_at..).unwrap_or_default()).ok_or(ExtractError::NoVersion)?;
        Ok(Self { payload, version })
    }

    /// Unpacks the kernel inside.
    pub(super) fn vmlinux(&self) -> Result<Vec<u8>, ExtractError> {
        let vmlinux = compression::unpack(self.payload)?;
        if is_elf(&vmlinux) {
            Ok(vmlinux)
        } else {
            Err(ExtractError::Elf { detail: "the unpacked bytes are no ELF file".to_owned() })
        }
    }
}

pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// Whether the file has the Xen ELF note that QEMU's direct boot looks for.
pub(super) fn has_pvh_entry(bytes: &[u8]) -> Result<bool, ExtractError> {
    /// `XEN_ELFNOTE_PHYS32_ENTRY` of the Xen headers.
    const PHYS32_ENTRY: u32 = 18;
    let elf_error = |error: object::read::Error| ExtractError::Elf { detail: error.to_string() };
    let header = elf::FileHeader64::<object::LittleEndian>::parse(bytes).map_err(elf_error)?;
    let endian = header.endian().map_err(elf_error)?;
    if header.e_machine(endian) != elf::EM_X86_64 {
        return Err(ExtractError::Elf { detail: format!("machine type {}", header.e_machine(endian)) });
    }
    for segment in header.program_headers(endian, bytes).map_err(elf_error)? {
        let Some(mut notes) = segment.notes(endian, bytes).map_err(elf_error)? else { continue };
        while let Some(note) = notes.next().map_err(elf_error)? {
            if note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// `uname -r`, from the banner that every kernel carries.
pub(super) fn vmlinux_version(bytes: &[u8]) -> Result<String, ExtractError> {
    const BANNER: &[u8] = b"Linux version ";
    // The same words stand in format strings; there a '%' follows.
    bytes
        .windows(BANNER.len())
        .enumerate()
        .filter(|(_, window)| *window == BANNER)
        .find_map(|(at, _)| first_word(&bytes[at + BANNER.len()..]).filter(|word| !word.starts_with('%')))
        .ok_or(ExtractError::NoVersion)
}

/// The text up to the first blank or NUL, if it can be a version.
fn first_word(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().take(128).position(|byte| matches!(byte, b' ' | 0))?;
    let word = std::str::from_utf8(&bytes[..end]).ok()?;
    (!word.is_empty() && !word.contains('/')).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest file that passes as a bzImage whose payload is `payload`.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR_BYTES];
        image[SETUP_SECTS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[VERSION_POINTER..VERSION_POINTER + 2].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x30f].copy_from_slice(b"6.99.1-test (me");
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4]
            .copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn header_gives_version_and_payload() {
        let image = bzimage(b"payload");
        let parsed = BzImage::parse(&image).unwrap();
        assert_eq!((parsed.version.as_str(), parsed.payload), ("6.99.1-test", b"payload".as_slice()));
    }

    #[test]
    fn what_is_no_kernel_says_so() {
        for bytes in [&b""[..], b"#!/bin/sh\n", &[0; 4096]] {
            assert!(matches!(BzImage::parse(bytes), Err(ExtractError::NotABzImage)));
        }
        let mut old = bzimage(b"");
        old[PROTOCOL] = 7;
        old[PROTOCOL + 1] = 2;
        assert!(matches!(BzImage::parse(&old), Err(ExtractError::OldProtocol { major: 2, minor: 7 })));
        let mut cut = bzimage(b"payload");
        cut.truncate(cut.len() - 1);
        assert!(matches!(BzImage::parse(&cut), Err(ExtractError::Truncated { .. })));
    }

    #[test]
    fn payload_must_be_a_packed_elf_file() {
        let unknown = bzimage(b"????????");
        assert!(matches!(BzImage::parse(&unknown).unwrap().vmlinux(), Err(ExtractError::Decompress(_))));
        let empty_lz4 = bzimage(&[0x02, 0x21, 0x4c, 0x18]);
        assert!(matches!(BzImage::parse(&empty_lz4).unwrap().vmlinux(), Err(ExtractError::Elf { .. })));
    }

    #[test]
    fn version_of_a_vmlinux_is_the_banner_not_a_format() {
        let text = b"\x7fELF..Linux version %s (%s)\0..Linux version 6.1.0-9-cloud-amd64 (builder)\0";
        assert_eq!(vmlinux_version(text).unwrap(), "6.1.0-9-cloud-amd64");
        assert!(matches!(vmlinux_version(b"nothing"), Err(ExtractError::NoVersion)));
    }

    #[test]
    fn elf_of_another_kind_is_refused() {
        assert!(matches!(has_pvh_entry(b"\x7fELF"), Err(ExtractError::Elf { .. })));
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(!has_pvh_entry(&own).unwrap());
    }
}
