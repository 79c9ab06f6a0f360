//! Filter 32000: LZF, as h5py writes it (a token below 32 starts a literal run, any other is a back reference).

use super::CodecError;

/// Expands `input`; more than `limit` bytes are an error.
pub(super) fn expand(input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
    output.clear();
    super::reserve(output, limit.min(input.len().saturating_mul(128)))?;
    let mut rest = input;
    while let Some((&token, after)) = rest.split_first() {
        rest = if token < 32 { literal(token, after, output)? } else { back_reference(token, after, output)? };
        if output.len() > limit {
            return Err(CodecError::Size { filter: "lzf".to_owned(), expected: limit as u64, actual: output.len() as u64 });
        }
    }
    Ok(())
}

fn literal<'a>(token: u8, rest: &'a [u8], output: &mut Vec<u8>) -> Result<&'a [u8], CodecError> {
    let (run, rest) = rest.split_at_checked(usize::from(token) + 1).ok_or_else(|| damaged("a literal run ends too early"))?;
    output.extend_from_slice(run);
    Ok(rest)
}

fn back_reference<'a>(token: u8, rest: &'a [u8], output: &mut Vec<u8>) -> Result<&'a [u8], CodecError> {
    let short = || damaged("a back reference ends too early");
    let (extra, rest) = if token >> 5 == 7 { rest.split_first().map(|(&extra, rest)| (extra, rest)).ok_or_else(short)? } else { (0, rest) };
    let (&low, rest) = rest.split_first().ok_or_else(short)?;
    let length = usize::from(token >> 5) + usize::from(extra) + 2;
    let distance = (usize::from(token & 31) << 8) + usize::from(low) + 1;
    let start = output.len().checked_sub(distance).ok_or_else(|| damaged("a back reference points before the data"))?;
    // The source may overlap what is being written, so byte by byte.
    for at in start..start + length {
        output.push(output[at]);
    }
    Ok(rest)
}

fn damaged(message: &str) -> CodecError {
    CodecError::Damaged { filter: "lzf".to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_runs_and_overlaps() {
        let mut output = Vec::new();
        // literal "ab", then 9 bytes from distance 2 (short form is at most 8), then a literal "!"
        expand(&[1, b'a', b'b', 7 << 5, 0, 1, 0, b'!'], &mut output, 100).unwrap();
        assert_eq!(output, b"ababababab"[..2].iter().chain(b"ababababa").chain(b"!").copied().collect::<Vec<_>>());
    }

    #[test]
    fn damage_is_refused() {
        let mut output = Vec::new();
        for bytes in [&[5, 1][..], &[32][..], &[7 << 5, 0][..], &[0, 9, 33, 5][..]] {
            assert!(expand(bytes, &mut output, 100).is_err(), "{bytes:?}");
        }
        assert!(matches!(expand(&[0, 9, 7 << 5, 255, 0], &mut output, 10), Err(CodecError::Size { .. })));
    }
}
