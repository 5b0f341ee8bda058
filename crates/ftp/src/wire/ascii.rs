//! Type A (RFC 959, section 3.1.1.1): on the wire a line ends in CR LF, in a file in LF.
//!
//! The one design choice: a converter keeps one bit between two pieces, so that input may be cut
//! anywhere. A file whose lines end in CR LF already is sent as it is, and a lone CR that was
//! received is kept: nothing that somebody stored in lines is lost.

/// Turns the line ends of a file into those of the wire.
#[derive(Clone, Debug, Default)]
pub struct ToWire {
    after_cr: bool,
}

impl ToWire {
    /// Converts the next piece and appends it; at most twice as long.
    pub fn convert(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if byte == b'\n' && !self.after_cr {
                out.push(b'\r');
            }
            self.after_cr = byte == b'\r';
            out.push(byte);
        }
    }

    /// How long the next piece is when it is converted.
    pub fn count(&mut self, piece: &[u8]) -> u64 {
        let mut added = 0;
        for &byte in piece {
            added += u64::from(byte == b'\n' && !self.after_cr);
            self.after_cr = byte == b'\r';
        }
        piece.len() as u64 + added
    }
}

/// Turns the line ends of the wire into those of a file.
#[derive(Clone, Debug, Default)]
pub struct FromWire {
    held_cr: bool,
}

impl FromWire {
    /// Converts the next piece and appends it; at most one byte longer.
    pub fn convert(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if std::mem::replace(&mut self.held_cr, byte == b'\r') && byte != b'\n' {
                out.push(b'\r');
            }
            if byte != b'\r' {
                out.push(byte);
            }
        }
    }

    /// Appends what was held back, at the end.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut converter, mut out) = (ToWire::default(), Vec::new());
        for piece in pieces {
            converter.convert(piece, &mut out);
        }
        out
    }

    fn from_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut converter, mut out) = (FromWire::default(), Vec::new());
        for piece in pieces {
            converter.convert(piece, &mut out);
        }
        converter.end(&mut out);
        out
    }

    #[test]
    fn line_ends_both_ways() {
        assert_eq!(to_wire(&[b"a\nb\r\nc\r\n\n"]), b"a\r\nb\r\nc\r\n\r\n");
        assert_eq!(from_wire(&[b"a\r\nb\nc\rd\r\r\ne\r"]), b"a\nb\nc\rd\r\ne\r");
    }

    /// Bytes in which line ends are frequent.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..24)
    }

    proptest! {
        #[test]
        fn where_it_is_cut_makes_no_difference(bytes in text(), a: usize, b: usize) {
            let (a, b) = (a % (bytes.len() + 1), b % (bytes.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            let pieces = [&bytes[..a], &bytes[a..b], &bytes[b..]];
            prop_assert_eq!(to_wire(&pieces), to_wire(&[&bytes]));
            prop_assert_eq!(from_wire(&pieces), from_wire(&[&bytes]));
            let mut counter = ToWire::default();
            let counted: u64 = pieces.iter().map(|piece| counter.count(piece)).sum();
            prop_assert_eq!(counted, to_wire(&[&bytes]).len() as u64);
        }

        #[test]
        fn lines_come_back_as_they_went(lines in prop::collection::vec("[ab]{0,3}", 0..6)) {
            let file = lines.join("\n").into_bytes();
            prop_assert_eq!(from_wire(&[&to_wire(&[&file])]), file);
        }
    }
}
