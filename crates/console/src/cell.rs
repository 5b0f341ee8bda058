//! Values in one line, and numbers with their units as people read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use medusa_monitor::wire::{Unit, Value};

use crate::limits::DEPTH;
use crate::paint::Tone;
use crate::text;

/// What the numbers under a key are.
pub type Units = BTreeMap<String, Unit>;

/// A value in one line, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The text, which may be shown as it is.
    pub text: String,
    /// How it is coloured; `None`: not at all.
    pub tone: Option<Tone>,
}

impl Cell {
    /// The cells of a value that stands under a key; nothing is shown of `nil`.
    pub fn of(value: &Value, unit: Option<Unit>) -> Self {
        let (text, tone) = match value {
            Value::Null => (String::new(), None),
            Value::Boolean(value) => (value.to_string(), Some(Tone::Literal)),
            Value::Integer(n) => (number(*n as f64, &n.to_string(), unit), Some(Tone::Number)),
            Value::Number(n) => (number(*n, &plain(*n), unit), Some(Tone::Number)),
            Value::Text(text) => (text::line(text).into_owned(), None),
            Value::List(_) | Value::Map(_) => (compact(value, &Units::new(), 0), None),
        };
        Self { text, tone }
    }

    /// Whether it belongs to the right of its column.
    pub fn is_number(&self) -> bool {
        self.tone == Some(Tone::Number)
    }
}

/// Whether a value has nothing below it.
pub fn is_flat(value: &Value) -> bool {
    !matches!(value, Value::List(_) | Value::Map(_))
}

/// A table in one line, as Lua would write it; nothing else in it is quoted than what would be
/// mistaken for something else.
pub fn compact(value: &Value, units: &Units, depth: usize) -> String {
    let mut out = String::new();
    write_compact(&mut out, value, None, units, depth);
    out
}

fn write_compact(out: &mut String, value: &Value, unit: Option<Unit>, units: &Units, depth: usize) {
    match value {
        Value::Null => out.push_str("nil"),
        Value::Text(text) if is_word(text) => out.push_str(text),
        Value::Text(text) => {
            let _ = write!(out, "\"{}\"", text::line(text).replace('"', "\\\""));
        }
        Value::List(_) | Value::Map(_) if depth >= DEPTH => out.push_str("{…}"),
        Value::List(list) => {
            out.push('{');
            for (at, value) in list.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_compact(out, value, unit, units, depth + 1);
            }
            out.push('}');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                let _ = write!(out, "{} = ", text::line(key));
                write_compact(out, value, units.get(key).copied(), units, depth + 1);
            }
            out.push('}');
        }
        flat => out.push_str(&Cell::of(flat, unit).text),
    }
}

/// Whether a text within a table needs no quotes.
fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || "/_*".contains(c))
        && chars.all(|c| c.is_alphanumeric() || "/_-.:*".contains(c))
        && !matches!(text, "nil" | "true" | "false")
}

fn number(n: f64, plain: &str, unit: Option<Unit>) -> String {
    match unit {
        None => plain.to_owned(),
        Some(Unit::Bytes) => bytes(n),
        Some(Unit::Seconds) => seconds(n),
        Some(Unit::Date) => date(n).unwrap_or_else(|| plain.to_owned()),
    }
}

/// A number with at most six digits behind the point, where it is not too large or small for that.
fn plain(n: f64) -> String {
    if n != 0.0 && !(1e-4..1e15).contains(&n.abs()) {
        return format!("{n:e}");
    }
    let text = format!("{n:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number of bytes: `812 B`, `1.5 MiB`.
fn bytes(n: f64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut n, mut unit) = (n, 0);
    // What would be shown as 1024 is one of the next.
    while n.abs() >= 1023.95 && unit + 1 < UNITS.len() {
        n /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{} B", plain(n)) } else { format!("{n:.1} {}", UNITS[unit]) }
}

/// A point in time in UTC, to the second: `2026-11-22T18:00:00Z`.
fn date(n: f64) -> Option<String> {
    // A number that is no date becomes one that jiff refuses, too.
    jiff::Timestamp::from_second(n as i64).ok().map(|date| date.to_string())
}

/// A span of time: `850 µs`, `12.3 ms`, `4.2 s`, `3 min 20 s`, `2 d 4 h`.
fn seconds(n: f64) -> String {
    let steps: [(f64, &str, &str); 3] =
        [(60.0, "min", "s"), (3600.0, "h", "min"), (86400.0, "d", "h")];
    let size = n.abs();
    let Some(&(large, name, smaller)) = steps.iter().rev().find(|(large, ..)| size >= *large)
    else {
        return match size {
            0.0 => "0 s".to_owned(),
            s if s < 1e-3 => format!("{:.0} µs", n * 1e6),
            s if s < 1.0 => format!("{} ms", plain((n * 1e4).round() / 10.0)),
            _ => format!("{} s", plain((n * 10.0).round() / 10.0)),
        };
    };
    let small = match smaller {
        "s" => 1.0,
        "min" => 60.0,
        _ => 3600.0,
    };
    let rest = ((n.abs() % large) / small).floor();
    let whole = (n / large).trunc();
    if rest > 0.0 { format!("{whole} {name} {rest} {smaller}") } else { format!("{whole} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well_with_their_units() {
        for (n, shown) in [
            (0.0, "0 B"),
            (812.0, "812 B"),
            (1023.0, "1023 B"),
            (1024.0, "1.0 KiB"),
            (1_572_864.0, "1.5 MiB"),
            (1_048_575.0, "1.0 MiB"),
            (-2048.0, "-2.0 KiB"),
        ] {
            assert_eq!(bytes(n), shown, "{n}");
        }
        for (n, shown) in [
            (0.0, "0 s"),
            (0.000_85, "850 µs"),
            (0.0123, "12.3 ms"),
            (0.5, "500 ms"),
            (4.2, "4.2 s"),
            (59.0, "59 s"),
            (60.0, "1 min"),
            (200.5, "3 min 20 s"),
            (7260.0, "2 h 1 min"),
            (187_200.0, "2 d 4 h"),
        ] {
            assert_eq!(seconds(n), shown, "{n}");
        }
        assert_eq!(date(1_795_370_400.7).as_deref(), Some("2026-11-22T18:00:00Z"));
        assert_eq!(date(1e300), None);
        for (n, shown) in [(0.5, "0.5"), (3.0, "3"), (1e20, "1e20"), (1e-9, "1e-9"), (0.1, "0.1")] {
            assert_eq!(plain(n), shown, "{n}");
        }
    }

    #[test]
    fn tables_in_one_line_are_told_from_texts() {
        let value = Value::Map(vec![
            ("a".into(), Value::List(vec![Value::Integer(1), "x.y".into(), "a b".into()])),
            ("bytes\n".into(), Value::Integer(2048)),
            ("t".into(), "true".into()),
            ("n".into(), Value::Null),
        ]);
        let units = Units::from([("bytes\n".to_owned(), Unit::Bytes)]);
        assert_eq!(
            compact(&value, &units, 0),
            "{a = {1, x.y, \"a b\"}, bytes\\n = 2.0 KiB, t = \"true\", n = nil}"
        );
        assert_eq!(Cell::of(&"12".into(), None).tone, None);
    }
}
