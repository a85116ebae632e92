//! GNU tar's old sparse format: a list of the segments that have data.

use tar::{GnuExtSparseHeader, GnuHeader};

use super::Segment;
use super::header::number;
use crate::image::limits::{SEGMENTS, at_most};

/// The segments of a sparse file, as far as they were read.
#[derive(Debug, Clone)]
pub(super) struct SparseMap {
    /// Length of the file.
    pub(super) size: u64,
    /// Another block of the list follows.
    pub(super) goes_on: bool,
    segments: Vec<Segment>,
}

impl SparseMap {
    /// The list's beginning, in the header.
    pub(super) fn parse(header: &GnuHeader) -> Result<Self, String> {
        let mut map =
            Self { size: part(&header.realsize)?, goes_on: header.isextended[0] != 0, segments: Vec::new() };
        for entry in &header.sparse {
            map.push(&entry.offset, &entry.numbytes)?;
        }
        Ok(map)
    }

    /// A further block of it.
    pub(super) fn extend(&mut self, block: &[u8; 512]) -> Result<(), String> {
        let mut header = GnuExtSparseHeader::new();
        header.as_mut_bytes().copy_from_slice(block);
        for entry in &header.sparse {
            self.push(&entry.offset, &entry.numbytes)?;
        }
        self.goes_on = header.isextended[0] != 0;
        Ok(())
    }

    /// The segments, which must follow each other within the file and be as long as the data that is stored.
    pub(super) fn checked(&self, stored: u64) -> Result<Vec<Segment>, String> {
        let (mut end, mut total) = (0_u64, 0_u64);
        for Segment { offset, length } in &self.segments {
            if *offset < end {
                return Err("a sparse file whose segments overlap".to_owned());
            }
            end = offset.checked_add(*length).ok_or("a sparse file with a segment out of range")?;
            // No overflow: the sum is at most the end.
            total += length;
        }
        if end > self.size || total != stored {
            let size = self.size;
            return Err(format!(
                "a sparse file of {size} bytes whose segments end at {end} and have {total} of {stored} bytes"
            ));
        }
        Ok(self.segments.clone())
    }

    fn push(&mut self, offset: &[u8], length: &[u8]) -> Result<(), String> {
        let (offset, length) = (part(offset)?, part(length)?);
        // The end of the file is told by an empty segment, and unused entries are zero.
        if length > 0 {
            self.segments.push(Segment { offset, length });
        }
        at_most(self.segments.len(), SEGMENTS, "segments of a sparse file").map_err(|error| error.to_string())
    }
}

fn part(field: &[u8]) -> Result<u64, String> {
    let value = number(field).and_then(|value| u64::try_from(value).ok());
    value.ok_or_else(|| format!("a sparse file with a damaged number: {:?}", String::from_utf8_lossy(field)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_within_the_file() {
        let map = |size, segments: &[(u64, u64)]| SparseMap {
            size,
            goes_on: false,
            segments: segments
                .iter()
                .map(|(offset, length)| Segment { offset: *offset, length: *length })
                .collect(),
        };
        assert_eq!(map(100, &[(0, 10), (50, 50)]).checked(60).unwrap().len(), 2);
        assert!(map(100, &[]).checked(0).unwrap().is_empty());
        for (bad, stored) in [
            (map(100, &[(0, 10), (5, 10)]), 20),
            (map(100, &[(0, 10)]), 9),
            (map(100, &[(95, 10)]), 10),
            (map(100, &[(u64::MAX, 10)]), 10),
        ] {
            assert!(bad.checked(stored).is_err(), "{bad:?}");
        }
    }
}
