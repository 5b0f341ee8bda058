//! Takes uploads to a directory and serves it: two extensions over one file tree.
//!
//! `cargo run --example uploads -- 127.0.0.1:7009 DIR`, then `curl -T FILE http://127.0.0.1:7009/`.

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use medusa_core::{Address, ChannelSettings, ListenOptions, Reactor, Settings};
use medusa_fs::{LocalTree, Persona, TreeOptions};
use medusa_http::{
    Extensions, Files, FilesOptions, HttpService, HttpSettings, Upload, UploadOptions,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: Address = arguments.next().unwrap_or("127.0.0.1:7009".into()).parse()?;
    let options = TreeOptions { writable: true, ..TreeOptions::default() };
    let tree = Arc::new(LocalTree::open(arguments.next().unwrap_or(".".into()), options)?);
    // The first that matches answers: uploads match all but GET and HEAD.
    let upload = Upload::new(tree.clone(), Persona::Process, UploadOptions::default())?;
    let files = Files::new(tree, Persona::Process, FilesOptions::default());
    let extensions = Extensions::new(vec![Rc::new(upload), Rc::new(files)]);
    let http = HttpService::new(
        Rc::new(extensions),
        // Uploads have a limit of their own.
        HttpSettings::default(),
        ChannelSettings::default(),
        None,
    );
    let mut reactor = Reactor::new(Settings::default())?;
    let (_, bound) = reactor.listen(&address, Rc::new(http), ListenOptions::default())?;
    println!("listening uploads {bound}\nready");
    Ok(reactor.run()?)
}
