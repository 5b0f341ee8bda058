//! Rewriting: a request goes on as one for another path, and the client does not notice.

use std::fmt;

use super::{is_plain, keep_query, one_slash};
use crate::edit::HeadEdit;
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::pattern::{Pattern, PatternError, Template};

/// Gives requests another target for the extensions that follow.
pub struct Rewrite {
    from: Pattern,
    to: Template,
}

/// Why a rewrite cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteError {
    /// The target is no template for this pattern.
    Template(PatternError),
    /// The target is no path, or has a fragment.
    Target,
    /// The target has characters that must be percent-encoded.
    NotEncoded,
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(error) => error.fmt(f),
            Self::Target => {
                f.write_str("the target is a path that begins with one slash, without a `#`")
            }
            Self::NotEncoded => f.write_str(
                "the target has spaces, backslashes or other characters that must be \
                 percent-encoded",
            ),
        }
    }
}

impl std::error::Error for RewriteError {}

impl Rewrite {
    /// Sends requests whose path matches `from` on as requests for `to`: a path with captures
    /// (`$1`), and perhaps a query. The client's query is kept unless the target has one.
    ///
    /// The extensions behind this one see the new path; those before it are not asked again.
    pub fn new(from: Pattern, to: &str) -> Result<Self, RewriteError> {
        let template = Template::parse(to, &from).map_err(RewriteError::Template)?;
        let lead = template.lead();
        let is_path = lead.starts_with('/') || to.starts_with("$0");
        if !is_path || lead.starts_with("//") || template.literals().any(|text| text.contains('#'))
        {
            return Err(RewriteError::Target);
        }
        if !template.literals().all(is_plain) || !is_decodable(&template) {
            return Err(RewriteError::NotEncoded);
        }
        Ok(Self { from, to: template })
    }
}

/// Whether every `%` in the template begins an escape, as the parser of the new head demands.
fn is_decodable(template: &Template) -> bool {
    // A capture cannot be a part of an escape, nor can an `x`.
    let text = template.literals().collect::<Vec<_>>().join("x");
    let path = text.split('?').next().unwrap_or(&text);
    crate::wire::target::decode(path.as_bytes(), &mut Vec::new()).is_ok()
}

impl Extension for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        self.from.matches(request.head)
    }

    fn handle(&self, request: &Request<'_>, _: &mut Exchange<'_>) -> Handled {
        let Some(captures) = self.from.captures(request.head) else { return Handled::Pass };
        let mut target = one_slash(&self.to.fill(&captures)).to_owned();
        keep_query(&mut target, request.head.target.query());
        let mut edit = HeadEdit::of(request.head);
        edit.set_target(target);
        Handled::PassAs(edit.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_paths() {
        let made = |to: &str| Rewrite::new(Pattern::parse("/old/*").unwrap(), to).map(|_| ());
        for to in ["/new/$1", "/", "$0.html", "/a?b=$1&c=%", "/a%20b"] {
            assert_eq!(made(to), Ok(()), "{to}");
        }
        for (to, error) in [
            ("", RewriteError::Target),
            ("$1", RewriteError::Target),
            ("//a", RewriteError::Target),
            ("http://a/", RewriteError::Target),
            ("/a#b", RewriteError::Target),
            ("/a b", RewriteError::NotEncoded),
            ("/a%zz", RewriteError::NotEncoded),
            ("/$2", RewriteError::Template(PatternError::NoSuchCapture(2))),
        ] {
            assert_eq!(made(to), Err(error.clone()), "{to}");
            assert!(!error.to_string().is_empty());
        }
    }
}
