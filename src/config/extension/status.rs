//! `status`: the server's figures, live.

use std::rc::Rc;

use medusa_http::pattern::Pattern;
use medusa_status::{Status, StatusOptions};

use super::guards::{MAX_ADDRESSES, who};
use super::{Around, Make};
use crate::config::kind::{List, Parsed};
use crate::config::problem::Problem;
use crate::config::section::Section;

/// The path of something, or an empty text for nowhere.
fn somewhere() -> Parsed<Option<Pattern>> {
    Parsed {
        what: "a path, as \"/status\", or \"\" for nowhere",
        parse: |text| match text {
            "" => Ok(None),
            text => Pattern::parse(text).map(Some).map_err(|e| e.to_string()),
        },
        write: |path| path.as_ref().map_or_else(String::new, |path| path.as_str().to_owned()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as all that read extensions")]
pub(super) fn status(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    let at = |path| Some(Pattern::parse(path).expect("it is one"));
    let page = section.or(
        "path",
        "Where the page is. The same figures are there as JSON (`?format=json`) and as a stream of \
         events (`?format=events`).",
        &somewhere(),
        at("/status"),
    );
    let metrics = section.or(
        "metrics",
        "Where the figures are for Prometheus, in its text format.",
        &somewhere(),
        at("/metrics"),
    );
    let allow = section.maybe(
        "allow",
        "Who may look: \"all\", \"unix\", addresses or networks. Left out: processes of this \
         machine, under its address or as localhost. Behind a proxy on this machine every client \
         is one of those: have `basic-auth` or `access` stand before it there.",
        &List(who(), 1..=MAX_ADDRESSES),
    );
    let place = section.place("allow");
    let options = StatusOptions { page, metrics, allow };
    Some(Box::new(move |build| {
        let status = Status::new(build.station.clone(), options);
        Ok(Rc::new(status.map_err(|e| Problem::new(place, e.to_string()))?))
    }))
}
