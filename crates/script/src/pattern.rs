//! Lua's patterns (manual, section 6.4.1), matched within a number of steps.
//!
//! The one design choice: the engine's own matcher is a function of C that nothing can interrupt,
//! and some patterns take longer than the age of the universe. This one counts its steps, and says
//! what it says alike in all other cases, which tests compare.

use crate::limits::{PATTERN_BYTES, PATTERN_CAPTURES, PATTERN_DEPTH, PATTERN_STEPS, TEXT_BYTES};

/// Escapes in patterns.
const ESCAPE: u8 = b'%';

/// Where a pattern matched: from the first index up to before the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) captures: Vec<Capture>,
}

/// What a pair of parentheses took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    /// The bytes from the first index up to before the second.
    Range(usize, usize),
    /// An empty pair: the index at which it stands.
    Position(usize),
    /// There is no closing parenthesis; an error for whoever uses it.
    Unfinished,
}

/// What is wrong with a capture that is used without having an end.
pub(crate) const UNFINISHED: &str = "unfinished capture";

/// What is wrong with a pattern; the text is for whoever wrote it.
pub(crate) type Malformed = String;

#[derive(Clone, Copy)]
enum Open {
    Unclosed(usize),
    Closed(Capture),
}

struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Open>,
    steps: u32,
    depth: u32,
}

/// Finds the first match that begins at `from` or, unless `only_here`, behind it, and does not end
/// at `last`, where the one before ended. `steps` are taken from.
pub(crate) fn find(
    text: &[u8],
    pattern: &[u8],
    from: usize,
    only_here: bool,
    last: Option<usize>,
    steps: &mut u32,
) -> Result<Option<Match>, Malformed> {
    if pattern.len() > PATTERN_BYTES {
        return Err(format!("the pattern is longer than {PATTERN_BYTES} bytes"));
    }
    let until = if only_here { from } else { text.len() };
    for start in from..=until.min(text.len()) {
        if let Some(found) = at(text, pattern, start, steps)?
            && last != Some(found.end)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Takes the anchor off a pattern, and says whether there was one.
pub(crate) fn anchor(pattern: &[u8]) -> (&[u8], bool) {
    pattern.strip_prefix(b"^").map_or((pattern, false), |rest| (rest, true))
}

/// Replaces the first `most` matches by a text in which `%1` stands for a capture and `%0` for the
/// whole; gives the result and how many there were.
pub(crate) fn replace(
    text: &[u8],
    pattern: &[u8],
    with: &[u8],
    most: usize,
    steps: &mut u32,
) -> Result<(Vec<u8>, usize), Malformed> {
    let (pattern, anchored) = anchor(pattern);
    let (mut result, mut count, mut from, mut last) = (Vec::new(), 0, 0, None);
    while count < most
        && let Some(found) = find(text, pattern, from, anchored, last, steps)?
    {
        result.extend_from_slice(&text[from..found.start]);
        expand(text, &found, with, &mut result)?;
        if result.len() > TEXT_BYTES {
            return Err(format!("the result is longer than {TEXT_BYTES} bytes"));
        }
        count += 1;
        from = found.end;
        last = Some(from);
        if anchored {
            break;
        }
    }
    result.extend_from_slice(&text[from..]);
    Ok((result, count))
}

/// Appends the replacement for one match.
fn expand(text: &[u8], found: &Match, with: &[u8], into: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = with;
    while let Some(at) = memchr::memchr(ESCAPE, rest) {
        into.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(b'%') => into.push(b'%'),
            Some(digit @ b'0'..=b'9') => {
                let which = usize::from(digit - b'0');
                match which.checked_sub(1).and_then(|n| found.captures.get(n)) {
                    Some(Capture::Range(from, until)) => {
                        into.extend_from_slice(&text[*from..*until]);
                    }
                    Some(Capture::Position(at)) => {
                        into.extend_from_slice((at + 1).to_string().as_bytes());
                    }
                    Some(Capture::Unfinished) => return Err(UNFINISHED.to_owned()),
                    None if which == 0 || (which == 1 && found.captures.is_empty()) => {
                        into.extend_from_slice(&text[found.start..found.end]);
                    }
                    None => {
                        return Err(format!(
                            "invalid capture index %{which} in replacement string"
                        ));
                    }
                }
            }
            _ => return Err("invalid use of '%' in replacement string".to_owned()),
        }
        rest = &rest[at + 2..];
        if into.len() > TEXT_BYTES {
            return Err(format!("the result is longer than {TEXT_BYTES} bytes"));
        }
    }
    into.extend_from_slice(rest);
    Ok(())
}

/// Matches at this index only.
fn at(
    text: &[u8],
    pattern: &[u8],
    start: usize,
    steps: &mut u32,
) -> Result<Option<Match>, Malformed> {
    let mut m =
        Matcher { text, pattern, captures: Vec::new(), steps: *steps, depth: PATTERN_DEPTH };
    let end = m.run(start, 0);
    *steps = m.steps;
    let Some(end) = end? else { return Ok(None) };
    let captures = m.captures.iter().map(|open| match open {
        Open::Closed(capture) => *capture,
        Open::Unclosed(_) => Capture::Unfinished,
    });
    Ok(Some(Match { start, end, captures: captures.collect() }))
}

impl Matcher<'_> {
    fn step(&mut self) -> Result<(), Malformed> {
        match self.steps.checked_sub(1) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(format!("the pattern takes more than {PATTERN_STEPS} steps to match")),
        }
    }

    fn peek(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied()
    }

    /// Matches the pattern from `p` at `s`, and gives the end of what matched.
    fn run(&mut self, s: usize, p: usize) -> Result<Option<usize>, Malformed> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err("pattern too complex".to_owned());
        };
        self.depth = depth;
        let result = self.run_here(s, p);
        self.depth += 1;
        result
    }

    fn run_here(&mut self, mut s: usize, mut p: usize) -> Result<Option<usize>, Malformed> {
        loop {
            self.step()?;
            match self.peek(p) {
                None => return Ok(Some(s)),
                Some(b'(') => {
                    let is_position = self.peek(p + 1) == Some(b')');
                    let (open, rest) = if is_position {
                        (Open::Closed(Capture::Position(s)), p + 2)
                    } else {
                        (Open::Unclosed(s), p + 1)
                    };
                    if self.captures.len() >= PATTERN_CAPTURES {
                        return Err("too many captures".to_owned());
                    }
                    self.captures.push(open);
                    let result = self.run(s, rest)?;
                    if result.is_none() {
                        self.captures.pop();
                    }
                    return Ok(result);
                }
                Some(b')') => {
                    let unclosed = |open: &Open| matches!(open, Open::Unclosed(_));
                    let Some(which) = self.captures.iter().rposition(unclosed) else {
                        return Err("invalid pattern capture".to_owned());
                    };
                    let was = self.captures[which];
                    if let Open::Unclosed(from) = was {
                        self.captures[which] = Open::Closed(Capture::Range(from, s));
                    }
                    let result = self.run(s, p + 1)?;
                    if result.is_none() {
                        self.captures[which] = was;
                    }
                    return Ok(result);
                }
                Some(b'$') if p + 1 == self.pattern.len() => {
                    return Ok((s == self.text.len()).then_some(s));
                }
                Some(ESCAPE) if self.peek(p + 1) == Some(b'b') => {
                    let Some(end) = self.balance(s, p + 2)? else { return Ok(None) };
                    (s, p) = (end, p + 4);
                    continue;
                }
                Some(ESCAPE) if self.peek(p + 1) == Some(b'f') => {
                    p += 2;
                    if self.peek(p) != Some(b'[') {
                        return Err("missing '[' after '%f' in pattern".to_owned());
                    }
                    let end = self.class_end(p)?;
                    let before = if s == 0 { 0 } else { self.text[s - 1] };
                    let after = self.text.get(s).copied().unwrap_or(0);
                    if self.in_set(before, p, end - 1) || !self.in_set(after, p, end - 1) {
                        return Ok(None);
                    }
                    p = end;
                    continue;
                }
                Some(ESCAPE) if self.peek(p + 1).is_some_and(|c| c.is_ascii_digit()) => {
                    let digit = self.peek(p + 1).unwrap_or(b'0');
                    let Some(end) = self.again(s, digit)? else { return Ok(None) };
                    (s, p) = (end, p + 2);
                    continue;
                }
                Some(_) => {}
            }
            let end = self.class_end(p)?;
            let here = self.matches_one(s, p, end);
            match self.peek(end) {
                Some(b'?') => {
                    if here && let Some(found) = self.run(s + 1, end + 1)? {
                        return Ok(Some(found));
                    }
                    p = end + 1;
                }
                Some(b'+') => {
                    return if here { self.most(s + 1, p, end) } else { Ok(None) };
                }
                Some(b'*') => return self.most(s, p, end),
                Some(b'-') => return self.least(s, p, end),
                _ => {
                    if !here {
                        return Ok(None);
                    }
                    (s, p) = (s + 1, end);
                }
            }
        }
    }

    /// As many as possible of the class at `p`, then the rest.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Result<Option<usize>, Malformed> {
        let mut n = 0;
        while self.matches_one(s + n, p, end) {
            self.step()?;
            n += 1;
        }
        loop {
            self.step()?;
            if let Some(found) = self.run(s + n, end + 1)? {
                return Ok(Some(found));
            }
            if n == 0 {
                return Ok(None);
            }
            n -= 1;
        }
    }

    /// As few as possible of the class at `p`, then the rest.
    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Result<Option<usize>, Malformed> {
        loop {
            self.step()?;
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.matches_one(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    /// `%bxy`: from an `x` to the `y` that balances it.
    fn balance(&mut self, s: usize, p: usize) -> Result<Option<usize>, Malformed> {
        let (Some(open), Some(close)) = (self.peek(p), self.peek(p + 1)) else {
            return Err("malformed pattern (missing arguments to '%b')".to_owned());
        };
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for at in s + 1..self.text.len() {
            self.step()?;
            let c = self.text[at];
            if c == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at + 1));
                }
            } else if c == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%1`: what the capture took, once more.
    fn again(&mut self, s: usize, digit: u8) -> Result<Option<usize>, Malformed> {
        let capture = usize::from(digit).checked_sub(usize::from(b'1'));
        let capture = capture.and_then(|which| self.captures.get(which));
        let (from, until) = match capture {
            Some(Open::Closed(Capture::Range(from, until))) => (*from, *until),
            // As Lua has it, an empty pair has no length that could be matched.
            Some(Open::Closed(_)) => return Ok(None),
            _ => {
                let which = i32::from(digit) - i32::from(b'0');
                return Err(format!("invalid capture index %{which}"));
            }
        };
        // Comparing costs by the length.
        let cost = u32::try_from((until - from) / 16).unwrap_or(u32::MAX);
        self.steps = self.steps.saturating_sub(cost);
        Ok(self.text[s..].starts_with(&self.text[from..until]).then(|| s + until - from))
    }

    /// Where the class that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Malformed> {
        let mut p = p + 1;
        match self.pattern[p - 1] {
            ESCAPE => {
                if p >= self.pattern.len() {
                    return Err("malformed pattern (ends with '%')".to_owned());
                }
                Ok(p + 1)
            }
            b'[' => {
                if self.peek(p) == Some(b'^') {
                    p += 1;
                }
                // The first byte belongs to the set, even if it is a bracket.
                loop {
                    let Some(c) = self.peek(p) else {
                        return Err("malformed pattern (missing ']')".to_owned());
                    };
                    p += 1;
                    if c == ESCAPE {
                        p += 1;
                    }
                    if self.peek(p) == Some(b']') {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p),
        }
    }

    fn matches_one(&mut self, s: usize, p: usize, end: usize) -> bool {
        // A long set costs by its length.
        self.steps = self.steps.saturating_sub(((end - p) / 8) as u32);
        let Some(&c) = self.text.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            ESCAPE => in_class(c, self.pattern[p + 1]),
            b'[' => self.in_set(c, p, end - 1),
            literal => literal == c,
        }
    }

    /// Whether a byte is in the set from `p` to its closing bracket at `last`.
    fn in_set(&self, c: u8, p: usize, last: usize) -> bool {
        let set = &self.pattern[p + 1..last];
        let (mut set, found) = match set.split_first() {
            Some((b'^', rest)) => (rest, false),
            _ => (set, true),
        };
        loop {
            match set {
                [] => return !found,
                [ESCAPE, class, rest @ ..] => {
                    if in_class(c, *class) {
                        return found;
                    }
                    set = rest;
                }
                [low, b'-', high, rest @ ..] => {
                    if (*low..=*high).contains(&c) {
                        return found;
                    }
                    set = rest;
                }
                [one, rest @ ..] => {
                    if *one == c {
                        return found;
                    }
                    set = rest;
                }
            }
        }
    }
}

/// Whether a byte is in a class such as `%a`; a capital letter is the complement.
fn in_class(c: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => c.is_ascii_alphabetic(),
        b'c' => c.is_ascii_control(),
        b'd' => c.is_ascii_digit(),
        b'g' => c.is_ascii_graphic(),
        b'l' => c.is_ascii_lowercase(),
        b'p' => c.is_ascii_punctuation(),
        b's' => c.is_ascii_whitespace() || c == 0x0b,
        b'u' => c.is_ascii_uppercase(),
        b'w' => c.is_ascii_alphanumeric(),
        b'x' => c.is_ascii_hexdigit(),
        _ => return class == c,
    };
    is_in != class.is_ascii_uppercase()
}
