//! The resolver in the inspection tree.

use std::rc::Rc;
use std::time::Duration;

use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value};

use super::Resolver;
use crate::cache::Kept;
use crate::limits::LISTED;
use crate::wire::{Found, Kind, Question};

/// The resolver itself.
pub(super) struct Part(pub(super) Resolver);

const ACTIONS: &[Action] =
    &[Action::new(Level::Operate, "flush", "[NAME]", "Forgets the answers of a name, or all.")];

impl Inspect for Part {
    fn node(&self) -> Node {
        let state = self.0.0.state.borrow();
        let figures = self.0.figures();
        let cache = state.cache.figures();
        let text = |all: Vec<String>| Value::Text(all.join(" "));
        let servers = match state.settings.servers.as_slice() {
            [] => &state.resolv.servers,
            given => given,
        };
        let now = self.0.handle().now();
        let down = state.down.iter().filter(|(_, until)| now < **until);
        Node { children: vec!["cache".to_owned()], ..Node::new("resolver") }
            .field("servers", text(servers.iter().map(ToString::to_string).collect()))
            .field("not answering", text(down.map(|(server, _)| server.to_string()).collect()))
            .field("search", text(state.resolv.search.clone()))
            .field("asking", Value::Count(state.asking.len() as u64))
            .field("hits", Value::Count(cache.hits))
            .field("misses", Value::Count(cache.misses))
            .field("stale", Value::Count(cache.stale))
            .field("shared", Value::Count(figures.shared.get()))
            .field("sent", Value::Count(figures.sent.get()))
            .field("over TCP", Value::Count(figures.over_tcp.get()))
            .field("refreshed", Value::Count(figures.refreshed.get()))
            .field("timed out", Value::Count(figures.timed_out.get()))
            .field("failed", Value::Count(figures.failed.get()))
            .field("foreign", Value::Count(figures.foreign.get()))
            .about(
                "Looks names up for everything in this server.",
                &[
                    ("not answering", "servers that others are asked before for a while"),
                    ("asking", "questions that are being asked"),
                    ("hits", "lookups that the cache answered"),
                    ("stale", "answers given past their time, as no server answered"),
                    ("shared", "lookups that waited for a question that was being asked"),
                    ("sent", "questions sent to servers, each try counted"),
                    ("refreshed", "answers asked for anew before their end"),
                    ("foreign", "datagrams that were no answer to what was asked: late or forged"),
                ],
            )
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        (name == "cache").then(|| -> Rc<dyn Inspect> { Rc::new(Kepts(self.0.clone())) })
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        let mut state = self.0.0.state.borrow_mut();
        answer.result(match (action, arguments) {
            ("flush", []) => {
                state.failed.clear();
                state.down.clear();
                Ok(format!("{} answers forgotten", state.cache.clear()))
            }
            ("flush", [name, ..]) => {
                let mut forgotten = 0;
                for kind in [Kind::A, Kind::AAAA, Kind::CNAME, Kind::PTR, Kind::SRV] {
                    if let Ok(question) = Question::new(name, kind) {
                        state.failed.remove(&question);
                        forgotten += usize::from(state.cache.remove(&question));
                    }
                }
                Ok(format!("{forgotten} answers of {name} forgotten"))
            }
            _ => Err(format!("there is no action `{action}` here")),
        });
    }
}

/// What is kept.
struct Kepts(Resolver);

impl Inspect for Kepts {
    fn node(&self) -> Node {
        let state = self.0.0.state.borrow();
        let cache = &state.cache;
        let mut children: Vec<_> =
            cache.iter().take(LISTED).map(|(question, _)| question.to_string()).collect();
        children.sort();
        Node { children, more: cache.len() > LISTED, ..Node::new("cache") }
            .field("answers", Value::Count(cache.len() as u64))
            .field("size", Value::Bytes(cache.bytes() as u64))
            .field("limit", Value::Bytes(state.settings.cache.bytes as u64))
            .field("evicted", Value::Count(cache.figures().evicted))
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let state = self.0.0.state.borrow();
        let (question, kept) =
            state.cache.iter().find(|(question, _)| question.to_string() == name)?;
        Some(Rc::new(One { question, kept: kept.clone(), resolver: self.0.clone() }))
    }
}

/// A kept answer.
struct One {
    question: Question,
    kept: Kept,
    resolver: Resolver,
}

impl Inspect for One {
    fn node(&self) -> Node {
        let now = self.resolver.handle().now();
        let answer = match &self.kept.answer.found {
            Found::NoName => "there is no such name".to_owned(),
            Found::Nothing => "the name has no such records".to_owned(),
            Found::Addresses(all) => {
                all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Found::Names(all) => all.join(" "),
            Found::Services(all) => all
                .iter()
                .map(|target| format!("{}:{}", target.host, target.port))
                .collect::<Vec<_>>()
                .join(" "),
            Found::Alias(question) => format!("stands for {}", question.name()),
            Found::Others => "records of another type".to_owned(),
        };
        Node::new("answer")
            .field("question", Value::Text(self.question.to_string()))
            .field("answer", Value::Text(answer))
            .field("left", Value::Time(Duration::from_secs(self.kept.left(now).into())))
            .field("fresh", Value::Flag(self.kept.is_fresh(now)))
    }
}
