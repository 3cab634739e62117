//! Ceph's encoding, read: little-endian numbers, a length before bytes, a version and a length before structs.

/// What is left to read. Each method gives `None` where the bytes do not go that far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Bytes behind their length: a `string` or a `bufferlist`.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.take(len)
    }

    /// A struct (`ENCODE_START`): its version, the oldest version that can read it, its length. What a newer version added at its
    /// end is passed over.
    pub(super) fn section(&mut self) -> Option<Reader<'a>> {
        let (_version, _compat) = (self.u8()?, self.u8()?);
        self.bytes().map(Reader::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_is_read_and_what_a_newer_version_added_is_passed_over() {
        let bytes = [2, 1, 5, 0, 0, 0, 7, 0, 0, 0, 99, 42];
        let mut r = Reader::new(&bytes);
        let mut section = r.section().unwrap();
        assert_eq!(section.u32(), Some(7));
        assert_eq!(r.u8(), Some(42));
        assert_eq!(r.u8(), None);
    }

    #[test]
    fn a_length_beyond_the_end_reads_as_nothing() {
        assert!(Reader::new(&[255, 255, 255, 255, 1]).bytes().is_none());
        assert!(Reader::new(&[1, 1, 9, 0, 0, 0, 1]).section().is_none());
        assert!(Reader::new(&[1, 2, 3]).u64().is_none());
    }
}
