//! Enough of the words of Lua to colour a line and to know that a statement goes on.
//!
//! The one design choice: it is a guess that may only err towards "complete". The server compiles
//! what it is sent, and says `incomplete` if something is missing.

use std::borrow::Cow;
use std::ops::Range;

/// What a piece of code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word of the language.
    Keyword,
    /// `nil`, `true` or `false`.
    Literal,
    /// A name.
    Name,
    /// A number.
    Number,
    /// A text, in quotes or long brackets.
    Text,
    /// A comment.
    Comment,
    /// An operator or a bracket; one character each.
    Sign,
}

/// A piece of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands, in bytes.
    pub at: Range<usize>,
    /// Whether its end is missing: a long text or comment that goes on.
    pub open: bool,
}

const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "for", "function", "goto", "if", "in", "local",
    "not", "or", "repeat", "return", "then", "until", "while",
];

/// Takes code apart. Blanks belong to no token.
pub fn tokens(code: &str) -> Vec<Token> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (kind, length, open) = token(&bytes[at..]);
        tokens.push(Token { kind, at: at..at + length, open });
        at += length;
    }
    tokens
}

/// The kind and length of what is in front, and whether its end is missing.
fn token(rest: &[u8]) -> (Kind, usize, bool) {
    let while_ = |is: fn(u8) -> bool| rest.iter().take_while(|&&b| is(b)).count();
    match rest[0] {
        b'-' if rest.starts_with(b"--") => match long(&rest[2..]) {
            Some((length, open)) => (Kind::Comment, length + 2, open),
            None => (Kind::Comment, while_(|b| b != b'\n'), false),
        },
        b'[' => match long(rest) {
            Some((length, open)) => (Kind::Text, length, open),
            None => (Kind::Sign, 1, false),
        },
        quote @ (b'"' | b'\'') => (Kind::Text, quoted(rest, quote), false),
        b'0'..=b'9' => (Kind::Number, while_(|b| b.is_ascii_alphanumeric() || b == b'.'), false),
        b if b.is_ascii_alphabetic() || b == b'_' => {
            let length = while_(|b| b.is_ascii_alphanumeric() || b == b'_');
            let word = str::from_utf8(&rest[..length]).unwrap_or_default();
            let kind = match word {
                "nil" | "true" | "false" => Kind::Literal,
                word if KEYWORDS.contains(&word) => Kind::Keyword,
                _ => Kind::Name,
            };
            (kind, length, false)
        }
        // `...` ends a statement well, so it is no operator.
        b'.' if rest.starts_with(b"...") => (Kind::Name, 3, false),
        b if b.is_ascii() => (Kind::Sign, 1, false),
        // A character of several bytes stays whole.
        _ => (Kind::Sign, while_(|b| !b.is_ascii()), false),
    }
}

/// The length of a text or comment in long brackets (`[==[ … ]==]`), and whether its end is missing.
fn long(rest: &[u8]) -> Option<(usize, bool)> {
    let level = rest.strip_prefix(b"[")?.iter().take_while(|&&b| b == b'=').count();
    if rest.get(level + 1) != Some(&b'[') {
        return None;
    }
    let mut close = vec![b'='; level + 2];
    (close[0], close[level + 1]) = (b']', b']');
    let body = &rest[level + 2..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or((rest.len(), true), |end| (2 * (level + 2) + end, false)))
}

/// The length of a text in quotes; one without an end goes to the end of its line.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(&b) = rest.get(at) {
        match b {
            b'\\' => at += 1,
            b'\n' => return at,
            b if b == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

/// What a statement means: `help channels/4.1`, which is no Lua, asks for help on what it names.
pub fn meant(code: &str) -> Cow<'_, str> {
    let topic = code.trim().strip_prefix("help").filter(|rest| rest.starts_with([' ', '\t']));
    let is_name = |c: char| c.is_alphanumeric() || "_-./:[]".contains(c);
    match topic.map(str::trim).filter(|topic| topic.starts_with(is_name)) {
        Some(topic) if topic.chars().all(is_name) => Cow::Owned(format!("help \"{topic}\"")),
        _ => Cow::Borrowed(code),
    }
}

/// Whether there is nothing to run: no more than blanks and comments that have ended.
pub fn is_blank(code: &str) -> bool {
    tokens(code).iter().all(|token| token.kind == Kind::Comment && !token.open)
}

/// Whether code surely goes on: a block, a bracket or a long text is open, or an operator waits for
/// its right side.
pub fn is_open(code: &str) -> bool {
    let (mut depth, mut last) = (0, None);
    for token in tokens(code) {
        if token.open {
            return true;
        }
        if token.kind == Kind::Comment {
            continue;
        }
        let text = &code[token.at.clone()];
        depth += match (token.kind, text) {
            (Kind::Keyword, "function" | "if" | "do" | "repeat")
            | (Kind::Sign, "(" | "{" | "[") => 1,
            (Kind::Keyword, "end" | "until") | (Kind::Sign, ")" | "}" | "]") => -1,
            _ => 0,
        };
        // Too many ends: an error, which the server explains.
        if depth < 0 {
            return false;
        }
        last = Some((token.kind, text));
    }
    let waits = match last {
        // Not `:`, with which a label ends, nor `>`, with which an attribute does.
        Some((Kind::Sign, sign)) => "=+-*/%^&|~<,.#".contains(sign),
        Some((Kind::Keyword, word)) => matches!(word, "and" | "or" | "not" | "local" | "in"),
        _ => false,
    };
    depth > 0 || waits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn open_code_is_told_from_complete_code() {
        for code in [
            "function f()",
            "for i = 1, 3 do",
            "if x then",
            "repeat",
            "x = {",
            "f(",
            "x =",
            "1 +",
            "a and",
            "local",
            "x = [[a",
            "x = [==[ ]]",
            "--[[ a",
            "f(function() end",
            "t[",
            "if a then b() else",
            "x = 'a' ..",
            "f(--[[)]]",
            "function f() -- end",
        ] {
            assert!(is_open(code), "{code}");
        }
        for code in [
            "",
            "x",
            "= 1",
            "1 + 1",
            "function f() end",
            "for i = 1, 3 do print(i) end",
            "while true do end",
            "repeat x() until y",
            "x = {}",
            "'(' .. \"do\"",
            "-- do",
            "x = [[\n]]",
            "--[==[ do ]==] f()",
            "end",
            ")",
            "end do",
            "return",
            "'unfinished",
            "t.x.y",
            "if a then b() elseif c then d() end",
            "...",
            "x[y[1]]",
            "'\\'('",
        ] {
            assert!(!is_open(code), "{code}");
        }
    }

    #[test]
    fn help_takes_a_name_without_quotes() {
        for (typed, asked) in [
            ("help channels", "help \"channels\""),
            (" help  channels/4.1 ", "help \"channels/4.1\""),
            ("help", "help"),
            ("help()", "help()"),
            ("help \"channels\"", "help \"channels\""),
            ("help (x)", "help (x)"),
            ("help = 1", "help = 1"),
            ("helper x", "helper x"),
            ("help a b", "help a b"),
        ] {
            assert_eq!(meant(typed), asked, "{typed}");
        }
    }

    #[test]
    fn blank_code_is_not_run() {
        assert!(is_blank(" \n-- a\n--[[ b ]]\n") && is_blank(""));
        assert!(!is_blank("-- a\nb") && !is_blank("--[[ a"));
    }

    #[test]
    fn code_is_taken_apart() {
        let code = "local x = 0x1F -- why\nf('a\\'b', [[c]], nil, größe)";
        let got: Vec<_> = tokens(code).into_iter().map(|t| (t.kind, &code[t.at])).collect();
        let comma = (Kind::Sign, ",");
        let expected = [
            (Kind::Keyword, "local"),
            (Kind::Name, "x"),
            (Kind::Sign, "="),
            (Kind::Number, "0x1F"),
            (Kind::Comment, "-- why"),
            (Kind::Name, "f"),
            (Kind::Sign, "("),
            (Kind::Text, "'a\\'b'"),
            comma,
            (Kind::Text, "[[c]]"),
            comma,
            (Kind::Literal, "nil"),
            comma,
            (Kind::Name, "gr"),
            (Kind::Sign, "öß"),
            (Kind::Name, "e"),
            (Kind::Sign, ")"),
        ];
        assert_eq!(got, expected);
    }

    proptest! {
        #[test]
        fn tokens_of_anything_are_in_order_and_on_borders(
            code in prop_oneof![any::<String>(), "[-\\[\\]='\"a \\\\\n(.]{0,40}"],
        ) {
            let mut end = 0;
            for token in tokens(&code) {
                prop_assert!(token.at.start >= end && token.at.end > token.at.start);
                prop_assert!(code[end..token.at.start].trim_ascii().is_empty());
                prop_assert!(code.get(token.at.clone()).is_some());
                end = token.at.end;
            }
            prop_assert!(code[end..].trim_ascii().is_empty());
            let _ = is_open(&code);
        }
    }
}
