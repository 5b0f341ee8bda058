//! Text for a terminal: nothing that a server, or a peer of the server, says may steer it.
//!
//! The one design choice: what would not be seen as itself (controls, and the marks that turn the
//! direction of writing) is shown by its escape, so that what is seen is what is there.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Stands where text was cut off.
const CUT: char = '…';

/// One line: line feeds and tabs are escaped too.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Any number of lines: line feeds and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let steers = |c: char| is_steering(c) && !stays(c);
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !steers(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), what separates lines and paragraphs, and what is invisible and changes
/// how its neighbours are shown.
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The cells that a text of one line takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// What of a text of one line fits into so many cells; what does not is replaced by `…`.
pub fn fit(text: &str, cells: usize) -> Cow<'_, str> {
    if width(text) <= cells {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        // One cell is the mark's.
        if taken + wide + 1 > cells {
            break;
        }
        taken += wide;
        out.push(c);
    }
    if cells > 0 {
        out.push(CUT);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        let title = "\x1b]0;owned\x07";
        assert_eq!(line(title), "\\u{1b}]0;owned\\u{7}");
        assert_eq!(line("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(lines("a\r\nb\tc"), "a\\r\nb\tc");
        assert_eq!(line("\u{9b}2J \u{202e}gpj.exe"), "\\u{9b}2J \\u{202e}gpj.exe");
        assert!(matches!(line("größer 猫"), Cow::Borrowed("größer 猫")));
    }

    #[test]
    fn what_does_not_fit_is_cut_where_it_is_seen() {
        assert_eq!(fit("12345", 5), "12345");
        assert_eq!(fit("123456", 5), "1234…");
        assert_eq!(fit("猫猫猫", 5), "猫猫…");
        assert_eq!(fit("猫猫猫", 4), "猫…");
        assert_eq!(fit("ab", 1), "…");
        assert_eq!(fit("ab", 0), "");
    }

    proptest! {
        #[test]
        fn any_text_is_harmless_and_fits(text in any::<String>(), cells in 0..40_usize) {
            let shown = line(&text);
            prop_assert!(!shown.chars().any(is_steering));
            prop_assert!(width(&fit(&shown, cells)) <= cells);
            prop_assert!(!lines(&text).chars().any(|c| is_steering(c) && !"\n\t".contains(c)));
        }
    }
}
