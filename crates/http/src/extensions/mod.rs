//! The small extensions that a configuration puts together, and the guard around any extension.
//!
//! The one design choice: each is made of plain options by a constructor that refuses, with a
//! sentence for the operator, whatever could not work or would not be safe. Once made, it cannot
//! fail but by the system.

pub mod access;
pub mod basic_auth;
pub mod body_limit;
pub mod error_pages;
pub mod fixed;
pub mod headers;
pub mod rate_limit;
pub mod redirect;
pub mod rewrite;
pub mod user_directories;

use std::rc::Rc;

use medusa_core::inspect::{Node, Value};

pub use self::access::Access;
pub use self::basic_auth::{BasicAuth, BasicAuthOptions};
pub use self::body_limit::BodyLimit;
pub use self::error_pages::ErrorPages;
pub use self::fixed::Fixed;
pub use self::headers::Headers;
pub use self::rate_limit::{RateLimit, RateLimitOptions};
pub use self::redirect::Redirect;
pub use self::rewrite::Rewrite;
pub use self::user_directories::UserDirectories;
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::pattern::Pattern;
use crate::wire::head::Method;

/// Lets only some requests reach an extension: those with a path and a method of these.
pub struct When {
    name: Option<String>,
    path: Pattern,
    /// None are all.
    methods: Vec<Method>,
    inner: Rc<dyn Extension>,
}

impl When {
    /// Guards `inner`; its name is that of the inner one.
    pub fn new(path: Pattern, inner: Rc<dyn Extension>) -> Self {
        Self { name: None, path, methods: Vec::new(), inner }
    }

    /// Lets only requests with these methods through; none at all means every method.
    #[must_use]
    pub fn methods(mut self, methods: Vec<Method>) -> Self {
        self.methods = methods;
        self
    }

    /// Gives it a name of its own.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Extension for When {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.inner.name())
    }

    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn describe(&self, node: Node) -> Node {
        let mut node = node.field("match", Value::Text(self.path.as_str().to_owned()));
        if !self.methods.is_empty() {
            let methods: Vec<_> = self.methods.iter().map(|method| method.as_str()).collect();
            node = node.field("methods", Value::Text(methods.join(" ")));
        }
        self.inner.describe(node)
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(&request.head.method))
            && self.path.matches(request.head)
            && self.inner.matches(request)
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        self.inner.handle(request, exchange)
    }
}

/// Puts the client's query behind a target that has none of its own.
fn keep_query(target: &mut String, query: Option<&[u8]>) {
    if let Some(query) = query
        && !target.contains(['?', '#'])
    {
        target.push('?');
        // Targets are ASCII.
        target.push_str(&String::from_utf8_lossy(query));
    }
}

/// A path that starts with two slashes would name a host; one is meant.
fn one_slash(path: &str) -> &str {
    match path.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') => {
            &path[path.len() - rest.trim_start_matches('/').len() - 1..]
        }
        _ => path,
    }
}

/// Whether a text can stand in a target as it is: printable, without spaces and backslashes,
/// which browsers take for slashes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}
