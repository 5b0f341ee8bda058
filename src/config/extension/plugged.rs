//! An extension that an operator writes while the server runs: the section of a configuration
//! without its heading.

use std::path::Path;
use std::rc::Rc;

use medusa_core::inspect::Node;
use medusa_http::{Exchange, Extension, Handled, Request};
use medusa_scripted::Script;

use super::{Make, extension};
use crate::config::problem::Problems;
use crate::config::script::NamedScript;
use crate::config::section::Reader;
use crate::config::{Build, Text, value};

/// How what is wrong names the text.
const NAME: &str = "extension";

/// Bytes of such a text.
const MAX_BYTES: usize = 64 * 1024;

/// What was read of such a text.
pub(crate) struct Written {
    make: Make,
    /// The file trees that it could name.
    pub(crate) trees: Vec<String>,
    pub(crate) scripts: Vec<NamedScript>,
    pub(crate) text: Text,
}

/// Reads and checks a text whose paths are relative to `base`; what is wrong is told in lines for
/// people. It may block.
pub(crate) fn read(text: String, base: &Path, trees: Vec<String>) -> Result<Written, String> {
    let mut problems = Problems::default();
    if text.len() > MAX_BYTES {
        let what = format!("an extension takes at most {} KiB of text", MAX_BYTES >> 10);
        return Err(what);
    }
    let table = value::parse(&text, &mut problems);
    let text = Text { file: Some((NAME.to_owned(), text)) };
    let Some(table) = table else { return Err(text.show(&problems)) };
    let reader = Reader::new(base, problems);
    let (make, _) = reader.read_as(NAME, &table, |section| extension(section, &trees));
    let (problems, needs) = reader.finish();
    match make {
        Some(make) if problems.is_empty() => {
            let scripts = needs.scripts.into_iter().map(NamedScript::plugged_in).collect();
            Ok(Written { make, trees, scripts, text })
        }
        _ => Err(text.show(&problems)),
    }
}

impl Written {
    /// Makes the extension.
    pub(crate) fn make(self, build: &Build<'_>) -> Result<Rc<dyn Extension>, String> {
        let text = self.text;
        let inner = (self.make)(build).map_err(|problem| text.show_one(problem))?;
        if build.scripts.is_empty() {
            return Ok(inner);
        }
        let scripts = build.scripts.to_vec();
        for script in &scripts {
            script.activate();
        }
        Ok(Rc::new(WithScripts { inner, scripts }))
    }
}

/// An extension whose scripts end with it.
struct WithScripts {
    inner: Rc<dyn Extension>,
    scripts: Vec<Rc<Script>>,
}

impl Extension for WithScripts {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn describe(&self, node: Node) -> Node {
        self.inner.describe(node)
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        self.inner.matches(request)
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        self.inner.handle(request, exchange)
    }
}

impl Drop for WithScripts {
    fn drop(&mut self) {
        for script in &self.scripts {
            script.end();
        }
    }
}
