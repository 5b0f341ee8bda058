//! Extensions that answer, or change what is asked for, without looking at files: `redirect`,
//! `rewrite` and `fixed`.

use std::rc::Rc;

use medusa_http::extensions::fixed::MAX_FIXED;
use medusa_http::extensions::redirect::RedirectError;
use medusa_http::extensions::{Fixed, Redirect, Rewrite};

use super::{Around, Make};
use crate::config::kind::{Bytes, Number, Text};
use crate::config::section::Section;

pub(super) fn redirect(section: &mut Section<'_>, around: &Around<'_>) -> Option<Make> {
    let to = section.needed(
        "to",
        "Where to: a path or a URL. `$1` is what the first `*` of `match` stands for, `$0` the \
         whole path. The client's query is kept unless there is one here.",
        &Text("a path or a URL, as \"/new/$1\""),
    );
    let status = section.or(
        "status",
        "301 and 308 are for good, 302 and 307 for now; 307 and 308 keep method and body.",
        &Number(300..=399),
        302,
    );
    match Redirect::new(around.path.clone(), &to?, status as u16) {
        Ok(redirect) => Some(Box::new(move |_| Ok(Rc::new(redirect)))),
        Err(error) => {
            let key = if matches!(error, RedirectError::Status(_)) { "status" } else { "to" };
            section.refuse(key, error.to_string());
            None
        }
    }
}

pub(super) fn rewrite(section: &mut Section<'_>, around: &Around<'_>) -> Option<Make> {
    let to = section.needed(
        "to",
        "The path that is asked for instead, and perhaps a query; with `$1` and `$0` as for \
         redirects.",
        &Text("a path, as \"/index.php?page=$1\""),
    );
    match Rewrite::new(around.path.clone(), &to?) {
        Ok(rewrite) => Some(Box::new(move |_| Ok(Rc::new(rewrite)))),
        Err(error) => {
            section.refuse("to", error.to_string());
            None
        }
    }
}

pub(super) fn fixed(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    let status = section.or("status", "The status.", &Number(200..=599), 200);
    let kind = section.or(
        "type",
        "The media type of the text.",
        &Text("a media type"),
        "text/plain; charset=utf-8".to_owned(),
    );
    let text = section.or("text", "The text.", &Bytes(MAX_FIXED), String::new());
    match Fixed::new(status as u16, kind, text) {
        Ok(fixed) => Some(Box::new(move |_| Ok(Rc::new(fixed)))),
        Err(error) => {
            section.refuse("text", error.to_string());
            None
        }
    }
}
