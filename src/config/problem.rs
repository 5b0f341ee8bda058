//! What is wrong with a configuration, shown with its place.
//!
//! The one design choice: everything that is wrong is gathered and told at once, so that nobody
//! mends a file one error at a time.

use std::fmt::Write as _;

use crate::config::value::Span;

/// Problems that are told at once; of further ones only the number.
pub(crate) const MAX_PROBLEMS: usize = 20;

/// Characters of a line that are shown.
const SHOWN_CHARS: usize = 100;

/// Something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) span: Span,
    /// What, in one sentence without its full stop.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl Problem {
    pub(crate) fn new(span: Span, what: impl Into<String>) -> Self {
        Self { span, what: what.into(), help: None }
    }

    /// Puts it at this place.
    #[must_use]
    pub(crate) fn at(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Everything that is wrong, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Shows all of them: with line, column and the line itself for what stands in a file of
    /// this name and text, and in one sentence each where there is none.
    pub(crate) fn show(&self, file: Option<(&str, &str)>) -> String {
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|p| p.span.start);
        let mut out = match file {
            Some((name, _)) => format!("`{name}` cannot be used:"),
            None => String::new(),
        };
        for problem in sorted {
            if let Some((name, text)) = file {
                show(&mut out, problem, name, text);
                continue;
            }
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&problem.what);
            if let Some(help) = &problem.help {
                out.push_str("; ");
                out.push_str(help);
            }
        }
        if self.more > 0 {
            write!(out, "\nand {} more", self.more).expect("a text takes everything");
        }
        out
    }
}

/// The last place at or before this one that is not inside a character.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&n| text.is_char_boundary(n)).unwrap_or(0)
}

/// The line and the column of a place, from 1, columns in characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..boundary(text, at)];
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn show(out: &mut String, problem: &Problem, name: &str, text: &str) {
    let Problem { span, what, help } = problem;
    let (line, column) = place(text, span.start);
    let shown: Vec<char> = text.lines().nth(line - 1).unwrap_or_default().chars().collect();
    // A long line is shown from a little before what is wrong.
    let first = if shown.len() > SHOWN_CHARS { (column - 1).saturating_sub(20) } else { 0 };
    let visible = |c: &char| if c.is_control() { ' ' } else { *c };
    let part: String = shown.iter().skip(first).take(SHOWN_CHARS).map(visible).collect();
    let end = boundary(text, span.end.max(span.start));
    let start = boundary(text, span.start);
    let wide = text[start..end].lines().next().unwrap_or_default().chars().count();
    let room = (first + SHOWN_CHARS).saturating_sub(column - 1).max(1);
    let carets = "^".repeat(wide.clamp(1, room));
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(column - 1 - first);
    let written = write!(
        out,
        "\n{name}:{line}:{column}: {what}\n{margin} |\n{number} | {part}\n{margin} | {indent}{carets}"
    );
    written.expect("a text takes everything");
    if let Some(help) = help {
        write!(out, "\n{margin} = {help}").expect("a text takes everything");
    }
}
