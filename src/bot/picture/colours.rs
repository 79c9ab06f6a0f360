//! The scale of colours: from dark violet over blue and green to bright yellow, in steps that look alike.
//!
//! Computed, not listed: a path through `OKLab` (B. Ottosson, "A perceptual color space for image processing", 2020) whose lightness
//! only rises, cut into pieces of one length. So equal differences of values look equal, on a grey printout and for those who do
//! not tell red from green too. Invariant: neighbours differ by the same distance, and the lightness rises.

use std::f64::consts::PI;

/// Red, green and blue of sRGB.
pub(super) type Colour = [u8; 3];

/// What has no value: a grey, which is nowhere on the scale.
pub(super) const NOTHING: Colour = [0x9a, 0x9a, 0x9a];
/// Points of the path that is cut.
const POINTS: usize = 4096;

/// So many colours, darkest first.
pub(super) fn scale(count: usize) -> Vec<Colour> {
    let path: Vec<[f64; 3]> = (0..=POINTS).map(|at| along(at as f64 / POINTS as f64)).collect();
    let mut walked = vec![0.0];
    for pair in path.windows(2) {
        let [from, to] = [pair.first(), pair.last()].map(|point| point.copied().unwrap_or_default());
        walked.push(walked.last().copied().unwrap_or_default() + distance(from, to));
    }
    let whole = walked.last().copied().unwrap_or_default();
    let last = count.saturating_sub(1).max(1) as f64;
    let cut = |number: usize| {
        let wanted = whole * number as f64 / last;
        let at = walked.partition_point(|so_far| *so_far < wanted).min(POINTS);
        path.get(at).copied().map_or(NOTHING, srgb)
    };
    (0..count).map(cut).collect()
}

/// Lightness, a and b at a part of the path; the chroma is what a screen can show at every hue of it.
fn along(part: f64) -> [f64; 3] {
    let lightness = 0.27 + 0.64 * part;
    let hue = (305.0 - 200.0 * part) * PI / 180.0;
    let side = 2.0 * part - 1.0;
    let chroma = 0.095 + 0.045 * side.powi(2) + 0.015 * side.powi(3);
    [lightness, chroma * hue.cos(), chroma * hue.sin()]
}

fn distance(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
}

/// `OKLab` to sRGB, with the constants of its definition.
fn srgb([lightness, a, b]: [f64; 3]) -> Colour {
    let long = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let medium = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let linear = [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701_0 * short,
    ];
    linear.map(|part| {
        let shown = if part <= 0.003_130_8 { 12.92 * part } else { 1.055 * part.powf(1.0 / 2.4) - 0.055 };
        (shown.clamp(0.0, 1.0) * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sRGB to `OKLab`.
    fn oklab(colour: Colour) -> [f64; 3] {
        let [red, green, blue] = colour.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        let long = (0.412_221_470_8 * red + 0.536_332_536_3 * green + 0.051_445_992_9 * blue).cbrt();
        let medium = (0.211_903_498_2 * red + 0.680_699_545_1 * green + 0.107_396_956_6 * blue).cbrt();
        let short = (0.088_302_461_9 * red + 0.281_718_837_6 * green + 0.629_978_700_5 * blue).cbrt();
        [
            0.210_454_255_3 * long + 0.793_617_785_0 * medium - 0.004_072_046_8 * short,
            1.977_998_495_1 * long - 2.428_592_205_0 * medium + 0.450_593_709_9 * short,
            0.025_904_037_1 * long + 0.782_771_766_2 * medium - 0.808_675_766_0 * short,
        ]
    }

    #[test]
    fn steps_look_alike_and_only_get_lighter() {
        // Whole bytes are too coarse for 254 steps: twenty show it.
        let scale: Vec<[f64; 3]> = scale(20).into_iter().map(oklab).collect();
        let steps: Vec<f64> = scale.windows(2).map(|pair| distance(pair[0], pair[1])).collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        assert!(steps.iter().all(|step| (step / mean - 1.0).abs() < 0.1), "{steps:?}");
        assert!(scale.windows(2).all(|pair| pair[1][0] - pair[0][0] > 0.02), "lightness rises: {scale:?}");
        let grey = oklab(NOTHING);
        assert!(scale.iter().all(|colour| distance(*colour, grey) > 0.05), "no value looks like none of the values");
    }
}
