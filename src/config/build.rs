//! Makes services from what was read. Nothing is bound here, and nothing that runs is changed.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use medusa_core::Handle;
use medusa_core::inspect::{Action, Answer, Inspect, Node};
use medusa_core::reactor::ListenOptions;
use medusa_dns::Resolver;
use medusa_fs::FileSystem;
use medusa_ftp::Events;
use medusa_http::access_log::AccessLog;
use medusa_http::{Coder, HttpService};
use medusa_log::Logs;
use medusa_scripted::{Script, Scripts};
use medusa_status::Station;

use crate::config::log::{AccessPlan, TransfersPlan};
use crate::config::problem::Problem;
use crate::config::server::{Listen, ServerPlan};
use crate::config::trees::Trees;

/// What there is to build from.
pub(crate) struct Build<'a> {
    pub(crate) trees: &'a Trees,
    /// The logs, and the loop that fills them; without them nothing is logged.
    pub(crate) logs: Option<(&'a Logs, &'a Handle)>,
    /// Where requests are logged by servers that say nothing else.
    pub(crate) access: Option<&'a AccessPlan>,
    /// Where transfers by FTP are logged by servers that say nothing else.
    pub(crate) transfers: Option<&'a TransfersPlan>,
    /// Compresses on the fly, within bounds for all servers together.
    pub(crate) coder: Coder,
    /// Where everybody looks on who looks at the server.
    pub(crate) station: Station,
    /// The scripts that are loaded, in the order of the configuration; none where nothing is
    /// served.
    pub(crate) scripts: &'a [Rc<Script>],
    /// Where scripts hear of what happens.
    pub(crate) scripting: Option<&'a Rc<Scripts>>,
    /// Looks names up; none where nothing is served.
    pub(crate) resolver: Option<&'a Resolver>,
}

impl Build<'_> {
    pub(crate) fn tree(&self, name: &str) -> Arc<dyn FileSystem> {
        self.trees.tree(name)
    }

    /// The script of this place.
    pub(crate) fn script(&self, place: usize) -> Option<&Rc<Script>> {
        self.scripts.get(place)
    }

    /// Opens the log of requests of a server that says this of it.
    pub(crate) fn access_log(
        &self,
        own: Option<&Option<AccessPlan>>,
    ) -> Result<Option<Rc<dyn AccessLog>>, Problem> {
        let plan = own.map_or(self.access, Option::as_ref);
        match (self.logs, plan) {
            (Some((logs, handle)), Some(plan)) => crate::log::access(logs, handle, plan).map(Some),
            _ => Ok(None),
        }
    }

    /// Opens the log of transfers of a server that says this of it.
    pub(crate) fn transfer_log(
        &self,
        own: Option<&Option<TransfersPlan>>,
    ) -> Result<Option<Rc<dyn Events>>, Problem> {
        let plan = own.map_or(self.transfers, Option::as_ref);
        match (self.logs, plan) {
            (Some((logs, handle)), Some(plan)) => {
                crate::log::transfers(logs, handle, plan).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Where everybody looks on who looks at this program.
pub(crate) fn station() -> Station {
    Station::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// A server that runs.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) service: Rc<dyn medusa_core::Service>,
    pub(crate) inspect: Rc<dyn Inspect>,
    /// The service, if extensions can be plugged into it.
    pub(crate) http: Option<Rc<HttpService>>,
    /// The same server, for the setup that replaces its own.
    pub(crate) itself: Rc<dyn Any>,
}

/// A part of the inspection tree with more parts below it.
pub(crate) struct Parts {
    inner: Rc<dyn Inspect>,
    more: Vec<(&'static str, Rc<dyn Inspect>)>,
}

impl Parts {
    /// Puts parts below another, before its own.
    pub(crate) fn below(
        inner: Rc<dyn Inspect>,
        more: Vec<(&'static str, Rc<dyn Inspect>)>,
    ) -> Rc<dyn Inspect> {
        Rc::new(Self { inner, more })
    }
}

impl Inspect for Parts {
    fn node(&self) -> Node {
        let mut node = self.inner.node();
        let names = self.more.iter().map(|(name, _)| (*name).to_owned());
        node.children = names.chain(node.children).collect();
        node
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let found = self.more.iter().find(|(n, _)| *n == name).map(|(_, part)| part.clone());
        found.or_else(|| self.inner.child(name))
    }

    fn actions(&self) -> &'static [Action] {
        self.inner.actions()
    }

    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        self.inner.act(action, arguments, answer);
    }
}

/// Everything that a server of one protocol is told.
pub(crate) trait Setup {
    /// Makes a server that goes by it.
    fn start(self: Box<Self>) -> Serving;

    /// Has a running server of the same protocol go by it, from the next request on.
    fn replace(self: Box<Self>, running: &Serving);
}

/// A server that was built and does not listen yet.
pub(crate) struct Built {
    pub(crate) protocol: &'static str,
    pub(crate) listen: Vec<Listen>,
    pub(crate) options: ListenOptions,
    pub(crate) setup: Box<dyn Setup>,
}

/// Builds all servers, or tells what is in the way.
pub(crate) fn build(servers: Vec<ServerPlan>, build: &Build<'_>) -> Result<Vec<Built>, Problem> {
    let one = |server: ServerPlan| {
        let ServerPlan { protocol, listen, options, plan } = server;
        Ok(Built { protocol, listen, options, setup: plan(build)? })
    };
    servers.into_iter().map(one).collect()
}
