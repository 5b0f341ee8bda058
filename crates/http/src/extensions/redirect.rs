//! Redirects: sends clients from paths that match a pattern to other places.
//!
//! The one design choice: what the operator wrote decides scheme and host, whatever a client
//! writes. A template has both or neither, and a capture cannot stand where it would change them.

use std::fmt;

use super::{is_plain, keep_query, one_slash};
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::pattern::{Pattern, PatternError, Template};
use crate::reply::Reply;

/// Sends clients elsewhere.
pub struct Redirect {
    from: Pattern,
    to: Template,
    status: u16,
}

/// Why a redirect cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectError {
    /// The status is none of 301, 302, 307 and 308.
    Status(u16),
    /// The target is no template for this pattern.
    Template(PatternError),
    /// The target is neither a path nor a URL of `http` or `https`.
    Target,
    /// A capture would say which host is meant.
    OpenHost,
    /// The target has characters that must be percent-encoded.
    NotEncoded,
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                write!(f, "a redirect cannot have the status {status}; use 301, 302, 307 or 308")
            }
            Self::Template(error) => error.fmt(f),
            Self::Target => f.write_str(
                "the target is a path that begins with one slash, or begins with `http://HOST/` \
                 or `https://HOST/`",
            ),
            Self::OpenHost => f.write_str(
                "put a slash between the host and the first capture, or clients could choose the \
                 host",
            ),
            Self::NotEncoded => f.write_str(
                "the target has spaces, backslashes or other characters that must be \
                 percent-encoded",
            ),
        }
    }
}

impl std::error::Error for RedirectError {}

impl Redirect {
    /// Sends requests whose path matches `from` to `to`: a path or a URL, with captures (`$1`).
    ///
    /// 301 and 308 are for good, 302 and 307 for now; 307 and 308 keep method and body (RFC 9110
    /// section 15.4). The client's query is kept unless the target has one, or a fragment.
    pub fn new(from: Pattern, to: &str, status: u16) -> Result<Self, RedirectError> {
        if !matches!(status, 301 | 302 | 307 | 308) {
            return Err(RedirectError::Status(status));
        }
        let template = Template::parse(to, &from).map_err(RedirectError::Template)?;
        if !template.literals().all(is_plain) {
            return Err(RedirectError::NotEncoded);
        }
        let lead = template.lead();
        let url = lead.strip_prefix("http://").or_else(|| lead.strip_prefix("https://"));
        if let Some(rest) = url {
            // The whole path begins with a slash of its own.
            let bare = !rest.contains('/') && !template.path_follows_lead();
            let is_whole = template.literals().next() == Some(to);
            if bare && !is_whole {
                return Err(RedirectError::OpenHost);
            }
            if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
                return Err(RedirectError::Target);
            }
        } else if !(lead.starts_with('/') || to.starts_with("$0")) || lead.starts_with("//") {
            return Err(RedirectError::Target);
        }
        Ok(Self { from, to: template, status })
    }
}

impl Extension for Redirect {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        self.from.matches(request.head)
    }

    fn handle(&self, request: &Request<'_>, _: &mut Exchange<'_>) -> Handled {
        let Some(captures) = self.from.captures(request.head) else { return Handled::Pass };
        let mut location = one_slash(&self.to.fill(&captures)).to_owned();
        keep_query(&mut location, request.head.target.query());
        let reply = Reply::text(self.status, &format!("what you ask for is at {location}"));
        Handled::Now(reply.field("Location", location))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(from: &str, to: &str) -> Result<(), RedirectError> {
        Redirect::new(Pattern::parse(from).unwrap(), to, 301).map(|_| ())
    }

    #[test]
    fn targets_that_would_leave_the_host_to_the_client_are_refused() {
        for to in [
            "/new/$1",
            "/",
            "$0",
            "$0x",
            "/a?b=$1#c",
            "https://example.org",
            "http://example.org/$1",
            "https://example.org$0",
            "https://[::1]:8080/$1",
            "https://example.org?x",
            "/@$1",
        ] {
            assert_eq!(made("/old/*", to), Ok(()), "{to}");
        }
        for (to, error) in [
            ("", RedirectError::Target),
            ("$1", RedirectError::Target),
            ("new", RedirectError::Target),
            ("//example.org/$1", RedirectError::Target),
            ("//$1", RedirectError::Target),
            ("ftp://example.org/", RedirectError::Target),
            ("javascript:alert(1)", RedirectError::Target),
            ("https://", RedirectError::Target),
            ("https:///$1", RedirectError::Target),
            ("https://?$1", RedirectError::OpenHost),
            ("https://$1", RedirectError::OpenHost),
            ("https://$1.example.org/", RedirectError::OpenHost),
            ("https://example.org$1", RedirectError::OpenHost),
            ("https://example.org:$1/", RedirectError::OpenHost),
            ("/\\example.org/$1", RedirectError::NotEncoded),
            ("/a b", RedirectError::NotEncoded),
            ("/a\r\nSet-Cookie: x", RedirectError::NotEncoded),
            ("/\u{e4}", RedirectError::NotEncoded),
            ("/$2", RedirectError::Template(PatternError::NoSuchCapture(2))),
        ] {
            assert_eq!(made("/old/*", to), Err(error.clone()), "{to}");
            assert!(!error.to_string().is_empty());
        }
        let status = Redirect::new(Pattern::parse("/").unwrap(), "/", 303).err();
        assert_eq!(status, Some(RedirectError::Status(303)));
    }

    #[test]
    fn a_path_that_names_a_host_is_made_a_path() {
        for (path, one) in
            [("/", "/"), ("/a//b", "/a//b"), ("//a", "/a"), ("///a", "/a"), ("//", "/")]
        {
            assert_eq!(one_slash(path), one);
        }
        assert_eq!(one_slash("https://a//b"), "https://a//b");
    }
}
