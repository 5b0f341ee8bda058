//! Patterns of names, as shells have them: `*`, `?` and sets in brackets.
//!
//! The one design choice: a pattern stands for names in one directory, and is held against each as
//! the directory is read. So there is no list of what it stands for, and nothing to bound but the
//! work for one name, which is at most the product of both lengths.

/// Whether a text has anything in it that makes it a pattern.
pub fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Whether a name fits a pattern. A leading dot is only matched by a dot.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last asterisk does not fit: only the last one matters.
    let mut retry = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, n));
        } else if let Some(width) = fits(&pattern[p..], name[n]) {
            p += width;
            n += 1;
        } else if let Some((after, from)) = retry {
            p = after;
            n = from + 1;
            retry = Some((after, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// How much of the pattern stands for this byte, if it does.
fn fits(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match set(pattern, byte) {
            Some((width, has)) => has.then_some(width),
            // A bracket that is never closed stands for itself.
            None => (byte == b'[').then_some(1),
        },
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        literal => (literal == byte).then_some(1),
    }
}

/// The length of the set that `pattern` begins with, and whether this byte is in it.
fn set(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let (begin, mut has) = (at, false);
    loop {
        let low = *pattern.get(at)?;
        // A closing bracket that comes first is in the set.
        if low == b']' && at > begin {
            return Some((at + 1, has != negated));
        }
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                has |= (low..=high).contains(&byte);
                at += 3;
            }
            _ => {
                has |= low == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        for (pattern, name, fits) in [
            ("*", "a", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("?", "a", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "", true),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_is_made_to_take_long_does_not() {
        let (pattern, name) = ("*a".repeat(120) + "b", "a".repeat(255));
        assert!(!matches(pattern.as_bytes(), name.as_bytes()));
    }

    /// The plain definition, which may take for ever.
    fn slowly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|n| slowly(rest, &name[n..])),
            [b'?', rest @ ..] => !name.is_empty() && slowly(rest, &name[1..]),
            [byte, rest @ ..] => name.first() == Some(byte) && slowly(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn as_the_plain_definition_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(pattern, name), slowly(pattern, name));
        }

        #[test]
        fn any_pattern_has_an_answer(
            pattern in prop::collection::vec(any::<u8>(), 0..32),
            name in prop::collection::vec(any::<u8>(), 0..32),
        ) {
            let _ = matches(&pattern, &name);
        }
    }
}
