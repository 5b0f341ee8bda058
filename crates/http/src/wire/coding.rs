//! Content codings, and what `Accept-Encoding` says of them (RFC 9110 §8.4, §12.5.3).
//!
//! The one design choice: the field is read once, into four qualities. What is on offer differs
//! from file to file, and each choice is then a comparison of numbers.

use std::fmt;

use super::fields::{Fields, Known};
use super::qvalue::{Quality, members};

/// A content coding that we can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `gzip` (RFC 1952); `x-gzip` is the same.
    Gzip,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `br` (RFC 7932).
    Brotli,
}

impl Coding {
    /// All of them, each at the place that `as usize` gives.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::Brotli];

    /// The name in `Content-Encoding` and `Accept-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }

    /// What the name of a file in this coding ends in.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Brotli => ".br",
        }
    }

    /// The coding of this name, in any case of letters.
    pub fn of(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    codings: [Quality; 3],
    identity: Quality,
}

impl Accepted {
    /// Reads the `Accept-Encoding` of a request.
    ///
    /// Without the field, and for what it does not name, nothing but `identity` is taken to be
    /// acceptable: the RFC allows all where there is no field, but a client that lists nothing
    /// decodes nothing.
    #[inline]
    pub fn by(fields: &Fields<'_>) -> Self {
        if fields.known(Known::AcceptEncoding).is_none() {
            return Self { codings: [0; 3], identity: LEAST };
        }
        Self::parse(fields.values(Known::AcceptEncoding))
    }

    /// Reads the values of the field's lines.
    pub fn parse<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let (mut codings, mut identity, mut any) = ([None; 3], None, None);
        for (name, quality) in members(values) {
            let named = match Coding::of(name) {
                Some(coding) => &mut codings[coding as usize],
                None if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                None if name == b"*" => &mut any,
                None => continue,
            };
            *named = (*named).max(Some(quality));
        }
        Self {
            codings: codings.map(|named| named.or(any).unwrap_or(0)),
            identity: identity.or(any).unwrap_or(LEAST),
        }
    }

    /// Whether it wants no coding at all: there is nothing to choose.
    pub fn is_plain(self) -> bool {
        self.codings == [0; 3]
    }

    /// Whether it refuses what is not coded.
    pub fn refuses_identity(self) -> bool {
        self.identity == 0
    }

    /// The place of the best coding among those on offer: by the client's quality, then by our
    /// order. `None` is `identity`.
    ///
    /// `identity` loses against a coding of the same quality, and against any that is listed if it
    /// is not listed itself. A client that refuses all that there is gets `identity` all the same:
    /// most that say so can read it, and a 406 would help none of them.
    pub fn choose(self, offered: impl IntoIterator<Item = Coding>) -> Option<usize> {
        let mut best = (self.identity.max(1) - 1, None);
        for (place, coding) in offered.into_iter().enumerate() {
            let quality = self.codings[coding as usize];
            if quality > best.0 {
                best = (quality, Some(place));
            }
        }
        best.1
    }
}

/// The quality of `identity` where it is neither named nor refused: below any wish.
const LEAST: Quality = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(value: &str, offered: &[Coding]) -> Option<Coding> {
        let accepted = Accepted::parse(std::iter::once(value.as_bytes()));
        accepted.choose(offered.iter().copied()).map(|place| offered[place])
    }

    #[test]
    fn codings_are_chosen_by_quality() {
        use Coding::{Brotli, Gzip, Zstd};
        let offered = [Brotli, Gzip];
        for (value, expected) in [
            ("", None),
            ("gzip, deflate, br", Some(Brotli)),
            ("gzip;q=1.0, br;q=0.5", Some(Gzip)),
            ("GZIP ; Q=0.001", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("x-gzip;q=0, gzip;q=0.3", Some(Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0.5, identity;q=0.8", None),
            ("gzip;q=0.5, identity;q=0.5", Some(Gzip)),
            ("identity", None),
            ("*", Some(Brotli)),
            ("*;q=0", None),
            ("*;q=0, gzip", Some(Gzip)),
            ("identity;q=0", None),
            ("identity;q=0, gzip;q=0.001", Some(Gzip)),
            ("br;q=0, *", Some(Gzip)),
            ("br;q=0, *;q=0.2, identity;q=0.3", None),
            ("zstd", None),
            ("gzip;q=2, br;q=-1, br;q=0.1234, br;q=", None),
            ("gzip;q=1.001, br;q=1.5", None),
            ("gzipped, xgzip", None),
            (" , ,gzip,,", Some(Gzip)),
        ] {
            assert_eq!(chosen(value, &offered), expected, "{value:?}");
        }
        assert_eq!(chosen("gzip, br, zstd", &[]), None);
        assert_eq!(chosen("gzip, br, zstd", &[Zstd, Brotli]), Some(Zstd));
    }

    #[test]
    fn refusals_are_told() {
        let accepted = |value: &str| Accepted::parse(std::iter::once(value.as_bytes()));
        for (value, refuses, plain) in [
            ("", false, true),
            ("identity;q=0", true, true),
            ("*;q=0", true, true),
            ("*;q=0, identity;q=0.1", false, true),
            ("*;q=0, gzip", true, false),
            ("gzip", false, false),
            ("deflate", false, true),
        ] {
            assert_eq!(accepted(value).refuses_identity(), refuses, "{value:?}");
            assert_eq!(accepted(value).is_plain(), plain, "{value:?}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [&b"br;q=0.1"[..], b"gzip;q=0.2"];
        let accepted = Accepted::parse(lines.into_iter());
        assert_eq!(accepted.choose([Coding::Brotli, Coding::Gzip]), Some(1));
    }

    proptest! {
        /// What is chosen is never refused, never loses to another on offer, and the order of
        /// members and of lines does not matter.
        #[test]
        fn the_best_is_chosen(
            wishes in proptest::collection::vec((0..5usize, 0..=1000u16), 0..6),
            offered in proptest::sample::subsequence(Coding::ALL.to_vec(), 0..=3).prop_shuffle(),
        ) {
            let names = ["gzip", "zstd", "br", "identity", "*"];
            let members: Vec<_> = wishes
                .iter()
                .map(|&(n, q)| format!("{};q={}.{:03}", names[n], q / 1000, q % 1000))
                .collect();
            let accepted = Accepted::parse(members.iter().map(String::as_bytes));
            let back = Accepted::parse(members.iter().rev().map(String::as_bytes));
            prop_assert_eq!(accepted, back);
            let line = members.join(",");
            prop_assert_eq!(accepted, Accepted::parse(std::iter::once(line.as_bytes())));

            let wish = |n: usize| {
                let of = |n| wishes.iter().filter(move |w| w.0 == n).map(|w| w.1).max();
                of(n).or(of(4))
            };
            let quality = |c: Coding| wish(c as usize).unwrap_or(0);
            if let Some(place) = accepted.choose(offered.iter().copied()) {
                let chosen = quality(offered[place]);
                prop_assert!(chosen > 0 && wish(3).is_none_or(|identity| chosen >= identity));
                prop_assert!(offered.iter().all(|&c| quality(c) <= chosen));
                prop_assert!(offered[..place].iter().all(|&c| quality(c) < chosen));
            } else {
                let identity = wish(3).unwrap_or(1).max(1);
                prop_assert!(offered.iter().all(|&c| quality(c) < identity));
            }
        }

        /// Whatever stands in the field, it is read.
        #[test]
        fn any_bytes_are_read(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            Accepted::parse(std::iter::once(&value[..])).choose(Coding::ALL);
        }
    }
}
