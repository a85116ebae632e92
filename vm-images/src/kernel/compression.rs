//! The compressions that kernels and modules come in, told apart by their first bytes.

use std::io::Read;

/// A compression by its magic number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Xz,
    Zstd,
    /// The framing of `lz4 -l`, which the kernel's build uses.
    Lz4Legacy,
}

/// Why bytes could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// None of gzip, xz, zstd and LZ4.
    #[error("starts with {magic:02x?}, which is neither gzip, xz, zstd nor LZ4")]
    Unknown {
        /// The first bytes.
        magic: Vec<u8>,
    },
    /// The stream is damaged or uses what the decoder lacks.
    #[error("unpack {name} stream: {detail}")]
    Damaged {
        /// Name of the compression.
        name: &'static str,
        /// What the decoder says.
        detail: String,
    },
}

const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// A block of the legacy framing unpacks to this much at most.
const LZ4_LEGACY_BLOCK_BYTES: usize = 8 << 20;

impl Compression {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Compression); 4] = [
            (&[0x1f, 0x8b], Compression::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            (&LZ4_LEGACY_MAGIC, Compression::Lz4Legacy),
        ];
        MAGICS.into_iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, compression)| compression)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4Legacy => "LZ4",
        }
    }

    fn unpack(self, bytes: &[u8]) -> Result<Vec<u8>, DecompressError> {
        let damaged = |detail: String| DecompressError::Damaged { name: self.name(), detail };
        let read_all = |mut reader: Box<dyn Read + '_>| {
            let mut out = Vec::new();
            reader.read_to_end(&mut out).map_err(|error| damaged(error.to_string()))?;
            Ok(out)
        };
        match self {
            Self::Gzip => read_all(Box::new(flate2::read::GzDecoder::new(bytes))),
            Self::Xz => read_all(Box::new(lzma_rust2::XzReader::new(bytes, false))),
            Self::Zstd => read_all(Box::new(
                ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|error| damaged(error.to_string()))?,
            )),
            Self::Lz4Legacy => unpack_lz4_legacy(bytes).map_err(damaged),
        }
    }
}

/// Unpacks a stream that begins at the first byte. Bytes after its end are ignored: the kernel's build
/// appends the unpacked size.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, DecompressError> {
    let unknown = || DecompressError::Unknown { magic: bytes[..bytes.len().min(6)].to_vec() };
    Compression::of(bytes).ok_or_else(unknown)?.unpack(bytes)
}

/// Magic, then blocks: their packed length (32 bits, little endian), their bytes. What follows the last
/// block is the unpacked size, which is no length of a block: it is larger than the rest.
fn unpack_lz4_legacy(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = &bytes[LZ4_LEGACY_MAGIC.len()..];
    let mut out = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(u32::from_le_bytes(*length)) else { break };
        let Some(block) = after.get(..length) else {
            if after.is_empty() {
                break;
            }
            return Err(format!("block of {length} bytes is cut off after {}", after.len()));
        };
        if block.is_empty() {
            break;
        }
        let unpacked =
            lz4_flex::block::decompress(block, LZ4_LEGACY_BLOCK_BYTES).map_err(|error| error.to_string())?;
        out.extend_from_slice(&unpacked);
        rest = &after[length..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lz4_legacy_takes_several_blocks_and_the_appended_size() {
        let text = b"podproof ".repeat(1000);
        let mut packed = LZ4_LEGACY_MAGIC.to_vec();
        for half in [&text[..4000], &text[4000..]] {
            // Literals only: a token of 15, the length in 255s, the bytes.
            let mut block = vec![0xf0];
            let mut left = half.len() - 15;
            while left >= 255 {
                block.push(255);
                left -= 255;
            }
            block.push(u8::try_from(left).unwrap());
            block.extend_from_slice(half);
            packed.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
            packed.extend_from_slice(&block);
        }
        packed.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        assert_eq!(unpack(&packed).unwrap(), text);

        packed.truncate(3000);
        let error = unpack(&packed).unwrap_err();
        assert!(error.to_string().contains("cut off"), "{error}");
    }

    #[test]
    fn gzip_ignores_what_follows() {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"kernel").unwrap();
        let mut packed = encoder.finish().unwrap();
        packed.extend_from_slice(b"tail");
        assert_eq!(unpack(&packed).unwrap(), b"kernel");
    }

    #[test]
    fn unknown_and_damaged_streams_say_so() {
        assert!(unpack(b"BZh9xxxx").unwrap_err().to_string().contains("neither gzip"));
        let damaged = unpack(&[0x1f, 0x8b, 9, 9, 9, 9]).unwrap_err();
        assert!(damaged.to_string().starts_with("unpack gzip stream"), "{damaged}");
    }
}
