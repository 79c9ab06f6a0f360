//! A picture as letters: what shows a map where nothing but text is shown, as in a comment of a code host that keeps no images.
//!
//! Invariant: a place without a value is blank, any other is not.

use super::{BRIGHTEST, Picture};

/// Most letters of a line.
const WIDE: usize = 64;
/// From the smallest values to the largest.
const INK: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// The lines; `None` for a picture that is not sound.
pub(super) fn lines(picture: &Picture) -> Option<Vec<String>> {
    let shades = picture.shades().filter(|_| picture.is_sound())?;
    let (width, height) = (picture.width as usize, picture.height as usize);
    let columns = width.min(WIDE);
    // A letter is about twice as high as it is wide.
    let rows = (height * columns).div_ceil(width * 2).max(1);
    let letter = |row: usize, column: usize| {
        let across = column * width / columns..((column + 1) * width / columns).max(column * width / columns + 1);
        let down = row * height / rows..((row + 1) * height / rows).max(row * height / rows + 1);
        let at = |y: usize, x: usize| shades.get(y * width + x).copied().filter(|shade| *shade > 0);
        let values: Vec<u8> = down.flat_map(|y| across.clone().filter_map(move |x| at(y, x))).collect();
        ink(&values)
    };
    Some((0..rows).map(|row| (0..columns).map(|column| letter(row, column)).collect::<String>().trim_end().to_owned()).collect())
}

fn ink(values: &[u8]) -> char {
    let total: usize = values.iter().map(|shade| usize::from(*shade - 1)).sum();
    let Some(mean) = total.checked_div(values.len()) else { return ' ' };
    INK.get(mean * INK.len() / usize::from(BRIGHTEST)).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::super::tests::picture;

    #[test]
    fn letters_are_darker_where_values_are_larger_and_blank_where_there_are_none() {
        assert_eq!(picture(6, 2, &[1, 60, 120, 180, 254, 0, 1, 60, 120, 180, 254, 0]).text(), ["·░▒▓█"]);
        assert_eq!(picture(1, 1, &[0]).text(), [""]);
        let wide = picture(240, 120, &vec![200; 240 * 120]).text();
        assert_eq!((wide.len(), wide[0].chars().count()), (16, 64));
        assert_eq!(picture(1, 240, &[1; 240]).text().len(), 120);
    }
}
