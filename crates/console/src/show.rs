//! Results for people: texts, tables, fields with their values.
//!
//! The one design choice: a value is shown in one line where that fits, else as what it is, each
//! part on lines of its own and two cells further in.

use medusa_monitor::wire::Value;

use crate::cell::{Cell, Units, compact, is_flat};
use crate::limits::DEPTH;
use crate::paint::{Paint, Tone};
use crate::table::Table;
use crate::text::{line, lines, width};

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub struct Show<'a> {
    /// Cells of a line; `None` if nobody counts them.
    pub cells: Option<usize>,
    /// Colours.
    pub paint: Paint,
    /// What the numbers under a key are.
    pub units: &'a Units,
}

impl Show<'_> {
    /// A result, in whole lines.
    pub fn value(&self, value: &Value) -> String {
        let mut out = String::new();
        match value {
            Value::Null => self.paint.put(&mut out, Tone::Literal, "nil"),
            // What is text is shown as it is, line by line.
            Value::Text(text) => out.push_str(lines(text).trim_end_matches('\n')),
            value if is_flat(value) => self.cell(&mut out, &Cell::of(value, None)),
            value => {
                self.block(&mut out, value, 0);
                return out;
            }
        }
        out.push('\n');
        out
    }

    fn cell(&self, out: &mut String, cell: &Cell) {
        match cell.tone {
            Some(tone) => self.paint.put(out, tone, &cell.text),
            None => out.push_str(&cell.text),
        }
    }

    /// A list or map on lines of its own.
    fn block(&self, out: &mut String, value: &Value, depth: usize) {
        let room = self.cells.map(|cells| cells.saturating_sub(2 * depth));
        match value {
            Value::List(list) if list.is_empty() => self.faint(out, depth, "(nothing)"),
            Value::Map(map) if map.is_empty() => self.faint(out, depth, "(nothing)"),
            _ if depth >= DEPTH => self.faint(out, depth, "…"),
            Value::List(list) => {
                let mut table = String::new();
                let written =
                    Table::of(list, self.units).and_then(|t| t.write(&mut table, room, self.paint));
                if written.is_some() {
                    for line in table.lines() {
                        indent(out, depth);
                        out.push_str(line);
                        out.push('\n');
                    }
                    return;
                }
                for (at, value) in list.iter().enumerate() {
                    match value {
                        Value::Map(_) => {
                            // So that it is seen where the next one begins.
                            if at > 0 && matches!(list[at - 1], Value::Map(_)) {
                                out.push('\n');
                            }
                            self.block(out, value, depth);
                        }
                        _ if self.fits(value, room) => {
                            indent(out, depth);
                            self.inline(out, value, None);
                            out.push('\n');
                        }
                        _ => self.block(out, value, depth + 1),
                    }
                }
            }
            Value::Map(map) => {
                let names: Vec<_> = map.iter().map(|(key, _)| line(key)).collect();
                let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
                let behind = room.map(|room| room.saturating_sub(widest + 2));
                for (name, (key, value)) in names.iter().zip(map) {
                    indent(out, depth);
                    self.paint.put(out, Tone::Name, name);
                    if self.fits(value, behind) {
                        out.extend(std::iter::repeat_n(' ', widest - width(name) + 2));
                        self.inline(out, value, Some(key));
                        out.push('\n');
                    } else {
                        out.push('\n');
                        self.block(out, value, depth + 1);
                    }
                }
            }
            flat => {
                indent(out, depth);
                self.inline(out, flat, None);
                out.push('\n');
            }
        }
    }

    /// Whether a value is short enough to stand behind its name. What is flat always does.
    fn fits(&self, value: &Value, room: Option<usize>) -> bool {
        match value {
            Value::List(list) if list.iter().any(|v| matches!(v, Value::Map(_))) => false,
            Value::Map(map) => map.is_empty(),
            value if is_flat(value) => true,
            value => {
                let room = room.unwrap_or(crate::limits::WIDTH);
                width(&compact(value, self.units, 0)) <= room
            }
        }
    }

    fn inline(&self, out: &mut String, value: &Value, key: Option<&str>) {
        let unit = key.and_then(|key| self.units.get(key).copied());
        match value {
            Value::Null => self.paint.put(out, Tone::Literal, "nil"),
            Value::List(list) if list.is_empty() => self.paint.put(out, Tone::Faint, "(nothing)"),
            Value::Map(map) if map.is_empty() => self.paint.put(out, Tone::Faint, "(nothing)"),
            Value::List(list) if list.iter().all(is_flat) => {
                for (at, value) in list.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    self.cell(out, &Cell::of(value, unit));
                }
            }
            Value::List(_) | Value::Map(_) => out.push_str(&compact(value, self.units, 0)),
            flat => self.cell(out, &Cell::of(flat, unit)),
        }
    }

    fn faint(&self, out: &mut String, depth: usize, text: &str) {
        indent(out, depth);
        self.paint.put(out, Tone::Faint, text);
        out.push('\n');
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', 2 * depth));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Value {
        serde_json::from_str(json).expect("JSON")
    }

    fn shown(json: &str, cells: usize) -> String {
        let units = Units::from([
            ("sent".to_owned(), medusa_monitor::wire::Unit::Bytes),
            ("age".to_owned(), medusa_monitor::wire::Unit::Seconds),
        ]);
        Show { cells: Some(cells), paint: Paint(false), units: &units }.value(&read(json))
    }

    #[test]
    fn texts_are_shown_as_they_are_and_steer_nothing() {
        assert_eq!(shown(r#""a\nb\u001b[2J""#, 80), "a\nb\\u{1b}[2J\n");
        assert_eq!(shown("null", 80), "nil\n");
        assert_eq!(shown("12.50", 80), "12.5\n");
        assert_eq!(shown("[]", 80), "(nothing)\n");
        assert_eq!(shown(r#"["a", 1, true]"#, 80), "a\n1\ntrue\n");
    }

    #[test]
    fn rows_become_a_table() {
        let rows = r#"[{"peer":"127.0.0.1:9","sent":2048,"age":12.25},
                       {"peer":"::1","sent":12,"doing":"GET /a\nb"}]"#;
        assert_eq!(
            shown(rows, 80),
            "peer            sent     age  doing\n\
             ───────────  ───────  ──────  ─────────\n\
             127.0.0.1:9  2.0 KiB  12.3 s\n\
             ::1             12 B          GET /a\\nb\n"
        );
    }

    #[test]
    fn a_table_that_is_too_wide_gives_way_where_it_is_widest() {
        let rows = r#"[{"a":"short","path":"/a/very/long/path/that/goes/on","n":1}]"#;
        assert_eq!(
            shown(rows, 24),
            "a      path            n\n\
             ─────  ──────────────  ─\n\
             short  /a/very/long/…  1\n"
        );
        // Numbers are not cut; what comes last is left out.
        let rows =
            r#"[{"name":"1.1","what":"GET /index.html","n":123456789,"more":true,"most":1}]"#;
        assert_eq!(
            shown(rows, 29),
            "name  what                  n\n\
             ────  ────────────  ─────────\n\
             1.1   GET /index.…  123456789\n\
             (not shown: more, most)\n"
        );
        // Too narrow for any table: a field on each line.
        let rows = r#"[{"first":"abcdefgh","second":"abcdefgh"},{"first":"x","second":"y"}]"#;
        assert_eq!(shown(rows, 10), "first   abcdefgh\nsecond  abcdefgh\n\nfirst   x\nsecond  y\n");
    }

    #[test]
    fn fields_stand_below_each_other() {
        let node = r#"{"kind":"channel","sent":1536,"actions":["close","pause"],"limits":{},
            "parts":[{"name":"a","n":1},{"name":"b","n":22}]}"#;
        assert_eq!(
            shown(node, 60),
            "kind     channel\nsent     1.5 KiB\nactions  close, pause\nlimits   (nothing)\n\
             parts\n  name   n\n  ────  ──\n  a      1\n  b     22\n"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            any::<f64>().prop_map(Value::Number),
            any::<String>().prop_map(Value::Text),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                prop::collection::vec((any::<String>(), inner), 0..6).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn anything_can_be_shown_at_any_width(value in value(), cells in 0..100_usize) {
            let units = Units::new();
            let text = Show { cells: Some(cells), paint: Paint(false), units: &units }.value(&value);
            prop_assert!(text.ends_with('\n'));
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }

        #[test]
        fn a_table_never_passes_the_edge(
            rows in prop::collection::vec(("[a-z]{0,30}", any::<i64>(), "\\PC{0,40}"), 1..6),
            cells in 34..90_usize,
        ) {
            let rows = rows.into_iter().map(|(a, b, c)| Value::Map(vec![
                ("a".into(), Value::Text(a)),
                ("b".into(), Value::Integer(b)),
                ("c".into(), Value::Text(c)),
            ]));
            let units = Units::new();
            let shown = Show { cells: Some(cells), paint: Paint(false), units: &units }
                .value(&Value::List(rows.collect()));
            for line in shown.lines() {
                prop_assert!(width(line) <= cells, "{line:?}");
            }
        }
    }
}
