//! `[[server.extension]]`: what answers requests. Each extension is one line in [`EXTENSIONS`].
//!
//! The one design choice: reading and making are two steps. What was read is a function that
//! makes the extension, called on the loop's thread when the whole configuration is right.

mod files;
mod guards;
mod pages;
pub(crate) mod plugged;
mod routes;
mod scripts;
mod status;
mod uploads;

use std::rc::Rc;

use medusa_http::Extension;
use medusa_http::extensions::When;
use medusa_http::limits::MAX_EXTENSIONS;
use medusa_http::pattern::Pattern;
use medusa_http::wire::head::Method;

use crate::config::build::Build;
use crate::config::kind::{List, Parsed, Text};
use crate::config::limits;
use crate::config::problem::Problem;
use crate::config::section::{Section, Variant};

/// An extension that can be used.
struct Kind {
    name: &'static str,
    doc: &'static str,
    read: fn(&mut Section<'_>, &Around<'_>) -> Option<Make>,
}

/// What the section of an extension is read with.
pub(crate) struct Around<'a> {
    /// The names of all file trees.
    trees: &'a [String],
    /// The paths that it is for.
    path: &'a Pattern,
}

/// Makes an extension.
pub(crate) type Make = Box<dyn FnOnce(&Build<'_>) -> Result<Rc<dyn Extension>, Problem> + Send>;

/// The extensions that there are.
const EXTENSIONS: &[Kind] = &[
    Kind { name: "files", doc: "Serves a file tree.", read: files::files },
    Kind {
        name: "upload",
        doc: "Writes what clients send to a file tree: PUT, DELETE, MKCOL and forms. It stands \
              before `files` over the same tree.",
        read: uploads::upload,
    },
    Kind { name: "redirect", doc: "Sends clients to another address.", read: routes::redirect },
    Kind {
        name: "rewrite",
        doc: "Has a request go on, behind this extension, as one for another path; the client does \
              not notice.",
        read: routes::rewrite,
    },
    Kind {
        name: "script",
        doc: "Has a script in Lua handle requests (docs/SCRIPTS.md).",
        read: scripts::script,
    },
    Kind { name: "fixed", doc: "Answers with the same text always.", read: routes::fixed },
    Kind {
        name: "compress",
        doc: "Compresses the replies of the extensions behind it, as [coding] says. `files` does \
              it by itself.",
        read: guards::compress,
    },
    Kind {
        name: "header",
        doc: "Changes header fields: of requests for the extensions behind this one, of replies on \
              their way back.",
        read: guards::header,
    },
    Kind {
        name: "access",
        doc: "Lets requests go on or answers 403, by who asks. The first rule that fits decides.",
        read: guards::access,
    },
    Kind {
        name: "basic-auth",
        doc: "Lets those go on who know a password of a file that `medusa passwd` keeps.",
        read: guards::basic_auth,
    },
    Kind {
        name: "rate-limit",
        doc: "Lets requests go on or answers 429, by how often their client asks.",
        read: limits::rate_limit,
    },
    Kind {
        name: "body-limit",
        doc: "Allows request bodies fewer bytes, or more, than `max_body` in [server.limits].",
        read: limits::body_limit,
    },
    Kind {
        name: "status",
        doc: "Shows the server's figures, live: a page, JSON, and text for Prometheus.",
        read: status::status,
    },
    Kind {
        name: "error-pages",
        doc: "Shows pages of a file tree in place of the server's own words for errors.",
        read: pages::error_pages,
    },
    Kind {
        name: "user-directories",
        doc: "Serves `/~name/` from a directory in that user's home, under that user's own \
              identity. It needs root, or what is kept of it; homes elsewhere than in /home need \
              `confine = \"off\"` in [process].",
        read: pages::user_directories,
    },
];

impl Variant for Kind {
    type Made = Make;

    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> &'static str {
        self.doc
    }
}

/// Reads a list of extensions; `None` if something in it is wrong.
pub(crate) fn extensions(
    section: &mut Section<'_>,
    doc: &'static str,
    trees: &[String],
) -> Option<Vec<Make>> {
    let all = section.tables("extension", doc, MAX_EXTENSIONS, |one| extension(one, trees));
    all.into_iter().collect()
}

/// Paths of requests.
fn pattern() -> Parsed<Pattern> {
    Parsed {
        what: "a pattern of paths, as \"/\", \"/dir/\", \"/old/*\" or \"*.php\"",
        parse: |text| Pattern::parse(text).map_err(|e| e.to_string()),
        write: |pattern| pattern.as_str().to_owned(),
    }
}

/// Methods of requests.
fn methods() -> List<Parsed<Method>> {
    let method = Parsed {
        what: "a method, as \"GET\"",
        parse: |text| Method::of(text).ok_or_else(|| "it is not known".to_owned()),
        write: |method: &Method| method.as_str().to_owned(),
    };
    List(method, 1..=Method::ALL.len())
}

fn extension(section: &mut Section<'_>, trees: &[String]) -> Option<Make> {
    let everything = || Pattern::parse("/").expect("it is a pattern");
    let path = section.or(
        "match",
        "The paths that it is for: `/` is all, `/dir/` a directory and all below it, `*` any run \
         within a name, `/old/*` all below `/old/`, `*.php` the last name of a path.",
        &pattern(),
        everything(),
    );
    let methods =
        section.maybe("methods", "The methods that it is for. Left out: all.", &methods());
    let called = section.maybe(
        "name",
        "What it is called in the inspection tree. Left out: as what it is.",
        &Text("a name"),
    );
    let kind = section.chosen("use", "What it does.", EXTENSIONS);
    let around = Around { trees, path: &path };
    let make = section.variant(EXTENSIONS, kind, |kind, section| (kind.read)(section, &around))?;
    if path == everything() && methods.is_none() && called.is_none() {
        return Some(make);
    }
    Some(Box::new(move |build| {
        let mut guarded = When::new(path, make(build)?).methods(methods.unwrap_or_default());
        if let Some(name) = called {
            guarded = guarded.named(name);
        }
        Ok(Rc::new(guarded))
    }))
}
