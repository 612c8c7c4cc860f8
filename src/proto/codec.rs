//! Reading and writing the primitive fields of PROTOCOL.md section 1.
//!
//! A [`Reader`] borrows; what it returns are slices of its input. It never reads past the end and never allocates, so that a
//! length field can't make it do either.

use super::Error;

/// Reads fields from the front of a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes the next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::CutShort { needed: count, left: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::CutShort { needed: N, left: self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads a `u8`.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a `u16`.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a `u32`.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a `u64`.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads a `text8`; `what` names it in the error.
    pub fn text8(&mut self, what: &'static str) -> Result<&'a str, Error> {
        let length = self.u8()?;
        self.limited(what, usize::MAX, length.into()).and_then(|bytes| text(what, bytes))
    }

    /// Reads a `text16` of at most `limit` bytes.
    pub fn text16(&mut self, what: &'static str, limit: usize) -> Result<&'a str, Error> {
        self.bytes16(what, limit).and_then(|bytes| text(what, bytes))
    }

    /// Reads a `bytes16` of at most `limit` bytes.
    pub fn bytes16(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], Error> {
        let length = self.u16()?;
        self.limited(what, limit, length.into())
    }

    /// Reads a `bytes32` of at most `limit` bytes.
    pub fn bytes32(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], Error> {
        let length = self.u32()?;
        self.limited(what, limit, length as usize)
    }

    /// Skips `extensions`, checking that they are well-formed.
    pub fn extensions(&mut self) -> Result<(), Error> {
        self.each_extension(|_, _| Ok(()))
    }

    /// Hands type and value of each of the `extensions` to `take`, which leaves alone what it doesn't know.
    pub fn each_extension(&mut self, mut take: impl FnMut(u16, Reader<'a>) -> Result<(), Error>) -> Result<(), Error> {
        let mut extensions = Reader::new(self.bytes16("extensions", usize::MAX)?);
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            take(kind, Reader::new(extensions.bytes16("extension", usize::MAX)?))?;
        }
        Ok(())
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Returns how many bytes are left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Returns whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends a structure called `what`.
    ///
    /// # Errors
    /// [`Error::LeftOver`] if there are bytes after its last field.
    pub fn finish(self, what: &'static str) -> Result<(), Error> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Error::LeftOver { what, left }),
        }
    }

    fn limited(&mut self, what: &'static str, limit: usize, length: usize) -> Result<&'a [u8], Error> {
        if length > limit {
            return Err(Error::TooLarge { what, limit, got: length });
        }
        self.take(length)
    }
}

fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::Malformed { what })
}

/// Cuts `text` to at most `limit` bytes, never inside a character. For what only people read, such as reasons.
pub fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Writes fields to the end of a byte vector; the mirror of [`Reader`].
///
/// A field that is longer than its length prefix can say is a mistake of the caller, who has checked the field's own, lower
/// limit before: writing it panics.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with no bytes, and room for `capacity`.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Writes a `u8`.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Writes a `u16`.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Writes a `u32`.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Writes a `u64`.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Writes bytes without a length: keys, ids, signatures, the rest.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes a `text8`.
    ///
    /// # Panics
    /// If `text` is longer than 255 bytes.
    pub fn text8(&mut self, text: &str) -> &mut Self {
        self.u8(u8::try_from(text.len()).expect("a text8 fits its length prefix")).raw(text.as_bytes())
    }

    /// Writes a `text16`.
    ///
    /// # Panics
    /// If `text` is longer than 65,535 bytes.
    pub fn text16(&mut self, text: &str) -> &mut Self {
        self.bytes16(text.as_bytes())
    }

    /// Writes a `bytes16`.
    ///
    /// # Panics
    /// If `bytes` are more than 65,535.
    pub fn bytes16(&mut self, bytes: &[u8]) -> &mut Self {
        self.u16(u16::try_from(bytes.len()).expect("a bytes16 fits its length prefix")).raw(bytes)
    }

    /// Writes a `bytes32`.
    ///
    /// # Panics
    /// If `bytes` are more than 4,294,967,295.
    pub fn bytes32(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).expect("a bytes32 fits its length prefix")).raw(bytes)
    }

    /// Writes `extensions` without any.
    pub fn extensions(&mut self) -> &mut Self {
        self.u16(0)
    }

    /// Writes `extensions` with these types and values, in the order in which they are given.
    ///
    /// # Panics
    /// If they are longer than 65,535 bytes together.
    pub fn these_extensions(&mut self, extensions: &[(u16, &[u8])]) -> &mut Self {
        let length: usize = extensions.iter().map(|(_, value)| 4 + value.len()).sum();
        self.u16(u16::try_from(length).expect("extensions fit their length prefix"));
        for (kind, value) in extensions {
            self.u16(*kind).bytes16(value);
        }
        self
    }

    /// Returns what has been written.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the written bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}
