//! Lists with quality values: what the client would rather have (RFC 9110 §12.4.2, §12.5).
//!
//! The list is walked once for each thing on offer and stored nowhere: we offer few, and most
//! clients list few. A member whose quality is malformed is left out.

use super::bytes;

/// A quality in thousandths, 0 to 1000; 0 is a refusal.
pub(super) type Quality = u16;

/// One member of a list: what it names, and how much it is wanted.
pub(super) fn members<'v>(
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
        let lines = [&b"text/html;q=0.1"[..], b"text/plain;q=0.2"];
        let offered = ["text/html", "text/plain"];
        assert_eq!(best_media_type(lines.into_iter(), &offered), Some(1));
    }
}
