//! Why a statement has failed, with the place in it.

use medusa_monitor::wire::Failed;

use crate::limits::TRACEBACK;
use crate::lua;
use crate::paint::{Paint, Tone};
use crate::text::{line, lines, width};

/// How the calls within a statement begin in a traceback.
const OWN_CALL: &str = "statement:";

/// Shows what went wrong in a statement: the message, the line if that says more, and below it
/// what the message names.
pub fn show(failed: &Failed, code: &str, paint: Paint) -> String {
    let mut out = String::new();
    if failed.cancelled {
        paint.put(&mut out, Tone::Faint, "cancelled");
        out.push('\n');
        return out;
    }
    paint.put(&mut out, Tone::Fault, "error:");
    out.push(' ');
    out.push_str(lines(&failed.message).trim_end());
    out.push('\n');
    let at = (failed.line as usize).checked_sub(1);
    if let Some(text) = at.and_then(|at| code.lines().nth(at)) {
        let named = named(&failed.message).and_then(|name| find(text, name));
        if named.is_some() || code.trim_end().contains('\n') {
            place(&mut out, failed.line, text, named, paint);
        }
    }
    // A call within the statement that is the only one says no more than the line above.
    let calls: Vec<&str> = failed.traceback.lines().filter(|call| !call.is_empty()).collect();
    if calls.iter().filter(|call| call.starts_with(OWN_CALL)).count() > 1 {
        for call in calls.iter().take(TRACEBACK) {
            paint.put(&mut out, Tone::Faint, &format!("  {}", line(call)));
            out.push('\n');
        }
        if calls.len() > TRACEBACK {
            let more = format!("  … {} more", calls.len() - TRACEBACK);
            paint.put(&mut out, Tone::Faint, &more);
            out.push('\n');
        }
    }
    out
}

fn place(out: &mut String, number: u32, text: &str, named: Option<(usize, usize)>, paint: Paint) {
    // A tab is one cell here, so that the marks stand where they belong.
    let clean = |part: &str| line(&part.replace('\t', " ")).into_owned();
    let number = number.to_string();
    paint.put(out, Tone::Faint, &format!("  {number} │ "));
    out.push_str(&clean(text));
    out.push('\n');
    if let Some((from, to)) = named {
        let blank = " ".repeat(number.len());
        paint.put(out, Tone::Faint, &format!("  {blank} │ "));
        out.push_str(&" ".repeat(width(&clean(&text[..from]))));
        paint.put(out, Tone::Fault, &"^".repeat(width(&clean(&text[from..to])).max(1)));
        out.push('\n');
    }
}

/// What the message of an error names: Lua writes it in quotes, the last ones being the nearest.
fn named(message: &str) -> Option<&str> {
    let first = message.lines().next()?;
    if first.contains("near <eof>") {
        return Some("");
    }
    let (rest, _) = first.rsplit_once('\'')?;
    let (_, name) = rest.rsplit_once('\'')?;
    (!name.is_empty()).then_some(name)
}

/// Where a name stands in a line: as a word of its own if it does, the last time it does.
fn find(text: &str, name: &str) -> Option<(usize, usize)> {
    if name.is_empty() {
        let end = text.trim_end().len();
        return Some((end, end));
    }
    let tokens = lua::tokens(text);
    let token = tokens.iter().rev().find(|token| text.get(token.at.clone()) == Some(name));
    let found = token.map(|token| (token.at.start, token.at.end));
    found.or_else(|| text.find(name).map(|at| (at, at + name.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str, at: u32, code: &str) -> String {
        let failed = Failed { message: message.to_owned(), line: at, ..Failed::default() };
        show(&failed, code, Paint(false))
    }

    #[test]
    fn what_an_error_names_is_marked() {
        assert_eq!(
            shown("attempt to index a nil value (global 'foo')", 1, "x = foo.bar"),
            "error: attempt to index a nil value (global 'foo')\n  1 │ x = foo.bar\n    │     ^^^\n"
        );
        assert_eq!(
            shown("unexpected symbol near ')'", 2, "x = 1\n\ty(größe))"),
            "error: unexpected symbol near ')'\n  2 │  y(größe))\n    │          ^\n"
        );
        assert_eq!(
            shown("'=' expected near <eof>", 1, "x y  "),
            "error: '=' expected near <eof>\n  1 │ x y  \n    │    ^\n"
        );
    }

    #[test]
    fn a_short_statement_is_not_repeated_for_nothing() {
        assert_eq!(shown("no way", 1, "error('no way')"), "error: no way\n");
        assert_eq!(shown("no way", 9, "error('no way')"), "error: no way\n");
        assert_eq!(shown("no way", 0, "a\nb"), "error: no way\n");
        assert_eq!(shown("no way", 2, "a\nb"), "error: no way\n  2 │ b\n");
        let failed = Failed { cancelled: true, ..Failed::default() };
        assert_eq!(show(&failed, "x", Paint(false)), "cancelled\n");
    }

    #[test]
    fn the_calls_that_led_there_are_shown() {
        let traceback =
            (0..40).map(|n| format!("statement:{n}\x1b")).collect::<Vec<_>>().join("\n");
        let failed = Failed { message: "m".into(), traceback, ..Failed::default() };
        let shown = show(&failed, "x", Paint(false));
        assert!(shown.starts_with("error: m\n  statement:0\\u{1b}\n"), "{shown}");
        assert!(shown.ends_with("  … 28 more\n"), "{shown}");
        let traceback =
            "[C]: in f\nmedusa:26: in g\nstatement:1: in h\n(...tail calls...)".to_owned();
        let failed = Failed { traceback, ..failed };
        assert_eq!(show(&failed, "x", Paint(false)), "error: m\n");
    }
}
