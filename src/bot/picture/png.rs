//! A picture as PNG (W3C, Portable Network Graphics, third edition): a palette, rows of indices, deflate, checksums.
//!
//! Invariant: only a sound picture becomes one, and what is in it follows from the shades alone.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use super::{BRIGHTEST, Picture, colours};

/// Pixels that an image is wide at least, as whole multiples of the picture allow.
const WIDE: u32 = 480;
/// Pixels of the scale, and of the gap above it.
const SCALE: usize = 12;
const GAP: usize = 6;
/// Index of what is seen through.
const CLEAR: u8 = 255;

/// The image; `None` for a picture that is not sound.
pub(super) fn image(picture: &Picture) -> Option<Vec<u8>> {
    let shades = picture.shades().filter(|_| picture.is_sound())?;
    let factor = (WIDE / picture.width).max(1) as usize;
    let width = picture.width as usize * factor;
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for row in shades.chunks_exact(picture.width as usize) {
        let wide: Vec<u8> = row.iter().flat_map(|shade| std::iter::repeat_n(*shade, factor)).collect();
        rows.extend(std::iter::repeat_n(wide, factor));
    }
    rows.extend(std::iter::repeat_n(vec![CLEAR; width], GAP));
    let last = width.saturating_sub(1).max(1);
    let scale = (0..width).map(|at| 1 + (at * usize::from(BRIGHTEST - 1) / last) as u8).collect();
    rows.extend(std::iter::repeat_n(scale, SCALE));
    Some(written(width as u32, &rows))
}

fn written(width: u32, rows: &[Vec<u8>]) -> Vec<u8> {
    let mut palette: Vec<u8> = colours::NOTHING.to_vec();
    palette.extend(colours::scale(usize::from(BRIGHTEST)).concat());
    palette.extend([0; 3]);
    let mut clear = vec![u8::MAX; usize::from(CLEAR)];
    clear.push(0);
    // Eight bits an index, a palette, deflate, no filter, not interlaced.
    let mut head = [width.to_be_bytes(), (rows.len() as u32).to_be_bytes()].concat();
    head.extend([8, 3, 0, 0, 0]);
    let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", head), (b"PLTE", palette), (b"tRNS", clear), (b"IDAT", deflated(rows)), (b"IEND", Vec::new())] {
        image.extend(chunk(*kind, &data));
    }
    image
}

fn deflated(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Before each row stands its filter: 0, none. Writing into memory does not fail.
    let _ = rows.iter().try_for_each(|row| encoder.write_all(&[0]).and_then(|()| encoder.write_all(row)));
    encoder.finish().unwrap_or_default()
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes(), &kind[..], data, &crc.sum().to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::tests::picture;
    use super::*;

    /// Chunks of an image by name, each with its checksum proven.
    fn chunks(image: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut rest = &image[8..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let mut crc = Crc::new();
            crc.update(&rest[4..8 + length]);
            assert_eq!(crc.sum().to_be_bytes(), rest[8 + length..12 + length]);
            found.push((String::from_utf8(rest[4..8].to_vec()).unwrap(), rest[8..8 + length].to_vec()));
            rest = &rest[12 + length..];
        }
        found
    }

    #[test]
    fn an_image_holds_the_shades_and_the_scale() {
        let image = picture(2, 1, &[0, 254]).png().unwrap();
        let chunks = chunks(&image);
        let names: Vec<&str> = chunks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"]);
        let side = |at: usize| u32::from_be_bytes(chunks[0].1[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (side(0), side(4));
        assert_eq!((width, height), (480, 240 + GAP + SCALE));
        let mut pixels = Vec::new();
        flate2::read::ZlibDecoder::new(chunks[3].1.as_slice()).read_to_end(&mut pixels).unwrap();
        let rows: Vec<&[u8]> = pixels.chunks_exact(width + 1).collect();
        assert_eq!(rows.len(), height);
        assert!(rows.iter().all(|row| row[0] == 0));
        assert_eq!((rows[0][1], rows[239][240], rows[0][241], rows[239][480]), (0, 0, 254, 254));
        let scale = rows[height - 1];
        assert_eq!((scale[1], scale[480], rows[240][1]), (1, 254, CLEAR));
        assert_eq!((chunks[1].1.len(), chunks[2].1.len()), (768, 256));
        assert_eq!(chunks[1].1[..3], colours::NOTHING);
    }
}
