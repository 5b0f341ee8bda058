//! The line that is edited: colours, completion from the live tree, and when a statement is
//! complete.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use crate::limits::CANDIDATES;
use crate::link::Link;
use crate::lua::{self, Kind};
use crate::paint::{Paint, Tone};
use crate::text;

/// What the editor asks while a line is typed.
#[derive(Debug)]
pub(crate) struct Assistant {
    pub(crate) link: Rc<RefCell<Link>>,
    pub(crate) paint: Paint,
}

impl Helper for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let told = self.link.borrow_mut().complete(line, at);
        // A server could say anything.
        let fits = told.filter(|told| told.from <= at && line.is_char_boundary(told.from));
        Ok(fits.map_or((at, Vec::new()), |told| {
            let harmless = |name: &String| matches!(text::line(name), Cow::Borrowed(_));
            (told.from, told.names.into_iter().filter(harmless).take(CANDIDATES).collect())
        }))
    }
}

impl Validator for Assistant {
    fn validate(&self, input: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if goes_on(input.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

/// Whether the enter key begins another line. Two empty ones end a statement in any case, so that
/// nobody is held by our own idea of Lua.
fn goes_on(code: &str) -> bool {
    lua::is_open(code) && !code.ends_with("\n\n")
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.paint.0 { Cow::Owned(coloured(line, self.paint)) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.paint.0 && kind != CmdKind::MoveCursor
    }
}

/// Code in colours.
pub(crate) fn coloured(code: &str, paint: Paint) -> String {
    let mut out = String::new();
    let mut end = 0;
    for token in lua::tokens(code) {
        out.push_str(&code[end..token.at.start]);
        let text = &code[token.at.clone()];
        match token.kind {
            Kind::Keyword => paint.put(&mut out, Tone::Keyword, text),
            Kind::Literal => paint.put(&mut out, Tone::Literal, text),
            Kind::Number => paint.put(&mut out, Tone::Number, text),
            Kind::Text => paint.put(&mut out, Tone::Text, text),
            Kind::Comment => paint.put(&mut out, Tone::Faint, text),
            Kind::Name | Kind::Sign => out.push_str(text),
        }
        end = token.at.end;
    }
    out.push_str(&code[end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_no_text() {
        let code = "local x = 'ä' -- ö\n  return nil, 1";
        let mut plain = coloured(code, Paint(true));
        while let Some(at) = plain.find('\x1b') {
            let end = at + plain[at..].find('m').expect("an end");
            plain.replace_range(at..=end, "");
        }
        assert_eq!(plain, code);
        assert_eq!(coloured(code, Paint(false)), code);
    }

    #[test]
    fn two_empty_lines_end_a_statement_in_any_case() {
        assert!(goes_on("f(") && goes_on("f(\n"));
        assert!(!goes_on("f(\n\n") && !goes_on("f()"));
    }
}
