//! What runs, in the inspection tree: the servers and the file trees.

use std::rc::Rc;

use medusa_core::inspect::{Inspect, Node, Value};

use crate::reload::Running;

/// The servers, each by its protocol: `http`, `http-2`, `ftp`.
pub(super) struct ShownServers(pub(super) Rc<Running>);

impl Inspect for ShownServers {
    fn node(&self) -> Node {
        let node = Node::new("servers").about(
            "The servers, by their protocols and in the order of the configuration.",
            &[("listening", "Addresses that are listened on.")],
        );
        let listening = self.0.listening().len() as u64;
        Node { children: self.0.server_names(), ..node }.field("listening", Value::Count(listening))
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        self.0.server(name)
    }
}

/// The file trees.
pub(super) struct ShownTrees(pub(super) Rc<Running>);

impl Inspect for ShownTrees {
    fn node(&self) -> Node {
        let node = Node::new("trees").about("The file trees, by their names.", &[]);
        Node { children: self.0.trees().names(), ..node }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        Some(Rc::new(ShownTree(self.0.trees().describe(name)?)))
    }
}

/// A file tree.
struct ShownTree(Node);

impl Inspect for ShownTree {
    fn node(&self) -> Node {
        self.0.clone()
    }
}
