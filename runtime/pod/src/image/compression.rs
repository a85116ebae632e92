//! The compressions that layers may have.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use oci_spec::image::MediaType;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How a layer's blob is compressed, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    None,
    /// gzip, in one member or several.
    Gzip,
    /// Zstandard, in one frame or several.
    Zstd,
}

impl Compression {
    /// The compression of a layer; `None` when the media type is none of a layer that is in the image.
    pub(super) fn of(media_type: &MediaType) -> Option<Self> {
        match media_type {
            MediaType::ImageLayer => Some(Self::None),
            MediaType::ImageLayerGzip => Some(Self::Gzip),
            MediaType::ImageLayerZstd => Some(Self::Zstd),
            MediaType::Other(other) => match other.as_str() {
                "application/vnd.docker.image.rootfs.diff.tar" => Some(Self::None),
                "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::Gzip),
                "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Self::Zstd),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads what a blob is when it is decompressed.
pub(super) enum Decoder<R> {
    /// As it is.
    Plain(R),
    /// From gzip.
    Gzip(Box<MultiGzDecoder<R>>),
    /// From Zstandard.
    Zstd(Box<Frames<R>>),
}

impl<R: BufRead> Decoder<R> {
    /// Begins at the blob's beginning.
    pub(super) fn new(compression: Compression, blob: R) -> Self {
        match compression {
            Compression::None => Self::Plain(blob),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(blob))),
            Compression::Zstd => {
                Self::Zstd(Box::new(Frames { blob, decoder: FrameDecoder::new(), is_inside: false }))
            }
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(blob) => blob.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(frames) => frames.read(buffer),
        }
    }
}

/// Zstandard frames, one after the other. Those to be skipped are: zstd:chunked keeps its table of contents in one.
pub(super) struct Frames<R> {
    blob: R,
    /// Refuses frames that want a window of more than 128 MiB.
    decoder: FrameDecoder,
    is_inside: bool,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame; false at the end of the blob.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.blob.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.blob) {
                Ok(()) => {
                    self.is_inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.blob.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.is_inside && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.is_inside && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.blob, one).map_err(invalid)?;
                continue;
            }
            self.is_inside = false;
            if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

fn invalid(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn decoded(compression: Compression, blob: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Decoder::new(compression, blob).read_to_end(&mut bytes).map(|_n| bytes)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn parts_of_a_blob_follow_each_other() {
        let (first, second) = (vec![7; 300_000], b"the end".to_vec());
        let whole = [first.clone(), second.clone()].concat();
        assert_eq!(decoded(Compression::Gzip, &[gzip(&first), gzip(&second)].concat()).unwrap(), whole);
        let zstd = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let blob = [skipped.clone(), zstd(&first), skipped, zstd(&second)].concat();
        assert_eq!(decoded(Compression::Zstd, &blob).unwrap(), whole);
        assert_eq!(decoded(Compression::None, &whole).unwrap(), whole);
    }

    #[test]
    fn cut_and_foreign_blobs_are_errors() {
        let blob = gzip(&[1; 10_000]);
        assert!(decoded(Compression::Gzip, &blob[..blob.len() - 3]).is_err());
        assert!(decoded(Compression::Gzip, b"no gzip").is_err());
        let blob = compress_to_vec(&[1; 10_000][..], CompressionLevel::Fastest);
        assert!(decoded(Compression::Zstd, &blob[..blob.len() - 3]).is_err());
        assert!(decoded(Compression::Zstd, &[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]).is_err());
        assert!(decoded(Compression::Zstd, b"no zstd").is_err());
    }

    #[test]
    fn layers_that_are_elsewhere_are_of_no_kind() {
        assert_eq!(Compression::of(&MediaType::ImageLayerZstd), Some(Compression::Zstd));
        assert_eq!(
            Compression::of(&MediaType::from("application/vnd.docker.image.rootfs.diff.tar.gzip")),
            Some(Compression::Gzip)
        );
        assert_eq!(Compression::of(&MediaType::ImageLayerNonDistributableGzip), None);
        assert_eq!(
            Compression::of(&MediaType::from("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
            None
        );
    }
}
