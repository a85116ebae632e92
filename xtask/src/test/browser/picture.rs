//! What a screenshot shows, as far as numbers tell: PNG of eight bits, not interlaced, as browsers write it (ISO/IEC 15948).

use std::collections::BTreeSet;
use std::io::Read as _;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::ZlibDecoder;

/// A picture.
#[derive(Debug)]
pub(super) struct Picture {
    /// How many colours it has.
    pub(super) n_colours: usize,
    /// Mean brightness, 0 to 255.
    pub(super) brightness: f64,
}

pub(super) fn decode(png: &[u8]) -> Result<Picture> {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").context("not a PNG")?;
    let (mut width, mut n_channels, mut packed) = (0, 0, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        ensure!(after.len() >= length + 8, "a chunk is cut");
        let (kind, part) = (&after[..4], &after[4..4 + length]);
        match kind {
            b"IHDR" => {
                width = usize::try_from(u32::from_be_bytes(part[..4].try_into()?))?;
                n_channels = match (part[8], part[9], part[12]) {
                    (8, 2, 0) => 3,
                    (8, 6, 0) => 4,
                    other => bail!("depth, colour type, interlacing {other:?}"),
                };
            }
            b"IDAT" => packed.extend_from_slice(part),
            _ => {}
        }
        rest = &after[length + 8..];
    }
    let mut lines = Vec::new();
    ZlibDecoder::new(packed.as_slice()).read_to_end(&mut lines).context("cannot unpack the picture")?;
    measured(&lines, width, n_channels)
}

fn measured(lines: &[u8], width: usize, n_channels: usize) -> Result<Picture> {
    ensure!(width > 0 && n_channels > 0, "a picture without a head");
    let length = width * n_channels;
    let (mut colours, mut sum, mut count) = (BTreeSet::new(), 0_u64, 0_u64);
    let mut above = vec![0_u8; length];
    for line in lines.chunks_exact(length + 1) {
        let mut row = line[1..].to_vec();
        for at in 0..length {
            let left = if at < n_channels { 0 } else { row[at - n_channels] };
            let corner = if at < n_channels { 0 } else { above[at - n_channels] };
            let add = match line[0] {
                0 => 0,
                1 => left,
                2 => above[at],
                3 => u8::try_from((u16::from(left) + u16::from(above[at])) / 2)?,
                4 => paeth(left, above[at], corner),
                other => bail!("filter {other}"),
            };
            row[at] = row[at].wrapping_add(add);
        }
        for pixel in row.chunks_exact(n_channels) {
            colours.insert([pixel[0], pixel[1], pixel[2]]);
            sum += pixel[..3].iter().map(|part| u64::from(*part)).sum::<u64>();
            count += 3;
        }
        above = row;
    }
    ensure!(count > 0, "a picture without lines");
    Ok(Picture { n_colours: colours.len(), brightness: sum as f64 / count as f64 })
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(above) - i16::from(corner);
    let far = |part: u8| (guess - i16::from(part)).abs();
    if far(left) <= far(above) && far(left) <= far(corner) {
        left
    } else if far(above) <= far(corner) {
        above
    } else {
        corner
    }
}
