//! Byte kernels that move every value of an archive at least once: shuffle, unshuffle and byte order, in vector registers.
//!
//! Not for deciding when they are needed. Each kernel has a scalar twin, which runs where AVX2 is missing (found out at run time:
//! the shipped binary is plain x86-64; on other machines the compiler vectorises the twin as it can). Invariant: kernel and twin
//! give the same bytes for every length. This is the one file outside the FFI room that may be `unsafe`; it is so in two ways
//! only: loading from and storing to arrays of exactly 32 bytes, and calling a function whose instructions were found present.
#![expect(unsafe_code, reason = "vector loads and stores take pointers, and calls need the proof that the instructions exist")]

/// Byte shuffle (HDF5 filter 2, Blosc): all first bytes of the elements of `item` bytes, then all second bytes, … What follows
/// the last whole element is copied as it is. The shorter buffer decides how much is done.
pub fn shuffle(values: &[u8], item: usize, planes: &mut [u8]) {
    let (values, planes) = same_length(values, planes);
    let (values, rest, planes, tail) = split(values, planes, item);
    tail.copy_from_slice(rest);
    match item {
        2 => deinterleave::<2>(values, planes),
        4 => deinterleave::<4>(values, planes),
        8 => deinterleave::<8>(values, planes),
        0 | 1 => planes.copy_from_slice(values),
        _ => scalar::deinterleave(values, planes, item),
    }
}

/// Undoes [`shuffle`].
pub fn unshuffle(planes: &[u8], item: usize, values: &mut [u8]) {
    let (planes, values) = same_length(planes, values);
    let (planes, rest, values, tail) = split(planes, values, item);
    tail.copy_from_slice(rest);
    match item {
        2 => interleave::<2>(planes, values),
        4 => interleave::<4>(planes, values),
        8 => interleave::<8>(planes, values),
        0 | 1 => values.copy_from_slice(planes),
        _ => scalar::interleave(planes, values, item),
    }
}

/// Reverses the bytes of each element of `item` bytes, in place; elements of other sizes than 2, 4 and 8 have no order.
pub fn reverse(bytes: &mut [u8], item: usize) {
    match item {
        2 => reverse_each::<2>(bytes),
        4 => reverse_each::<4>(bytes),
        8 => reverse_each::<8>(bytes),
        _ => {}
    }
}

fn same_length<'a, 'b>(from: &'a [u8], to: &'b mut [u8]) -> (&'a [u8], &'b mut [u8]) {
    let length = from.len().min(to.len());
    (&from[..length], &mut to[..length])
}

/// Whole elements and what is left, of both buffers.
fn split<'a, 'b>(from: &'a [u8], to: &'b mut [u8], item: usize) -> (&'a [u8], &'a [u8], &'b mut [u8], &'b mut [u8]) {
    let whole = from.len() / item.max(1) * item.max(1);
    let ((from, rest), (to, tail)) = (from.split_at(whole), to.split_at_mut(whole));
    (from, rest, to, tail)
}

fn interleave<const ITEM: usize>(planes: &[u8], values: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, asked in the line above; the function has no other condition.
        return unsafe { avx2::interleave::<ITEM>(planes, values) };
    }
    scalar::interleave_known::<ITEM>(planes, values, 0);
}

fn deinterleave<const ITEM: usize>(values: &[u8], planes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, asked in the line above; the function has no other condition.
        return unsafe { avx2::deinterleave::<ITEM>(values, planes) };
    }
    scalar::deinterleave_known::<ITEM>(values, planes, 0);
}

fn reverse_each<const ITEM: usize>(bytes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, asked in the line above; the function has no other condition.
        return unsafe { avx2::reverse::<ITEM>(bytes) };
    }
    scalar::reverse::<ITEM>(bytes);
}

/// The twins. Inlined, so that what the caller may use the compiler may use.
mod scalar {
    /// Elements handled at a time, so that all planes and the values stay in the first-level cache together.
    const BLOCK: usize = 1024;

    /// Elements from `first` on; `ITEM` planes of equal length.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled once more with the instructions of its caller")]
    pub(super) fn interleave_known<const ITEM: usize>(planes: &[u8], values: &mut [u8], first: usize) {
        let (values, _) = values.as_chunks_mut::<ITEM>();
        let count = values.len();
        let plane = |number: usize| &planes[number * count + first..(number + 1) * count];
        let planes: [&[u8]; ITEM] = std::array::from_fn(plane);
        for (number, block) in values[first..].chunks_mut(BLOCK).enumerate() {
            let planes = planes.map(|plane| &plane[number * BLOCK..][..block.len()]);
            for (at, value) in block.iter_mut().enumerate() {
                *value = std::array::from_fn(|plane| planes[plane][at]);
            }
        }
    }

    /// Elements from `first` on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled once more with the instructions of its caller")]
    pub(super) fn deinterleave_known<const ITEM: usize>(values: &[u8], planes: &mut [u8], first: usize) {
        let (values, _) = values.as_chunks::<ITEM>();
        let count = values.len();
        for (number, block) in values[first..].chunks(BLOCK).enumerate() {
            for byte in 0..ITEM {
                let plane = &mut planes[byte * count + first + number * BLOCK..][..block.len()];
                plane.iter_mut().zip(block).for_each(|(to, value)| *to = value[byte]);
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled once more with the instructions of its caller")]
    pub(super) fn reverse<const ITEM: usize>(bytes: &mut [u8]) {
        bytes.as_chunks_mut::<ITEM>().0.iter_mut().for_each(|number| number.reverse());
    }

    pub(super) fn interleave(planes: &[u8], values: &mut [u8], item: usize) {
        let count = values.len() / item;
        for (at, value) in values.chunks_exact_mut(item).enumerate() {
            value.iter_mut().enumerate().for_each(|(plane, byte)| *byte = planes[plane * count + at]);
        }
    }

    pub(super) fn deinterleave(values: &[u8], planes: &mut [u8], item: usize) {
        let count = values.len() / item;
        for (at, value) in values.chunks_exact(item).enumerate() {
            value.iter().enumerate().for_each(|(plane, byte)| planes[plane * count + at] = *byte);
        }
    }
}

/// Vectors of 32 bytes. A vector's two halves ("lanes") are turned separately and put in order at the end of each kernel.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_loadu_si256, _mm256_packus_epi16, _mm256_permute2x128_si256, _mm256_permute4x64_epi64,
        _mm256_permutevar8x32_epi32, _mm256_set1_epi16, _mm256_setr_epi8, _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_srli_epi16, _mm256_storeu_si256, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
        _mm256_unpacklo_epi8, _mm256_unpacklo_epi16, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    };

    /// Bytes of a vector.
    const WIDTH: usize = 32;

    /// As many vectors as an element may have bytes; kernels of smaller elements leave the last ones alone.
    type Vectors = [__m256i; 8];

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(bytes: &[u8; WIDTH]) -> __m256i {
        // SAFETY: the reference covers the 32 bytes that are read, and the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store(bytes: &mut [u8; WIDTH], vector: __m256i) {
        // SAFETY: the reference covers the 32 bytes that are written, and the instruction asks for no alignment.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn interleave<const ITEM: usize>(planes: &[u8], values: &mut [u8]) {
        let count = values.len() / ITEM;
        let whole: [&[[u8; WIDTH]]; ITEM] = std::array::from_fn(|plane| planes[plane * count..(plane + 1) * count].as_chunks().0);
        for (at, block) in values.as_chunks_mut::<WIDTH>().0.chunks_exact_mut(ITEM).enumerate() {
            let mut vectors = [_mm256_setzero_si256(); 8];
            for plane in 0..ITEM {
                vectors[plane] = load(&whole[plane][at]);
            }
            let rows = rows::<ITEM>(vectors);
            for (part, row) in block.iter_mut().zip(rows) {
                store(part, row);
            }
        }
        super::scalar::interleave_known::<ITEM>(planes, values, count / WIDTH * WIDTH);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn deinterleave<const ITEM: usize>(values: &[u8], planes: &mut [u8]) {
        let count = values.len() / ITEM;
        for (at, block) in values.as_chunks::<WIDTH>().0.chunks_exact(ITEM).enumerate() {
            let mut vectors = [_mm256_setzero_si256(); 8];
            for (vector, part) in vectors.iter_mut().zip(block) {
                *vector = load(part);
            }
            let columns = columns::<ITEM>(vectors);
            for (plane, column) in columns.into_iter().enumerate().take(ITEM) {
                if let Some(part) = planes[plane * count + at * WIDTH..].first_chunk_mut() {
                    store(part, column);
                }
            }
        }
        super::scalar::deinterleave_known::<ITEM>(values, planes, count / WIDTH * WIDTH);
    }

    /// The scalar loop: the compiler makes byte shuffles of it when it may use AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) fn reverse<const ITEM: usize>(bytes: &mut [u8]) {
        super::scalar::reverse::<ITEM>(bytes);
    }

    /// `ITEM` planes of 32 bytes into 32 elements, in order.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn rows<const ITEM: usize>(planes: Vectors) -> Vectors {
        match ITEM {
            2 => rows_of_2(planes),
            4 => rows_of_4(planes),
            _ => rows_of_8(planes),
        }
    }

    /// 32 elements into `ITEM` planes of 32 bytes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns<const ITEM: usize>(rows: Vectors) -> Vectors {
        match ITEM {
            2 => columns_of_2(rows),
            4 => columns_of_4(rows),
            _ => columns_of_8(rows),
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn low_lanes(one: __m256i, other: __m256i) -> __m256i {
        _mm256_permute2x128_si256::<0x20>(one, other)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn high_lanes(one: __m256i, other: __m256i) -> __m256i {
        _mm256_permute2x128_si256::<0x31>(one, other)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn rows_of_2(planes: Vectors) -> Vectors {
        let [a, b, ..] = planes;
        let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
        let mut rows = planes;
        (rows[0], rows[1]) = (low_lanes(low, high), high_lanes(low, high));
        rows
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn rows_of_4(planes: Vectors) -> Vectors {
        let [a, b, c, d, ..] = planes;
        let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
        let (ab_high, cd_high) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
        let (first, second) = (_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd));
        let (third, fourth) = (_mm256_unpacklo_epi16(ab_high, cd_high), _mm256_unpackhi_epi16(ab_high, cd_high));
        let mut rows = planes;
        (rows[0], rows[1]) = (low_lanes(first, second), low_lanes(third, fourth));
        (rows[2], rows[3]) = (high_lanes(first, second), high_lanes(third, fourth));
        rows
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn rows_of_8(planes: Vectors) -> Vectors {
        let (mut low, mut high) = ([_mm256_setzero_si256(); 4], [_mm256_setzero_si256(); 4]);
        for (at, pair) in planes.as_chunks::<2>().0.iter().enumerate() {
            (low[at], high[at]) = (_mm256_unpacklo_epi8(pair[0], pair[1]), _mm256_unpackhi_epi8(pair[0], pair[1]));
        }
        let (low, high) = (quarters(low), quarters(high));
        [
            low_lanes(low[0], low[1]),
            low_lanes(low[2], low[3]),
            low_lanes(high[0], high[1]),
            low_lanes(high[2], high[3]),
            high_lanes(low[0], low[1]),
            high_lanes(low[2], low[3]),
            high_lanes(high[0], high[1]),
            high_lanes(high[2], high[3]),
        ]
    }

    /// Pairs of planes, eight elements a lane, into whole elements, two a lane.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn quarters([ab, cd, ef, gh]: [__m256i; 4]) -> [__m256i; 4] {
        let (early, late) = (_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd));
        let (early_end, late_end) = (_mm256_unpacklo_epi16(ef, gh), _mm256_unpackhi_epi16(ef, gh));
        [
            _mm256_unpacklo_epi32(early, early_end),
            _mm256_unpackhi_epi32(early, early_end),
            _mm256_unpacklo_epi32(late, late_end),
            _mm256_unpackhi_epi32(late, late_end),
        ]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns_of_2(rows: Vectors) -> Vectors {
        let [a, b, ..] = rows;
        let first_byte = _mm256_set1_epi16(255);
        let low = _mm256_packus_epi16(_mm256_and_si256(a, first_byte), _mm256_and_si256(b, first_byte));
        let high = _mm256_packus_epi16(_mm256_srli_epi16::<8>(a), _mm256_srli_epi16::<8>(b));
        let mut columns = rows;
        (columns[0], columns[1]) = (_mm256_permute4x64_epi64::<0xd8>(low), _mm256_permute4x64_epi64::<0xd8>(high));
        columns
    }

    /// In each vector: eight elements into eight bytes of each plane.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn eight_of_4(row: __m256i) -> __m256i {
        let within =
            _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(row, within), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns_of_4(rows: Vectors) -> Vectors {
        let (a, b, c, d) = (eight_of_4(rows[0]), eight_of_4(rows[1]), eight_of_4(rows[2]), eight_of_4(rows[3]));
        let (even, odd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        let (even_end, odd_end) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
        let mut columns = rows;
        (columns[0], columns[1]) = (low_lanes(even, even_end), low_lanes(odd, odd_end));
        (columns[2], columns[3]) = (high_lanes(even, even_end), high_lanes(odd, odd_end));
        columns
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns_of_8(rows: Vectors) -> Vectors {
        let within =
            _mm256_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
        let mut turned = rows;
        for vector in &mut turned {
            *vector = _mm256_shuffle_epi8(*vector, within);
        }
        // The low lanes hold the first sixteen elements, the high lanes the others.
        let pair = |one, other| -> [__m256i; 2] {
            let (first, second) = (low_lanes(one, other), high_lanes(one, other));
            [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)]
        };
        let (one, two) = (pair(turned[0], turned[4]), pair(turned[1], turned[5]));
        let (three, four) = (pair(turned[2], turned[6]), pair(turned[3], turned[7]));
        let [p0, p1, p2, p3] = four_columns(one[0], two[0], three[0], four[0]);
        let [p4, p5, p6, p7] = four_columns(one[1], two[1], three[1], four[1]);
        [p0, p1, p2, p3, p4, p5, p6, p7]
    }

    /// Four bytes a plane of four planes, four times, into sixteen bytes a lane of each plane.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn four_columns(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> [__m256i; 4] {
        let (early, late) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (early_end, late_end) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(early, early_end),
            _mm256_unpackhi_epi64(early, early_end),
            _mm256_unpacklo_epi64(late, late_end),
            _mm256_unpackhi_epi64(late, late_end),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..3000)
    }

    proptest! {
        #[test]
        fn both_ways_equal_the_naive_loop(bytes in any_bytes(), item in prop::sample::select(vec![0usize, 1, 2, 3, 4, 8, 16])) {
            let count = bytes.len() / item.max(1);
            let mut naive = bytes.clone();
            for at in 0..count {
                (0..item).for_each(|byte| naive[byte * count + at] = bytes[at * item + byte]);
            }
            let mut planes = vec![7; bytes.len()];
            shuffle(&bytes, item, &mut planes);
            prop_assert_eq!(&planes, &naive);
            let mut values = vec![9; bytes.len()];
            unshuffle(&planes, item, &mut values);
            prop_assert_eq!(values, bytes);
        }

        #[test]
        fn twins_agree(bytes in any_bytes()) {
            fn agree<const ITEM: usize>(bytes: &[u8]) {
                let bytes = &bytes[..bytes.len() / ITEM * ITEM];
                let (mut fast, mut slow) = (vec![1; bytes.len()], vec![2; bytes.len()]);
                interleave::<ITEM>(bytes, &mut fast);
                scalar::interleave_known::<ITEM>(bytes, &mut slow, 0);
                assert_eq!(fast, slow);
                deinterleave::<ITEM>(bytes, &mut fast);
                scalar::deinterleave_known::<ITEM>(bytes, &mut slow, 0);
                assert_eq!(fast, slow);
                reverse_each::<ITEM>(&mut fast);
                scalar::reverse::<ITEM>(&mut slow);
                assert_eq!(fast, slow);
            }
            agree::<2>(&bytes);
            agree::<4>(&bytes);
            agree::<8>(&bytes);
        }

        #[test]
        fn reversing_equals_the_naive_loop(bytes in any_bytes(), item in prop::sample::select(vec![1usize, 2, 4, 8])) {
            let mut reversed = bytes.clone();
            reverse(&mut reversed, item);
            let mut naive = bytes;
            naive.chunks_exact_mut(item).for_each(<[u8]>::reverse);
            prop_assert_eq!(reversed, naive);
        }
    }
}
