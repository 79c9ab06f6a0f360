//! What a sink has been given of a file, so that a broken transfer is taken up where it broke.
//!
//! Not for asking: whoever asked again says whether the rest comes, or all of it once more. Invariant: a file that is begun anew
//! passes on nothing until as many bytes as before came again, the same.

use std::io::Write;

use xxhash_rust::xxh3::Xxh3;

use super::{ErrorKind, StoreError};

/// A sink and what went into it.
pub(super) struct Passed<'a> {
    sink: &'a mut dyn Write,
    length: u64,
    hash: Xxh3,
    /// Bytes that must come again, and the hash of those that did.
    again: Option<(u64, Xxh3)>,
}

impl<'a> Passed<'a> {
    /// A sink that has been given nothing yet.
    pub(super) fn new(sink: &'a mut dyn Write) -> Self {
        Self { sink, length: 0, hash: Xxh3::new(), again: None }
    }

    /// Bytes that the sink has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Where in the file the next byte lies.
    pub(super) fn place(&self) -> u64 {
        self.again.as_ref().map_or(self.length, |(left, _)| self.length.saturating_sub(*left))
    }

    /// What the sink has, by length and hash.
    pub(super) fn content(&self) -> (u64, u128) {
        (self.length, self.hash.digest128())
    }

    /// What comes next is the rest of the file.
    pub(super) fn go_on(&mut self) {
        self.again = None;
    }

    /// What comes next is the file from its first byte.
    pub(super) fn begin_anew(&mut self) {
        self.again = (self.length > 0).then(|| (self.length, Xxh3::new()));
    }

    /// Passes on a piece, or compares it with what was passed on before.
    ///
    /// # Errors
    /// `Integrity` if the file is another by now; what the sink says.
    pub(super) fn pass(&mut self, url: &str, piece: &[u8]) -> Result<(), StoreError> {
        let new = self.compare(url, piece)?;
        if new.is_empty() {
            return Ok(());
        }
        self.sink.write_all(new).map_err(|error| StoreError::from_io(url, "pass on what was read", error))?;
        self.hash.update(new);
        self.length = self.length.saturating_add(new.len() as u64);
        Ok(())
    }

    /// The part of a piece that is new.
    fn compare<'p>(&mut self, url: &str, piece: &'p [u8]) -> Result<&'p [u8], StoreError> {
        let Some((left, hash)) = &mut self.again else { return Ok(piece) };
        let (old, new) = piece.split_at(piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
        hash.update(old);
        *left = left.saturating_sub(old.len() as u64);
        if *left > 0 {
            return Ok(&[]);
        }
        if hash.digest128() != self.hash.digest128() {
            let message = "the file changed on the server while it was read (its beginning differs when sent again); run again, and check whether it is complete there";
            return Err(StoreError::new(ErrorKind::Integrity, url, message));
        }
        self.again = None;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_begun_anew_is_compared_first() {
        let mut sink = Vec::new();
        let mut passed = Passed::new(&mut sink);
        passed.pass("u", b"0123").unwrap();
        passed.begin_anew();
        assert_eq!((passed.place(), passed.length()), (0, 4));
        passed.pass("u", b"01").unwrap();
        assert_eq!((passed.place(), passed.length()), (2, 4));
        passed.pass("u", b"2345").unwrap();
        passed.begin_anew();
        passed.go_on();
        passed.pass("u", b"6").unwrap();
        passed.begin_anew();
        assert_eq!(passed.pass("u", b"0123x567").unwrap_err().kind, ErrorKind::Integrity);
        assert_eq!(sink, b"0123456");
    }
}
