//! Rules that give files a Cache-Control by their path.
//!
//! The one design choice: they are asked when a file is made ready, and the answer is kept with
//! it, so that a file in memory is served without looking at a rule.

use crate::wire::reply::write_field;

/// Gives the files at some paths a Cache-Control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    paths: Paths,
    value: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Paths {
    All,
    /// Those whose last component ends so.
    Ending(Box<[u8]>),
    /// Those beneath a directory; it ends in a slash.
    Beneath(Box<[u8]>),
    Exactly(Box<[u8]>),
}

impl CacheRule {
    /// Makes a rule: files at paths that fit `pattern` get `value`. A pattern is `*` for all,
    /// `*.css` for an ending, `/dir/` for what is beneath a directory, or `/exact`. Paths are those
    /// of the tree, with `/index.html` for a directory.
    ///
    /// # Errors
    ///
    /// A sentence about a pattern or a value that cannot be one.
    pub fn new(pattern: &str, value: &str) -> Result<Self, String> {
        let paths = match pattern {
            "*" | "/" => Paths::All,
            _ if pattern.starts_with('/') && pattern.ends_with('/') => {
                Paths::Beneath(pattern.as_bytes().into())
            }
            _ if pattern.starts_with('/') && !pattern.contains('*') => {
                Paths::Exactly(pattern.as_bytes().into())
            }
            _ => match pattern.strip_prefix('*') {
                Some(end) if !end.contains(['*', '/']) => Paths::Ending(end.as_bytes().into()),
                _ => {
                    return Err(format!(
                        "`{pattern}` is no pattern: say `*`, `*.css`, `/dir/` or `/exact`"
                    ));
                }
            },
        };
        if value.is_empty() || !write_field(&mut Vec::new(), "Cache-Control", value) {
            return Err(format!(
                "`{}` cannot be a Cache-Control: say `max-age=3600`, for example",
                value.escape_debug()
            ));
        }
        Ok(Self { paths, value: value.into() })
    }

    fn fits(&self, path: &[u8]) -> bool {
        match &self.paths {
            Paths::All => true,
            Paths::Ending(end) => path.ends_with(end),
            Paths::Beneath(directory) => path.starts_with(directory),
            Paths::Exactly(exact) => path == &**exact,
        }
    }
}

/// What the first rule that fits says.
pub(super) fn cache_control<'r>(rules: &'r [CacheRule], path: &[u8]) -> Option<&'r str> {
    rules.iter().find(|rule| rule.fits(path)).map(|rule| &*rule.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = [("/exact.css", "a"), ("*.css", "b"), ("/static/", "c"), ("*min.js", "d")]
            .map(|(pattern, value)| CacheRule::new(pattern, value).unwrap());
        for (path, expected) in [
            ("/exact.css", Some("a")),
            ("/d/exact.css", Some("b")),
            ("/static/x.css", Some("b")),
            ("/static/x.png", Some("c")),
            ("/static/d/x", Some("c")),
            ("/static", None),
            ("/statics/x", None),
            ("/x.min.js", Some("d")),
            ("/x.js", None),
        ] {
            assert_eq!(cache_control(&rules, path.as_bytes()), expected, "{path}");
        }
        let all = [CacheRule::new("*", "x").unwrap()];
        assert_eq!(cache_control(&all, b"/anything"), Some("x"));
    }

    #[test]
    fn what_cannot_be_a_rule_is_refused() {
        for (pattern, value) in [
            ("", "max-age=1"),
            ("css", "max-age=1"),
            ("*.css*", "max-age=1"),
            ("/a/*.css", "max-age=1"),
            ("*/a", "max-age=1"),
            ("*", ""),
            ("*", "a\r\nX: b"),
        ] {
            assert!(CacheRule::new(pattern, value).is_err(), "{pattern:?} {value:?}");
        }
    }
}
