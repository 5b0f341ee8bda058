//! The extension that answers: the page, JSON, a stream of events, and metrics.
//!
//! The one design choice: who may look is decided here, not left to what stands before it. Unless
//! told otherwise only this machine may, and then only under a name that is this machine's own:
//! else any page of the web could have a browser on this machine read it, by a name of its own
//! that it lets lead here.

use std::net::IpAddr;

use medusa_core::Peer;
use medusa_http::extensions::Access;
use medusa_http::extensions::access::{AccessError, AccessRule, Action, Who};
use medusa_http::pattern::Pattern;
use medusa_http::wire::fields::Known;
use medusa_http::wire::head::{Head, Method};
use medusa_http::wire::qvalue::best_media_type;
use medusa_http::{Body, Exchange, Extension, Handled, Reply, Request};

use crate::station::Station;
use crate::{json, metrics, page};

/// What may be told of the status page.
#[derive(Clone, Debug, Default)]
pub struct StatusOptions {
    /// The path of the page, and of its figures as JSON and as a stream; `None` is nowhere.
    pub page: Option<Pattern>,
    /// The path of the figures for Prometheus; `None` is nowhere.
    pub metrics: Option<Pattern>,
    /// Who may look; `None` is this machine.
    pub allow: Option<Vec<Who>>,
}

/// Shows the server's figures.
pub struct Status {
    station: Station,
    page: Option<Pattern>,
    metrics: Option<Pattern>,
    access: Access,
    /// Nobody said who may look.
    local_only: bool,
}

/// The forms of the status page, in the order in which they are offered.
const FORMS: [(&str, Form); 3] = [
    ("text/html", Form::Page),
    ("application/json", Form::Json),
    ("text/event-stream", Form::Events),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Page,
    Json,
    Events,
}

impl Form {
    /// What the query says, or else what the client would rather have.
    fn of(head: &Head<'_>) -> Result<Self, Reply> {
        let query = head.target.query().unwrap_or_default();
        let mut formats =
            query.split(|&byte| byte == b'&').filter_map(|pair| pair.strip_prefix(b"format="));
        match formats.next_back() {
            Some(b"html") => return Ok(Self::Page),
            Some(b"json") => return Ok(Self::Json),
            Some(b"events") => return Ok(Self::Events),
            Some(_) => {
                return Err(Reply::text(400, "`format` is one of html, json and events"));
            }
            None => {}
        }
        let best = best_media_type(head.fields.values(Known::Accept), &FORMS.map(|(name, _)| name));
        Ok(FORMS[best.unwrap_or(0)].1)
    }
}

impl Status {
    /// Shows what `station` sees.
    pub fn new(station: Station, options: StatusOptions) -> Result<Self, AccessError> {
        let StatusOptions { page, metrics, allow } = options;
        let local_only = allow.is_none();
        let local = || ["127.0.0.0/8", "::1", "unix"].map(|who| who.parse().expect("it is one"));
        let allow = allow.unwrap_or_else(|| local().to_vec());
        let rule = |from| AccessRule { action: Action::Allow, from, methods: Vec::new() };
        let access = Access::new(allow.into_iter().map(rule).collect(), Action::Deny)?;
        Ok(Self { station, page, metrics, access, local_only })
    }

    fn is_page(&self, head: &Head<'_>) -> bool {
        self.page.as_ref().is_some_and(|page| page.matches(head))
    }

    /// Answers when the server has been looked at.
    fn answer_with(
        &self,
        request: &Request<'_>,
        exchange: &mut Exchange<'_>,
        media_type: &'static str,
        make: impl FnOnce(&crate::view::View, &crate::sample::Sample) -> bytes::Bytes + 'static,
    ) -> Handled {
        let responder = exchange.later();
        self.station.look(request.handle, move |_, view, sample| {
            responder.reply(
                Reply::new(200)
                    .field("Content-Type", media_type)
                    .field("Cache-Control", "no-store")
                    .field("Vary", "Accept")
                    .field("X-Content-Type-Options", "nosniff")
                    .body(Body::Bytes(make(view, sample))),
            );
        });
        Handled::Later
    }

    fn events(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Reply {
        let reply = Reply::new(200)
            .field("Content-Type", "text/event-stream")
            .field("Cache-Control", "no-store")
            .field("Vary", "Accept")
            .field("X-Accel-Buffering", "no");
        if request.head.method == Method::Head {
            return reply;
        }
        match self.station.watch(request.handle) {
            Some(events) => {
                exchange.lasts();
                reply.body(Body::Producer(Box::new(events), None))
            }
            None => Reply::text(503, "too many look on already").field("Retry-After", "60"),
        }
    }
}

/// Whether a request is for this machine by a name that nobody else can give it: an address, or
/// `localhost` (RFC 6761, section 6.3).
fn is_for_this_machine(request: &Request<'_>) -> bool {
    if request.peer == Peer::Unix {
        return true;
    }
    let Some(host) = request.head.host else { return true };
    let host = host.host().trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host);
    host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}

impl Extension for Status {
    fn name(&self) -> &'static str {
        "status"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        let head = request.head;
        self.is_page(head) || self.metrics.as_ref().is_some_and(|metrics| metrics.matches(head))
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        match self.access.handle(request, exchange) {
            Handled::Pass => {}
            denied => return denied,
        }
        if self.local_only && !is_for_this_machine(request) {
            let sentence = "this is shown under the address of this machine or as localhost only, \
                            unless the configuration says with `allow` who may see it";
            return Handled::Now(Reply::text(403, sentence));
        }
        if !matches!(request.head.method, Method::Get | Method::Head) {
            let reply = Reply::text(405, "this can only be looked at");
            return Handled::Now(reply.field("Allow", "GET, HEAD"));
        }
        if !self.is_page(request.head) {
            return self.answer_with(request, exchange, metrics::MEDIA_TYPE, |view, _| {
                metrics::write(view).into()
            });
        }
        match Form::of(request.head) {
            Ok(Form::Page) => Handled::Now(page::reply()),
            Ok(Form::Json) => {
                let program = self.station.program().clone();
                self.answer_with(request, exchange, "application/json", move |view, sample| {
                    json::whole(&program, view, sample)
                })
            }
            Ok(Form::Events) => Handled::Now(self.events(request, exchange)),
            Err(refused) => Handled::Now(refused),
        }
    }
}
