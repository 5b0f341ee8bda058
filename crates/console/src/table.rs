//! Rows as a table that fits into the terminal.
//!
//! The one design choice: no frame. Columns are as wide as what is in them; if that is too much,
//! the widest texts give way first, and what is cut shows it. Numbers are never cut. Columns that
//! still do not fit are left out from the right and named below, for the first ones are what people
//! want most.

use std::fmt::Write as _;

use medusa_monitor::wire::Value;

use crate::cell::{Cell, Units, is_flat};
use crate::limits::{COLUMN, COLUMNS};
use crate::paint::{Paint, Tone};
use crate::text::{fit, line, width};

/// Cells between two columns.
const GAP: usize = 2;

/// Rows that share columns.
#[derive(Debug)]
pub struct Table {
    names: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Columns that were too many.
    left_out: usize,
}

impl Table {
    /// The table of a list whose members are all maps, most of it flat; `None` of any other.
    pub fn of(list: &[Value], units: &Units) -> Option<Self> {
        let rows: Vec<&Vec<(String, Value)>> = list
            .iter()
            .map(|row| if let Value::Map(row) = row { Some(row) } else { None })
            .collect::<Option<_>>()?;
        let mut keys: Vec<&str> = Vec::new();
        let (mut flat, mut nested) = (0_usize, 0_usize);
        for (key, value) in rows.iter().copied().flatten() {
            if !keys.contains(&key.as_str()) && keys.len() <= COLUMNS + 64 {
                keys.push(key);
            }
            if is_flat(value) {
                flat += 1;
            } else {
                nested += 1;
            }
        }
        if flat <= nested {
            return None;
        }
        let left_out = keys.len().saturating_sub(COLUMNS);
        keys.truncate(COLUMNS);
        let cell = |row: &Vec<(String, Value)>, key: &str| {
            let value = row.iter().find(|(name, _)| name == key).map_or(&Value::Null, |(_, v)| v);
            Cell::of(value, units.get(key).copied())
        };
        let rows = rows.iter().map(|row| keys.iter().map(|key| cell(row, key)).collect()).collect();
        Some(Self {
            names: keys.iter().map(|key| line(key).into_owned()).collect(),
            rows,
            left_out,
        })
    }

    /// Writes it, within so many cells if there is a limit. `None`: not even two columns fit.
    pub fn write(&self, out: &mut String, cells: Option<usize>, paint: Paint) -> Option<()> {
        let right: Vec<bool> = (0..self.names.len())
            .map(|at| {
                let shown = || self.rows.iter().map(|row| &row[at]).filter(|c| !c.text.is_empty());
                shown().next().is_some() && shown().all(Cell::is_number)
            })
            .collect();
        let widths = self.widths(cells, &right)?;
        let row = |out: &mut String, cells: &mut dyn Iterator<Item = (&str, Option<Tone>)>| {
            let mut behind = 0;
            for (at, (text, tone)) in cells.take(widths.len()).enumerate() {
                let text = fit(text, widths[at]);
                let pad = widths[at] - width(&text);
                // Blanks are only written when something stands behind them.
                let before = behind + if right[at] { pad } else { 0 };
                if text.is_empty() {
                    behind = before;
                } else {
                    out.extend(std::iter::repeat_n(' ', before));
                    match tone {
                        Some(tone) => paint.put(out, tone, &text),
                        None => out.push_str(&text),
                    }
                    behind = 0;
                }
                behind += GAP + if right[at] { 0 } else { pad };
            }
            out.push('\n');
        };
        row(out, &mut self.names.iter().map(|name| (name.as_str(), Some(Tone::Name))));
        let rules: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
        row(out, &mut rules.iter().map(|rule| (rule.as_str(), Some(Tone::Faint))));
        for cells in &self.rows {
            row(out, &mut cells.iter().map(|cell| (cell.text.as_str(), cell.tone)));
        }
        let mut hidden = self.names[widths.len()..].join(", ");
        if self.left_out > 0 {
            let _ = write!(
                hidden,
                "{}{} more",
                if hidden.is_empty() { "" } else { ", " },
                self.left_out
            );
        }
        if !hidden.is_empty() {
            let note = format!("(not shown: {hidden})");
            paint.put(
                out,
                Tone::Faint,
                &cells.map_or(note.as_str().into(), |cells| fit(&note, cells)),
            );
            out.push('\n');
        }
        Some(())
    }

    /// The widths of the columns that are shown.
    fn widths(&self, cells: Option<usize>, right: &[bool]) -> Option<Vec<usize>> {
        let widest =
            |at: usize| self.rows.iter().map(|row| width(&row[at].text)).max().unwrap_or(0);
        // What a column wants, and what it needs at least.
        let (mut widths, mut least) = (Vec::new(), Vec::new());
        for (at, name) in self.names.iter().enumerate() {
            let (name, cells) = (width(name), widest(at));
            let wanted = name.max(cells);
            least.push(if right[at] { cells.max(wanted.min(COLUMN)) } else { wanted.min(COLUMN) });
            widths.push(wanted);
        }
        let Some(cells) = cells else { return Some(widths) };
        let mut needed = 0;
        let fitting = least.iter().take_while(|&&width| {
            needed += width + GAP;
            needed <= cells + GAP
        });
        let shown = fitting.count();
        if shown < self.names.len().min(2) {
            return None;
        }
        widths.truncate(shown);
        let room = cells - GAP * (shown - 1);
        for (width, least) in widths.iter_mut().zip(&least) {
            *width = (*width).clamp(*least, room.max(*least));
        }
        while widths.iter().sum::<usize>() > room {
            let narrowable =
                widths.iter_mut().zip(&least).filter(|(width, least)| **width > **least);
            let (width, _) = narrowable.max_by_key(|(width, _)| **width)?;
            *width -= 1;
        }
        Some(widths)
    }
}
