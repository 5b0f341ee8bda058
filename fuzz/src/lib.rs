//! What the fuzz targets share: how choices are read from a fuzzer's input.
//!
//! The one design choice: an input is a plain list of bytes, each choice is the next of them, and
//! what is missing reads as 0. So seeds can be written by hand, and an input that is cut short
//! still means nearly the same.

#![forbid(unsafe_code)]

/// Most places at which one input is split.
const MAX_CUTS: usize = 8;

/// Reads choices from an input.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Reads from this input.
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number of two bytes, the low one first.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number of eight bytes, the low one first.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// One of these.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// The next `n` bytes, or as many as there are.
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Places at which something is to be split, unsorted: a count, then the places.
    pub fn cuts(&mut self) -> Vec<usize> {
        let count = usize::from(self.byte()) % (MAX_CUTS + 1);
        (0..count).map(|_| usize::from(self.short())).collect()
    }
}

/// Brings places to split at into order, and within `len`.
pub fn within(mut cuts: Vec<usize>, len: usize) -> Vec<usize> {
    for cut in &mut cuts {
        *cut %= len + 1;
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
