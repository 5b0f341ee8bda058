//! Path patterns, and the templates that what they capture is put into.
//!
//! | pattern | matches |
//! |---|---|
//! | `/` | everything |
//! | `/dir/` | that directory and all below it; `/dir` too |
//! | `/exact` | that path |
//! | `/img-*.png` | `*` is any run of bytes within one name |
//! | `/old/*` | a `*` at the end is any run at all: the directory and all below it |
//! | `/a/**/b`, `/a**b` | so is `**` elsewhere; `/**/` is also no directory at all |
//! | `*.php` | without a slash: the last name of a path |
//!
//! Each `*` or `**` captures what it matches: `$1` to `$9`. `$0` is the whole path and `$$` a
//! dollar sign. Bytes count as they are; there is no way to write an asterisk that is one.
//!
//! The one design choice: patterns are matched against the path as the file trees see it, decoded
//! and without dot segments and empty names, so that no way of writing a path slips by. A path
//! that leads above the root or is too long is none to the trees either, and matches `/` only.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use medusa_fs::{MAX_NAME_BYTES, VirtualPath};

use crate::wire::head::Head;

/// Bytes of a pattern, and of a template.
pub const MAX_PATTERN: usize = 1024;

/// Asterisks in a pattern, single or double.
pub const MAX_CAPTURES: usize = 9;

/// A pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
    /// What may follow the parts.
    tail: Tail,
    /// Only the last name counts.
    name_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    /// Any run of bytes without a slash.
    Within,
    /// Any run of bytes.
    Across,
    /// No names, or names and the slash behind them.
    Directories,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Nothing,
    /// Nothing, or a slash and anything.
    Below,
    /// The same; what is behind the slash is captured.
    Captured,
}

/// Why a text is no pattern or no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It has no bytes.
    Empty,
    /// It is longer than [`MAX_PATTERN`].
    TooLong,
    /// It has more than [`MAX_CAPTURES`] asterisks.
    TooManyCaptures,
    /// A slash stands within it, but none before it.
    NotAbsolute,
    /// It has empty names, `.`, `..` or NUL, which no path has that it is matched against.
    NeverMatches,
    /// A `$` is followed by neither a digit nor another one.
    BareDollar,
    /// The template uses a capture that the pattern does not have.
    NoSuchCapture(usize),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the pattern is empty; `/` matches everything"),
            Self::TooLong => write!(f, "it is longer than {MAX_PATTERN} bytes"),
            Self::TooManyCaptures => write!(f, "it has more than {MAX_CAPTURES} asterisks"),
            Self::NotAbsolute => f.write_str(
                "a pattern of more than a name begins with a slash; without one it matches the \
                 last name of a path, as `*.php` does",
            ),
            Self::NeverMatches => f.write_str(
                "no path can match this: paths are matched without empty names, `.` and `..`",
            ),
            Self::BareDollar => f.write_str("write `$$` for a dollar sign"),
            Self::NoSuchCapture(n) => {
                write!(f, "there is no `${n}`: the pattern has fewer asterisks")
            }
        }
    }
}

impl std::error::Error for PatternError {}

/// A path as patterns see it.
struct Subject<'a> {
    /// Normalised.
    path: Cow<'a, [u8]>,
    /// It was written as a directory.
    slash: bool,
}

impl<'a> Subject<'a> {
    fn of(head: &Head<'a>) -> Option<Self> {
        let path = head.target.path();
        let raw = path.raw();
        // The usual path needs no work: nothing to decode, nothing to resolve, no long name.
        let usual = raw.len() <= MAX_NAME_BYTES && raw.first() == Some(&b'/');
        let odd = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
        if usual && !raw.contains(&b'%') && !raw.windows(2).any(odd) {
            let slash = raw.ends_with(b"/");
            let path = if slash && raw.len() > 1 { &raw[..raw.len() - 1] } else { raw };
            return Some(Self { path: path.into(), slash });
        }
        let parsed = VirtualPath::parse(&path.decoded()).ok()?;
        let path = parsed.path.as_bytes().to_vec().into();
        Some(Self { path, slash: parsed.trailing_slash })
    }
}

/// What a pattern captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures {
    /// The whole path, with its final slash.
    whole: Vec<u8>,
    runs: Vec<Range<usize>>,
}

impl Captures {
    /// What stands for `$n`; `$0` is the whole path.
    pub fn run(&self, n: usize) -> Option<&[u8]> {
        match n.checked_sub(1) {
            None => Some(&self.whole),
            Some(n) => self.runs.get(n).map(|run| &self.whole[run.clone()]),
        }
    }
}

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong);
        }
        let name_only = !text.starts_with('/');
        if name_only && text.contains('/') {
            return Err(PatternError::NotAbsolute);
        }
        let mut names = text.trim_end_matches('/').split('/').skip(usize::from(!name_only));
        let odd = |name: &str| matches!(name, "" | "." | "..") || name.contains('\0');
        if text.ends_with("//") || (text != "/" && names.any(odd)) {
            return Err(PatternError::NeverMatches);
        }
        let (rest, tail) = if name_only {
            (text, Tail::Nothing)
        } else if let Some(rest) = text.strip_suffix("/**").or_else(|| text.strip_suffix("/*")) {
            (rest, Tail::Captured)
        } else if let Some(rest) = text.strip_suffix('/') {
            (rest, Tail::Below)
        } else {
            (text, Tail::Nothing)
        };
        let mut parts = Vec::new();
        let mut at = 0;
        while at < rest.len() {
            let left = &rest[at..];
            let before_directories = at > 0 && rest.as_bytes()[at - 1] == b'/';
            let len = if before_directories && left.starts_with("**/") {
                parts.push(Part::Directories);
                3
            } else if left.starts_with('*') {
                let len = left.len() - left.trim_start_matches('*').len();
                let last = at + len == rest.len() && tail == Tail::Nothing;
                parts.push(if len > 1 || last { Part::Across } else { Part::Within });
                len
            } else {
                let len = left.find('*').unwrap_or(left.len());
                parts.push(Part::Literal(left.as_bytes()[..len].into()));
                len
            };
            at += len;
        }
        let pattern = Self { text: text.to_owned(), parts, tail, name_only };
        if pattern.captures_made() > MAX_CAPTURES {
            return Err(PatternError::TooManyCaptures);
        }
        Ok(pattern)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many captures it makes.
    pub fn captures_made(&self) -> usize {
        let literal = |part: &&Part| matches!(part, Part::Literal(_));
        self.parts.iter().filter(|part| !literal(part)).count()
            + usize::from(self.tail == Tail::Captured)
    }

    /// Whether a request's path matches.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        if self.text == "/" {
            return true;
        }
        let Some(subject) = Subject::of(head) else { return false };
        let text = self.seen(&subject.path);
        match &self.parts[..] {
            // Most patterns, without a table.
            [] => true,
            [Part::Literal(literal)] => {
                text.strip_prefix(&**literal).is_some_and(|rest| self.may_follow(rest))
            }
            _ => Reach::new(self, text).is_some(),
        }
    }

    /// What a request's path gives for `$0` to `$9`, if it matches. A path that is none (`*`, or
    /// one that leads above the root) gives nothing.
    pub fn captures(&self, head: &Head<'_>) -> Option<Captures> {
        let subject = Subject::of(head)?;
        let text = self.seen(&subject.path);
        let reach = Reach::new(self, text)?;
        let offset = subject.path.len() - text.len();
        let mut runs = reach.runs(self, text);
        for run in &mut runs {
            *run = run.start + offset..run.end + offset;
        }
        let mut whole = subject.path.into_owned();
        if subject.slash && !whole.ends_with(b"/") {
            // A run to the end of a directory has its slash, unless it is the directory itself.
            let end = whole.len();
            whole.push(b'/');
            let open = matches!(self.tail, Tail::Captured)
                || matches!((self.tail, self.parts.last()), (Tail::Nothing, Some(Part::Across)));
            if let Some(last) = runs.last_mut()
                && open
                && !self.name_only
                && last.end == end
                && last.start < last.end
            {
                last.end += 1;
            }
        }
        Some(Captures { whole, runs })
    }

    /// The part of a path that is compared.
    fn seen<'a>(&self, path: &'a [u8]) -> &'a [u8] {
        if self.name_only { path.rsplit(|&byte| byte == b'/').next().unwrap_or(path) } else { path }
    }

    fn may_follow(&self, rest: &[u8]) -> bool {
        rest.is_empty() || (self.tail != Tail::Nothing && rest[0] == b'/')
    }
}

/// From which places of a text the parts of a pattern from each one on reach its end: a table of
/// (parts + 1) × (bytes + 1), so that the work is bounded by their product whatever they are.
struct Reach {
    width: usize,
    reaches: Vec<bool>,
}

impl Reach {
    /// Makes the table; nothing where the text does not match.
    fn new(pattern: &Pattern, text: &[u8]) -> Option<Self> {
        if let Some(Part::Literal(literal)) = pattern.parts.first()
            && !text.starts_with(literal)
        {
            return None;
        }
        let width = text.len() + 1;
        let mut reaches = vec![false; (pattern.parts.len() + 1) * width];
        for at in 0..width {
            reaches[pattern.parts.len() * width + at] = pattern.may_follow(&text[at..]);
        }
        for (index, part) in pattern.parts.iter().enumerate().rev() {
            let (before, after) = reaches.split_at_mut((index + 1) * width);
            let (row, next) = (&mut before[index * width..], &after[..width]);
            // Whether a run that began further back may go on here.
            let mut runs_on = false;
            for at in (0..width).rev() {
                row[at] = match part {
                    Part::Literal(literal) => {
                        text[at..].starts_with(literal) && next[at + literal.len()]
                    }
                    Part::Within => {
                        runs_on &= at < text.len() && text[at] != b'/';
                        runs_on |= next[at];
                        runs_on
                    }
                    Part::Across => {
                        runs_on |= next[at];
                        runs_on
                    }
                    Part::Directories => {
                        let found = next[at] || runs_on;
                        runs_on |= at > 0 && text[at - 1] == b'/' && next[at];
                        found
                    }
                };
            }
        }
        let reach = Self { width, reaches };
        reach.at(0, 0).then_some(reach)
    }

    fn at(&self, part: usize, place: usize) -> bool {
        self.reaches[part * self.width + place]
    }

    /// What each run takes, the first as much as it can.
    fn runs(&self, pattern: &Pattern, text: &[u8]) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut at = 0;
        for (index, part) in pattern.parts.iter().enumerate() {
            if let Part::Literal(literal) = part {
                at += literal.len();
                continue;
            }
            let room = match part {
                Part::Within => {
                    text[at..].iter().position(|&byte| byte == b'/').map_or(text.len(), |n| at + n)
                }
                _ => text.len(),
            };
            let ends_well = |end: usize| match part {
                Part::Directories => end == at || text[end - 1] == b'/',
                _ => true,
            };
            let end = (at..=room).rev().find(|&end| self.at(index + 1, end) && ends_well(end));
            let end = end.expect("the table says that the rest is reached");
            let slash = usize::from(*part == Part::Directories && end > at);
            runs.push(at..end - slash);
            at = end;
        }
        if pattern.tail == Tail::Captured {
            runs.push((at + 1).min(text.len())..text.len());
        }
        runs
    }
}

/// A text with captures to be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Filled>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Filled {
    Literal(String),
    Capture(usize),
}

impl Template {
    /// Parses a template for what `pattern` captures.
    pub fn parse(text: &str, pattern: &Pattern) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            match rest.as_bytes().get(at + 1) {
                Some(b'$') => literal.push('$'),
                Some(digit @ b'0'..=b'9') => {
                    let n = usize::from(digit - b'0');
                    if n > pattern.captures_made() {
                        return Err(PatternError::NoSuchCapture(n));
                    }
                    if !literal.is_empty() {
                        parts.push(Filled::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Filled::Capture(n));
                }
                _ => return Err(PatternError::BareDollar),
            }
            rest = &rest[at + 2..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Filled::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The text before the first capture.
    pub fn lead(&self) -> &str {
        match self.parts.first() {
            Some(Filled::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// All of the text but the captures.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Filled::Literal(literal) => Some(&**literal),
            Filled::Capture(_) => None,
        })
    }

    /// Whether the whole path is the first thing behind the lead.
    pub fn path_follows_lead(&self) -> bool {
        let first = self.parts.iter().find(|part| matches!(part, Filled::Capture(_)));
        first == Some(&Filled::Capture(0))
    }

    /// The text as the target of a reference: captures are percent-encoded, but for letters,
    /// digits, `-._~` and slashes.
    pub fn fill(&self, captures: &Captures) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Filled::Literal(literal) => out.push_str(literal),
                Filled::Capture(n) => encode(captures.run(*n).unwrap_or_default(), &mut out),
            }
        }
        out
    }
}

/// Percent-encodes what stands for nothing but itself anywhere in a reference, query included.
fn encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::fields::FieldTable;

    fn with<T>(target: &str, then: impl FnOnce(&Head<'_>) -> T) -> T {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut table = FieldTable::new();
        then(&Head::parse(text.as_bytes(), &mut table).expect(target))
    }

    fn matches(pattern: &str, target: &str) -> bool {
        let pattern = Pattern::parse(pattern).expect(pattern);
        let found = with(target, |head| pattern.captures(head).is_some());
        let told = with(target, |head| pattern.matches(head));
        assert!(told == found || pattern.as_str() == "/", "{pattern:?} {target}");
        told
    }

    fn filled(pattern: &str, template: &str, target: &str) -> Option<String> {
        let pattern = Pattern::parse(pattern).expect(pattern);
        let template = Template::parse(template, &pattern).expect(template);
        with(target, |head| Some(template.fill(&pattern.captures(head)?)))
    }

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, yes, no) in [
            ("/", &["/", "/a", "/a/b/", "/..", "/%2e%2e/a"][..], &[][..]),
            ("/dir/", &["/dir", "/dir/", "/dir/a", "/dir/a/b/"], &["/", "/dirx", "/a/dir/"]),
            ("/exact", &["/exact", "/exact/"], &["/exact/a", "/exac", "/exactly", "/"]),
            ("/img-*.png", &["/img-.png", "/img-a.png", "/img-a.png.png"], &["/img-a/b.png"]),
            ("/old/*", &["/old", "/old/", "/old/a", "/old/a/b"], &["/older", "/a/old/b"]),
            ("/old/**", &["/old", "/old/a/b"], &["/older"]),
            ("/old*", &["/old", "/older", "/old/a/b"], &["/ol", "/a/old"]),
            ("/*/b", &["/a/b", "/a/b/"], &["/b", "/a/a/b", "/a/b/c"]),
            ("/*/b/", &["/a/b", "/a/b/c/d"], &["/a/c/b"]),
            ("/**/b", &["/b", "/a/b", "/a/a/b"], &["/ab", "/a/bc", "/b/a"]),
            ("/a/**/b", &["/a/b", "/a/x/b", "/a/x/y/b"], &["/a/xb", "/ab", "/a"]),
            ("/a**b", &["/ab", "/a/b", "/axyb", "/a/x/b"], &["/a", "/ba"]),
            ("/**/**/b", &["/b", "/a/b", "/a/a/b"], &["/a/c"]),
            ("/a/**/*.c", &["/a/x.c", "/a/b/x.c", "/a/.c"], &["/a/b", "/x.c"]),
            ("*.php", &["/x.php", "/a/b/.php", "/a/x.php/"], &["/x.php/y", "/x.phps", "/"]),
            (".ht*", &["/.htaccess", "/a/.ht"], &["/a/x.ht", "/.ht/a"]),
            ("name", &["/name", "/a/name", "/name/"], &["/name/a", "/names"]),
            ("*", &["/", "/a", "/a/b"], &["/.."]),
            ("/a b/\u{e4}", &["/a%20b/%C3%A4"], &["/a%20b/%E4", "/a+b/%C3%A4"]),
        ] {
            for target in yes {
                assert!(matches(pattern, target), "{pattern} {target}");
            }
            for target in no {
                assert!(!matches(pattern, target), "{pattern} {target}");
            }
        }
    }

    #[test]
    fn no_way_of_writing_a_path_slips_by() {
        for target in [
            "/private/x",
            "/%70rivate/x",
            "//private/x",
            "/./private/x",
            "/a/../private/x",
            "/a/%2e%2e/private/x",
            "/a%2f..%2fprivate/x",
            "/private%2fx",
            "/private//x",
            "/private/./x",
            "/private/y/../x",
            "/private/x/",
            "/private/x/.",
            "/%2Fprivate/x",
            "http://h/private/x",
            "/private/x?q",
            "/private/x/%2e",
        ] {
            assert!(matches("/private/", target), "{target}");
            assert!(matches("/private/x", target), "{target}");
            assert!(matches("/private/*", target), "{target}");
            assert!(matches("x", target), "{target}");
        }
        assert!(!matches("/private/", "/private/../x"));
    }

    #[test]
    fn a_path_that_is_none_matches_only_what_matches_everything() {
        let long = format!("/{}", "n".repeat(MAX_NAME_BYTES + 1));
        let odd = format!("/.{}", "n".repeat(MAX_NAME_BYTES));
        for target in ["/..", "/a/../../b", &long, &odd] {
            assert!(matches("/", target) && !matches("/*", target) && !matches("*", target));
        }
        assert!(matches("/*", &long[..=MAX_NAME_BYTES]));
    }

    #[test]
    fn captures_are_put_in() {
        for (pattern, template, target, expected) in [
            ("/old/*", "/new/$1", "/old/a/b", "/new/a/b"),
            ("/old/*", "/new/$1", "/old/a/b/", "/new/a/b/"),
            ("/old/*", "/new/$1", "/old", "/new/"),
            ("/old/*", "/new/$1", "/old/", "/new/"),
            ("/old*", "/new$1", "/old/a/", "/new/a/"),
            ("/old/", "/new$0", "/old/a/", "/new/old/a/"),
            ("/", "/x$0", "/", "/x/"),
            ("/*/*", "/$2/$1", "/a/b/c", "/b/c/a"),
            ("/*-*", "/$1.$2", "/a-b-c", "/a-b.c"),
            ("/a/**/b", "/[$1]", "/a/b", "/[]"),
            ("/a/**/b", "/[$1]", "/a/x/y/b", "/[x/y]"),
            ("/a**b", "/[$1]", "/ab/b", "/[b/]"),
            ("*.php", "/run/$1?of=$0", "/a/b%26c.php", "/run/b%26c?of=/a/b%26c.php"),
            ("*", "/$1", "/a/b/", "/b"),
            ("/a", "/$$1$$", "/a", "/$1$"),
            ("/*", "/$1", "/%20%25%3F%23%5C%0A%C3%A4&+=:", "/%20%25%3F%23%5C%0A%C3%A4%26%2B%3D%3A"),
        ] {
            let filled = filled(pattern, template, target);
            assert_eq!(filled.as_deref(), Some(expected), "{pattern} {template} {target}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, error) in [
            ("", PatternError::Empty),
            (&"a".repeat(MAX_PATTERN + 1), PatternError::TooLong),
            ("/*a*a*a*a*a*a*a*a*a*a", PatternError::TooManyCaptures),
            ("a/b", PatternError::NotAbsolute),
            ("a/", PatternError::NotAbsolute),
            ("//", PatternError::NeverMatches),
            ("/a//b", PatternError::NeverMatches),
            ("/a//", PatternError::NeverMatches),
            ("/a/../b", PatternError::NeverMatches),
            ("/.", PatternError::NeverMatches),
            ("..", PatternError::NeverMatches),
            ("/a\0", PatternError::NeverMatches),
        ] {
            assert_eq!(Pattern::parse(text), Err(error.clone()), "{text}");
            assert!(!error.to_string().is_empty());
        }
        let pattern = Pattern::parse("/*").unwrap();
        for (text, error) in [
            ("/$2", PatternError::NoSuchCapture(2)),
            ("/$", PatternError::BareDollar),
            ("/$x", PatternError::BareDollar),
            (&"a".repeat(MAX_PATTERN + 1), PatternError::TooLong),
        ] {
            assert_eq!(Template::parse(text, &pattern), Err(error.clone()), "{text}");
            assert!(!error.to_string().is_empty());
        }
    }

    /// What takes exponential time in matchers that try one way after another.
    #[test]
    fn the_worst_pattern_is_quick() {
        let pattern = Pattern::parse("/a**a**a**a**a**a**a**a**b").unwrap();
        let path = format!("/{}", "a".repeat(250)) + &"/aaaa".repeat(700);
        assert!(with(&path, |head| pattern.captures(head)).is_none());
    }

    /// The plain meaning of a pattern, by trying everything.
    fn plainly(pattern: &str, text: &str) -> bool {
        if let Some(rest) = pattern.strip_suffix("/*").or(pattern.strip_suffix("/**")) {
            let slashes = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
            return slashes.into_iter().any(|at| tries(rest, &text[..at]));
        }
        if let Some(rest) = pattern.strip_suffix('/') {
            let slashes = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
            return slashes.into_iter().any(|at| tries(rest, &text[..at]));
        }
        match pattern.strip_suffix('*') {
            Some(rest) => {
                let rest = rest.trim_end_matches('*');
                (0..=text.len()).any(|at| tries(rest, &text[..at]))
            }
            None => tries(pattern, text),
        }
    }

    fn tries(pattern: &str, text: &str) -> bool {
        if pattern.starts_with("/**/") {
            let slashes = text.match_indices('/').map(|(at, _)| at);
            return text.starts_with('/')
                && slashes.into_iter().any(|at| tries(&pattern[3..], &text[at..]));
        }
        tries_rest(pattern, text)
    }

    fn tries_rest(pattern: &str, text: &str) -> bool {
        if let Some(rest) = pattern.strip_prefix("**") {
            return (0..=text.len()).any(|at| tries(rest, &text[at..]));
        }
        if let Some(rest) = pattern.strip_prefix('*') {
            let end = text.find('/').unwrap_or(text.len());
            return (0..=end).any(|at| tries(rest, &text[at..]));
        }
        match (pattern.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some(a), Some(b)) if a == b => tries(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_plain_meaning(
            pattern in "(/(a|b|\\*|\\*\\*|a\\*|\\*b|a\\*\\*b){1,2}){1,4}/?",
            text in "(/[ab]{1,3}){1,5}",
        ) {
            prop_assume!(!pattern.contains("***"));
            prop_assume!(Pattern::parse(&pattern).is_ok());
            prop_assert_eq!(matches(&pattern, &text), plainly(&pattern, &text));
        }

        /// With each capture put back in its place the path comes out again.
        #[test]
        fn captures_are_what_was_matched(
            pattern in "(/(a|\\*|b\\*|a\\*\\*b)){1,4}",
            text in "(/[ab]{1,3}){1,5}",
        ) {
            let compiled = Pattern::parse(&pattern).unwrap();
            if let Some(captures) = with(&text, |head| compiled.captures(head)) {
                let mut out = String::new();
                let mut rest = &*pattern;
                let mut n = 0;
                while let Some(at) = rest.find('*') {
                    n += 1;
                    out.push_str(&rest[..at]);
                    out.push_str(std::str::from_utf8(captures.run(n).unwrap()).unwrap());
                    rest = rest[at..].trim_start_matches('*');
                }
                out.push_str(rest);
                prop_assert!(out == text || out == format!("{text}/"), "{} {} {}", pattern, text, out);
            }
        }

        #[test]
        fn nothing_panics(pattern in "[/ab*$.]{0,30}", target in "/[/ab.%2e]{0,30}") {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut table = FieldTable::new();
            if let (Ok(pattern), Ok(head)) =
                (Pattern::parse(&pattern), Head::parse(text.as_bytes(), &mut table))
            {
                let found = pattern.captures(&head);
                prop_assert!(pattern.matches(&head) || found.is_none());
            }
        }
    }
}
