//! The client in the inspection tree.

use std::rc::Rc;

use medusa_core::inspect::{Inspect, Node, Value};

use super::{Client, Inner};

/// What the fields mean.
const NOTES: &[(&str, &str)] = &[
    ("connections", "that stand or are being made"),
    ("idle", "of these, those that are kept for further requests"),
    ("requests", "since the start"),
    ("reused", "requests that found a kept connection"),
    ("repeated", "requests that were sent again, because a kept connection was closed"),
    ("failed", "requests without an answer"),
];

impl Client {
    /// The client as a part of the inspection tree, with a child for each target that it has
    /// connections to.
    pub fn inspected(&self) -> Rc<dyn Inspect> {
        Rc::new(Shown(self.0.clone()))
    }
}

struct Shown(Rc<Inner>);

impl Inspect for Shown {
    fn node(&self) -> Node {
        let client = &self.0;
        let figures = &client.figures;
        let mut node = Node::new("http-client")
            .about("Requests that the server makes of others.", NOTES)
            .field("connections", Value::Count(client.open.get() as u64))
            .field("idle", Value::Count(client.idle.get() as u64))
            .field("requests", Value::Count(figures.requests.get()))
            .field("reused", Value::Count(figures.reused.get()))
            .field("repeated", Value::Count(figures.repeated.get()))
            .field("failed", Value::Count(figures.failed.get()));
        let pool = client.pool.borrow();
        let mut names: Vec<String> = pool.keys().map(|target| name(&target.to_string())).collect();
        names.sort_unstable();
        node.children = names;
        node
    }

    fn child(&self, wanted: &str) -> Option<Rc<dyn Inspect>> {
        let pool = self.0.pool.borrow();
        let (_, kept) = pool.iter().find(|(target, _)| name(&target.to_string()) == wanted)?;
        Some(Rc::new(ShownTarget { connections: kept.open, idle: kept.idle.len() }))
    }
}

/// A target's name as one step of a path.
fn name(target: &str) -> String {
    target.replace('/', "|")
}

struct ShownTarget {
    connections: usize,
    idle: usize,
}

impl Inspect for ShownTarget {
    fn node(&self) -> Node {
        Node::new("http-target")
            .about("A server that requests are made of.", NOTES)
            .field("connections", Value::Count(self.connections as u64))
            .field("idle", Value::Count(self.idle as u64))
    }
}
