//! Servers whose protocol is a function of a script: it is called for each connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::inspect::{Inspect, Node, Value as Field};
use medusa_core::{ChannelSettings, Handle, Peer, Protocol, Service};
use medusa_script::{Outcome, ScriptError, Value};

use crate::connection::Connection;
use crate::host::Host;
use crate::script::{Script, Version, explained};

/// What such a server is told.
#[derive(Clone)]
pub struct ScriptServerSetup {
    /// The script, which returns a function that serves one connection.
    pub script: Rc<Script>,
    /// How long a client may be silent while the script waits for it.
    pub idle: Duration,
}

/// A server in Lua.
pub struct ScriptServer {
    setup: RefCell<ScriptServerSetup>,
    settings: Rc<ChannelSettings>,
}

impl ScriptServer {
    /// Makes a server.
    pub fn new(setup: ScriptServerSetup) -> Self {
        Self { setup: RefCell::new(setup), settings: Rc::default() }
    }

    /// Has new connections served as this says; those that are there go on as before.
    pub fn replace(&self, setup: ScriptServerSetup) {
        self.setup.replace(setup);
    }
}

impl Service for ScriptServer {
    fn name(&self) -> &'static str {
        "script"
    }

    fn accept(&self, _: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        let ScriptServerSetup { script, idle } = self.setup.borrow().clone();
        let version = script.version()?;
        let host = script.host().clone();
        let (token, state) = host.0.connections.begin()?;
        state.borrow_mut().serves = Some(version.clone());
        let opened = move |peer: &str| serve(&host, &version, token, peer);
        Some(Box::new(Connection {
            state,
            patience: Some(idle),
            opened: Some(Box::new(opened)),
            failed: None,
        }))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.settings.clone()
    }
}

/// Has the script serve a connection that stands.
fn serve(host: &Host, version: &Rc<Version>, token: i64, peer: &str) {
    let Some(handler) = version.function() else { return host.0.connections.close(token) };
    let arguments = [Value::Function(handler), Value::from(token), Value::from(peer)];
    let (host, version, begun) =
        (host.clone(), version.clone(), version.begin(&host.0.serve_connection, &arguments));
    begun.then(move |Outcome { result, output, .. }| {
        version.printed(&output);
        match result {
            Ok(_) | Err(ScriptError::Cancelled) => {}
            Err(error) => version.failed(&explained(&error)),
        }
        host.0.connections.close(token);
    });
}

impl Inspect for ScriptServer {
    fn node(&self) -> Node {
        let setup = self.setup.borrow();
        Node::new("script server")
            .field("script", Field::Text(setup.script.name().to_owned()))
            .field("idle timeout", Field::Time(setup.idle))
    }
}
