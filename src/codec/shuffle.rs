//! Filter 2: byte shuffle. All first bytes of the elements lie together, then all second bytes, …

/// Puts the bytes of each element of `item` bytes together again. Bytes after the last whole element stay where they are.
pub(super) fn undo(input: &[u8], item: usize, output: &mut Vec<u8>) {
    if item <= 1 || input.len() < item {
        output.clear();
        output.extend_from_slice(input);
        return;
    }
    // Every byte is overwritten, so what an earlier chunk left here need not be cleared.
    output.resize(input.len(), 0);
    let count = input.len() / item;
    let (planes, rest) = input.split_at(count * item);
    let (values, tail) = output.split_at_mut(count * item);
    tail.copy_from_slice(rest);
    match item {
        2 => interleave::<2>(planes, values),
        4 => interleave::<4>(planes, values),
        8 => interleave::<8>(planes, values),
        _ => interleave_any(planes, values, item),
    }
}

/// In blocks, so that the planes being read and the values being written stay in the first-level cache together.
fn interleave<const ITEM: usize>(planes: &[u8], values: &mut [u8]) {
    const BLOCK: usize = 1024;
    let count = values.len() / ITEM;
    let planes: [&[u8]; ITEM] = std::array::from_fn(|plane| &planes[plane * count..(plane + 1) * count]);
    let (values, _) = values.as_chunks_mut::<ITEM>();
    for (number, block) in values.chunks_mut(BLOCK).enumerate() {
        let start = number * BLOCK;
        let planes: [&[u8]; ITEM] = std::array::from_fn(|plane| &planes[plane][start..start + block.len()]);
        for (at, value) in block.iter_mut().enumerate() {
            *value = std::array::from_fn(|plane| planes[plane][at]);
        }
    }
}

fn interleave_any(planes: &[u8], values: &mut [u8], item: usize) {
    let count = values.len() / item;
    for (at, value) in values.chunks_exact_mut(item).enumerate() {
        for (plane, byte) in value.iter_mut().enumerate() {
            *byte = planes[plane * count + at];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_library(bytes in prop::collection::vec(any::<u8>(), 0..5000), item in prop::sample::select(vec![0usize, 1, 2, 3, 4, 8, 16, 24])) {
            let mut output = vec![7; 3];
            super::undo(&bytes, item, &mut output);
            let whole = bytes.len() / item.max(1) * item.max(1);
            let mut expected = if item > 1 { hdf5_reader::filters::shuffle::unshuffle(&bytes[..whole], item) } else { bytes[..whole].to_vec() };
            expected.extend_from_slice(&bytes[whole..]);
            prop_assert_eq!(output, expected);
        }
    }
}
