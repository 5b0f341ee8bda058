//! The engine that all scripts of a server share, with the libraries that joins it to the server.
//!
//! The one design choice: there is one interpreter for all of them, since the limit of memory
//! belongs to an interpreter, and what a script has of its own are its globals.

use std::rc::Rc;

use medusa_core::Handle;
use medusa_script::{
    Begun, Budget, Callable, Engine, Outcome, ScriptError, SharedTable, Store, Value,
};

use crate::asked::Pieces;
use crate::connection::Connections;
use crate::desk::Desk;
use crate::files::OpenFiles;
use crate::talk::Talks;
use crate::{desk, extension, files, net, request};

/// What a script sees of a request.
const GLUE: &str = include_str!("glue.lua");

/// An engine whose scripts are part of the server; cheap to clone. Scripts that share one share
/// its memory.
#[derive(Clone)]
pub struct Host(pub(crate) Rc<Inner>);

pub(crate) struct Inner {
    pub(crate) handle: Handle,
    pub(crate) engine: Engine,
    pub(crate) desk: Rc<Desk>,
    pub(crate) talks: Rc<Talks>,
    pub(crate) connections: Rc<Connections>,
    pub(crate) pieces: Rc<Pieces>,
    pub(crate) serve: Callable,
    pub(crate) serve_connection: Callable,
    pub(crate) read_tree: Callable,
}

impl Host {
    /// Makes an engine with `memory` bytes, whose scripts have this shared table and, if there is
    /// one, this store.
    pub fn new(
        handle: &Handle,
        memory: usize,
        shared: &SharedTable,
        store: Option<&Store>,
    ) -> Result<Self, ScriptError> {
        let engine = Engine::new(handle, memory)?;
        let talks: Rc<Talks> = Rc::default();
        let connections: Rc<Connections> = Rc::default();
        let pieces: Rc<Pieces> = Rc::default();
        let desk = Rc::new(Desk::new(handle, engine.downgrade()));
        engine.add(shared.library())?;
        engine.add(Store::library(store))?;
        engine.add(files::library(&OpenFiles::new(handle, &desk)))?;
        engine.add(Pieces::library(&pieces))?;
        engine.add(net::library(handle, &connections))?;
        let client = request::client(handle);
        handle.mount("http-client", client.inspected());
        let loop_handle = handle.clone();
        let http = extension::library(&talks)
            .later("request", move |args, later| {
                request::request(&loop_handle, &client, args, later);
            })
            .made_by(GLUE);
        engine.add(http)?;
        for library in desk::libraries(&desk) {
            engine.add(library)?;
        }
        let found = engine.load("host", b"return http.serve, net.serve, trees.read")?;
        let found = match engine.call(&found, &[], Budget::default()) {
            Begun::Ended(Outcome { result: Ok(values), .. }) => values,
            _ => Vec::new(),
        };
        let [Value::Function(serve), Value::Function(serve_connection), Value::Function(read_tree)] =
            &found[..]
        else {
            return Err(ScriptError::Refused("the engine is out of order".to_owned()));
        };
        let (serve, serve_connection) = (serve.clone(), serve_connection.clone());
        let read_tree = read_tree.clone();
        let handle = handle.clone();
        Ok(Self(Rc::new(Inner {
            handle,
            engine,
            desk,
            talks,
            connections,
            pieces,
            serve,
            serve_connection,
            read_tree,
        })))
    }

    /// The engine, to add libraries and to run other scripts.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Requests that scripts are handling.
    pub fn requests(&self) -> usize {
        self.0.talks.len()
    }

    /// Connections that scripts have.
    pub fn connections(&self) -> usize {
        self.0.connections.len()
    }

    /// Tells all scripts that listen for it (`events.on`) of something that has happened.
    pub fn emit(&self, event: &str, about: &Value) {
        self.0.desk.emit(event, about);
    }
}
