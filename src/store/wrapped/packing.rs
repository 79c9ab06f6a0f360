//! Unpacking a stream, within limits.
//!
//! gzip (RFC 1952), bzip2, Zstandard (RFC 8878) and the raw deflate of zip members (RFC 1951). Invariant: what is handed on was
//! whole, by its own checksums and by what its archive promises, or the call fails; and it is never more than the limits allow.

use std::io::{self, BufRead, Read, Write};

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, GzDecoder};

use super::super::{ErrorKind, StoreError};
use crate::size::ByteSize;

/// Bytes unpacked at once.
const BUFFER: usize = 256 << 10;

/// So much may be unpacked from however little: files of nothing but zeros are no attack.
const HARMLESS: u64 = 64 << 20;

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// RFC 1952, in one member or more.
    Gzip,
    /// In one stream or more.
    Bzip2,
    /// RFC 8878, in one frame or more.
    Zstd,
    /// RFC 1951 without any frame, as in zip.
    Deflate,
}

impl Packing {
    /// How a file is packed that begins with these bytes.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, ..] => {
                Some(Self::Bzip2)
            }
            // Parallel packers begin with a frame to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name in messages and keys.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

/// What may be unpacked of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most bytes.
    pub(super) most: u64,
    /// Most bytes from one packed byte, once there are more than are harmless in any case.
    pub(super) ratio: u64,
}

/// What an archive says of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promise {
    /// Its length unpacked.
    pub(super) length: u64,
    /// Its CRC-32 (ISO 3309), as in gzip and zip.
    pub(super) crc: u32,
}

/// A packed stream.
pub(super) struct Packed<'a, I> {
    /// How messages call it.
    pub(super) name: &'a str,
    /// How it is packed.
    pub(super) packing: Packing,
    /// Its bytes.
    pub(super) input: I,
    /// How many.
    pub(super) length: u64,
    /// What is known of what it unpacks to.
    pub(super) promise: Option<Promise>,
}

impl<I: BufRead> Packed<'_, I> {
    /// Unpacks all of it.
    ///
    /// # Errors
    /// `Integrity` if it is truncated, damaged, not what was promised or a bomb, `NoSpace` if it is larger than the limits allow or
    /// the sink is full; any error of the input.
    pub(super) fn unpack(self, limits: Limits, sink: &mut dyn Write) -> Result<(), StoreError> {
        let mut outlet = Outlet { name: self.name, limits, packed: self.length, promise: self.promise, sink, length: 0, crc: Crc::new() };
        let (packing, mut input) = (self.packing, self.input);
        match packing {
            Packing::Deflate => outlet.take(packing, &mut DeflateDecoder::new(input))?,
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input).map_err(|error| outlet.broken(packing, error))?;
                outlet.take(packing, &mut decoder)?;
            }
            Packing::Gzip | Packing::Bzip2 => loop {
                input = outlet.member(packing, input)?;
                if !outlet.goes_on(packing, &mut input)? {
                    break;
                }
            },
        }
        outlet.end()
    }
}

/// Where unpacked bytes go, counted and judged.
struct Outlet<'a> {
    name: &'a str,
    limits: Limits,
    packed: u64,
    promise: Option<Promise>,
    sink: &'a mut dyn Write,
    length: u64,
    crc: Crc,
}

impl Outlet<'_> {
    /// Unpacks one member of a gzip file or one stream of a bzip2 file; what follows it comes back.
    fn member<I: BufRead>(&mut self, packing: Packing, input: I) -> Result<I, StoreError> {
        if packing == Packing::Gzip {
            let mut decoder = GzDecoder::new(input);
            self.take(packing, &mut decoder)?;
            return Ok(decoder.into_inner());
        }
        let mut decoder = bzip2::bufread::BzDecoder::new(input);
        self.take(packing, &mut decoder)?;
        Ok(decoder.into_inner())
    }

    /// True if another member follows. Zeros may follow the last one: tapes were filled up with them.
    fn goes_on<I: BufRead>(&self, packing: Packing, input: &mut I) -> Result<bool, StoreError> {
        let mut zeros = false;
        loop {
            let rest = input.fill_buf().map_err(|error| self.broken(packing, error))?;
            let length = rest.len();
            match rest.first() {
                None => return Ok(false),
                Some(0) if rest.iter().all(|&byte| byte == 0) => zeros = true,
                Some(0x1f) if !zeros && packing == Packing::Gzip => return Ok(true),
                Some(b'B') if !zeros && packing == Packing::Bzip2 => return Ok(true),
                Some(_) => return Err(self.wrong(format!("bytes follow its end that are no {}; fetch it anew", packing.name()))),
            }
            input.consume(length);
        }
    }

    fn take(&mut self, packing: Packing, unpacked: &mut (impl Read + ?Sized)) -> Result<(), StoreError> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match unpacked.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|error| self.broken(packing, error))?,
            };
            match buffer.get(..length).filter(|piece| !piece.is_empty()) {
                Some(piece) => self.put(piece)?,
                None => return Ok(()),
            }
        }
    }

    fn put(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let length = self.length.saturating_add(piece.len() as u64);
        if let Some(promise) = self.promise.filter(|promise| length > promise.length) {
            return Err(self.wrong(format!("it unpacks to more than the {} bytes that its archive tells; fetch it anew", promise.length)));
        }
        if length > self.limits.most {
            let most = ByteSize(self.limits.most);
            let message =
                format!("it unpacks to more than {most}, which is all that is kept on disk; raise `spool_limit` if it is meant to");
            return Err(StoreError::new(ErrorKind::NoSpace, self.name, message));
        }
        if length > HARMLESS && length > self.packed.saturating_mul(self.limits.ratio) {
            let ratio = self.limits.ratio;
            let message = format!("it unpacks to more than {ratio} times its length, as bombs do; raise `unpack_ratio` if it is meant to");
            return Err(self.wrong(message));
        }
        self.sink.write_all(piece).map_err(|error| self.full(error))?;
        self.crc.update(piece);
        self.length = length;
        Ok(())
    }

    fn end(self) -> Result<(), StoreError> {
        match self.promise {
            Some(promise) if promise.length != self.length => {
                Err(self.wrong(format!("it unpacks to {} bytes, its archive tells {}; fetch it anew", self.length, promise.length)))
            }
            Some(promise) if promise.crc != self.crc.sum() => {
                let (found, told) = (self.crc.sum(), promise.crc);
                Err(self.wrong(format!("its CRC-32 is {found:08x}, its archive tells {told:08x}: it is damaged; fetch it anew")))
            }
            _ => Ok(()),
        }
    }

    fn wrong(&self, message: String) -> StoreError {
        StoreError::new(ErrorKind::Integrity, self.name, message)
    }

    fn full(&self, error: io::Error) -> StoreError {
        stored(error).unwrap_or_else(|error| StoreError::from_io(self.name, "keep it unpacked", error))
    }

    fn broken(&self, packing: Packing, error: io::Error) -> StoreError {
        let name = packing.name();
        stored(error).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.wrong(format!("the {name} data end in the middle: it is truncated; fetch it anew")).because(error)
            }
            _ => self.wrong(format!("the {name} data are damaged ({error}); fetch it anew")).because(error),
        })
    }
}

/// Passes on bytes that are not packed, checked against what their archive promises.
///
/// # Errors
/// As [`Packed::unpack`], without limits.
pub(super) fn copy(name: &str, input: &mut dyn BufRead, promise: Option<Promise>, sink: &mut dyn Write) -> Result<u64, StoreError> {
    let limits = Limits { most: u64::MAX, ratio: u64::MAX };
    let mut outlet = Outlet { name, limits, packed: u64::MAX, promise, sink, length: 0, crc: Crc::new() };
    outlet.take(Packing::Deflate, input)?;
    let length = outlet.length;
    outlet.end().map(|()| length)
}

/// A failure of the store or of the disk while bytes were passed on.
pub(super) fn told(name: &str, error: io::Error) -> StoreError {
    stored(error).unwrap_or_else(|error| StoreError::from_io(name, "keep it on disk", error))
}

/// The store's own error inside one of a reader.
fn stored(error: io::Error) -> Result<StoreError, io::Error> {
    error.downcast::<StoreError>()
}
