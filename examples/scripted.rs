//! Handles `/lua/*` by a script, which can be changed while the server runs, and serves a directory.
//!
//! `cargo run --example scripted -- 127.0.0.1:7010 examples/hello.lua DIR`, then
//! `curl http://127.0.0.1:7010/lua/hello/Medusa`; `curl -X POST http://127.0.0.1:7010/reload` loads the
//! script anew.

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use medusa_core::{Address, ChannelSettings, ListenOptions, Reactor, Settings};
use medusa_fs::{LocalTree, Persona, TreeOptions};
use medusa_http::extensions::When;
use medusa_http::pattern::Pattern;
use medusa_http::{
    Exchange, Extension, Extensions, Files, FilesOptions, Handled, HttpService, HttpSettings,
    Reply, Request,
};
use medusa_script::{Budget, SharedTable, Value};
use medusa_scripted::{Host, Returns, Script, ScriptExtension, ScriptPlan};

/// Bytes of memory of the interpreter.
const MEMORY: usize = 64 << 20;

/// Loads the script anew, for whoever posts.
struct Reload {
    script: Rc<Script>,
}

impl Extension for Reload {
    fn name(&self) -> &'static str {
        "reload"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        !request.head.method.is_safe() && request.head.target.path().raw() == b"/reload"
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let (script, responder) = (self.script.clone(), exchange.later());
        let read = {
            let file = self.script.plan().file;
            move || std::fs::read(file)
        };
        request.handle.run(read, move |source| match source {
            Ok(Ok(source)) => {
                script.load(source.into(), move |loaded| {
                    responder.reply(match loaded {
                        Ok(()) => Reply::text(200, "the new version is loaded"),
                        Err(error) => Reply::text(409, &format!("the old version stays: {error}")),
                    });
                });
            }
            Ok(Err(error)) => responder.reply(Reply::text(500, &error.to_string())),
            Err(error) => responder.reply(Reply::text(500, &error.to_string())),
        });
        Handled::Later
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: Address = arguments.next().unwrap_or("127.0.0.1:7010".into()).parse()?;
    let file = arguments.next().unwrap_or("examples/hello.lua".into());
    let directory = arguments.next().unwrap_or(".".into());
    let mut reactor = Reactor::new(Settings::default())?;

    let host = Host::new(reactor.handle(), MEMORY, &SharedTable::default(), None)?;
    let plan = ScriptPlan {
        name: "script".to_owned(),
        file: file.clone(),
        source: std::fs::read(&file)?.into(),
        arguments: Value::Nil,
        budget: Budget::HANDLER,
        returns: Returns::Handler,
        trees: Vec::new(),
    };
    let script = Script::new(&host, plan.clone());
    let loading = script.load(plan.source, |loaded| match loaded {
        Ok(()) => {}
        Err(error) => eprintln!("{error}"),
    });
    if let Some(loading) = loading {
        loading.run_on();
    }
    script.activate();
    let tree = Arc::new(LocalTree::open(directory, TreeOptions::default())?);
    let extensions = Extensions::new(vec![
        Rc::new(When::new(Pattern::parse("/lua/")?, ScriptExtension::new(&script))),
        Rc::new(Reload { script }),
        Rc::new(Files::new(tree, Persona::Process, FilesOptions::default())),
    ]);
    let http = HttpService::new(
        Rc::new(extensions),
        HttpSettings::default(),
        ChannelSettings::default(),
        None,
    );
    let (_, bound) = reactor.listen(&address, Rc::new(http), ListenOptions::default())?;
    println!("listening scripted {bound}\nready");
    Ok(reactor.run()?)
}
