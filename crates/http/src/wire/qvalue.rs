//! Lists with quality values: what the client would rather have (RFC 9110 §12.4.2, §12.5).
//!
//! The list is walked once for each thing on offer and stored nowhere: we offer few, and most
//! clients list few. A member whose quality is malformed is left out.

use super::bytes;

/// A quality in thousandths, 0 to 1000; 0 is a refusal.
type Quality = u16;

/// One member of a list: what it names, and how much it is wanted.
fn members<'v>(
    values: impl Iterator<Item = &'v [u8]>,
) -> impl Iterator<Item = (&'v [u8], Quality)> {
    values.flat_map(bytes::list).filter_map(|member| {
        let mut parts = member.split(|&b| b == b';').map(bytes::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let mut quality = 1000;
        for parameter in parts {
            if let [b'q' | b'Q', b'=', number @ ..] = parameter {
                quality = parse(number)?;
            }
        }
        Some((name, quality))
    })
}

/// Parses `0` to `1` with at most three decimals (RFC 9110 §12.4.2).
fn parse(number: &[u8]) -> Option<Quality> {
    let (whole, decimals) = match number {
        [whole] => (*whole, &b""[..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, worth) in decimals.iter().zip([100, 10, 1]) {
        thousandths += match digit {
            b'0'..=b'9' => Quality::from(digit - b'0') * worth,
            _ => return None,
        };
    }
    (thousandths <= 1000).then_some(thousandths)
}

/// The place in `offered` of the best coding for an `Accept-Encoding`, by the client's quality
/// and then by our order; `None` if it refuses all of them.
///
/// `identity` is acceptable unless it is refused by name or by `*;q=0` (RFC 9110 §12.5.3), and
/// loses against any coding that the client lists. Without the field nothing but `identity` is
/// taken to be acceptable: the RFC allows all, but a client that lists nothing decodes nothing.
#[expect(clippy::needless_pass_by_value, reason = "an iterator is made for the call")]
pub fn best_coding<'v>(
    values: impl Iterator<Item = &'v [u8]> + Clone,
    offered: &[&str],
) -> Option<usize> {
    best(offered, |coding| {
        let (mut named, mut any) = (None, None);
        for (name, quality) in members(values.clone()) {
            if name.eq_ignore_ascii_case(coding.as_bytes()) {
                named = named.max(Some(quality));
            } else if name == b"*" {
                any = any.max(Some(quality));
            }
        }
        match named.or(any) {
            // Above a refusal and below the smallest wish.
            None if coding.eq_ignore_ascii_case("identity") => 1,
            wish => wish.unwrap_or(0) * 2,
        }
    })
}

/// The place in `offered` of the best media type for an `Accept`, by the client's quality and
/// then by our order; `None` if it refuses all of them.
///
/// The most specific range that fits decides (RFC 9110 §12.5.1); parameters of media types are
/// not compared. Without the field everything is acceptable.
#[expect(clippy::needless_pass_by_value, reason = "an iterator is made for the call")]
pub fn best_media_type<'v>(
    values: impl Iterator<Item = &'v [u8]> + Clone,
    offered: &[&str],
) -> Option<usize> {
    if values.clone().next().is_none() {
        return (!offered.is_empty()).then_some(0);
    }
    best(offered, |media_type| {
        let slash = media_type.find('/').map_or(media_type.len(), |at| at + 1);
        let (family, _) = media_type.as_bytes().split_at(slash);
        let mut wish = (0, 0);
        for (range, quality) in members(values.clone()) {
            let specific = if range.eq_ignore_ascii_case(media_type.as_bytes()) {
                3
            } else if let Some(range) = range.strip_suffix(b"*")
                && range.eq_ignore_ascii_case(family)
            {
                2
            } else if range == b"*/*" {
                1
            } else {
                continue;
            };
            wish = wish.max((specific, quality));
        }
        wish.1
    })
}

fn best(offered: &[&str], wish: impl Fn(&str) -> Quality) -> Option<usize> {
    let mut best = (0, None);
    for (place, name) in offered.iter().enumerate() {
        let wish = wish(name);
        if wish > best.0 {
            best = (wish, Some(place));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: Option<&str>) -> impl Iterator<Item = &[u8]> + Clone {
        value.into_iter().map(str::as_bytes)
    }

    #[test]
    fn codings_are_chosen_by_quality() {
        let offered = ["br", "gzip", "identity"];
        for (value, expected) in [
            (None, Some("identity")),
            (Some(""), Some("identity")),
            (Some("gzip, deflate, br"), Some("br")),
            (Some("gzip;q=1.0, br;q=0.5"), Some("gzip")),
            (Some("GZIP ; Q=0.001"), Some("gzip")),
            (Some("gzip;q=0"), Some("identity")),
            (Some("gzip;q=0.5, identity;q=0.8"), Some("identity")),
            (Some("*"), Some("br")),
            (Some("*;q=0"), None),
            (Some("*;q=0, gzip"), Some("gzip")),
            (Some("identity;q=0"), None),
            (Some("br;q=0, *"), Some("gzip")),
            (Some("zstd"), Some("identity")),
            (Some("gzip;q=2, br;q=-1, br;q=0.1234, br;q="), Some("identity")),
            (Some("gzip;q=1.001, br;q=1.5"), Some("identity")),
            (Some("gzipped, xgzip"), Some("identity")),
        ] {
            let chosen = best_coding(one(value), &offered).map(|place| offered[place]);
            assert_eq!(chosen, expected, "{value:?}");
        }
    }

    #[test]
    fn media_types_are_chosen_by_the_most_specific_range() {
        let offered = ["text/html", "application/json"];
        for (value, expected) in [
            (None, Some("text/html")),
            (Some("*/*"), Some("text/html")),
            (Some("application/json"), Some("application/json")),
            (Some("application/*, text/*;q=0.9"), Some("application/json")),
            (Some("text/html;q=0.2, */*;q=0.8"), Some("application/json")),
            (Some("text/html;q=0, text/*"), None),
            (Some("image/png"), None),
            (Some("text/html;level=1, application/json;q=0.9"), Some("text/html")),
        ] {
            let chosen = best_media_type(one(value), &offered).map(|place| offered[place]);
            assert_eq!(chosen, expected, "{value:?}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [&b"br;q=0.1"[..], b"gzip;q=0.2"];
        assert_eq!(best_coding(lines.into_iter(), &["br", "gzip"]), Some(1));
    }
}
