//! Serves a directory by FTP to anybody, for reading, or for writing too.
//!
//! `cargo run --example ftp -- 127.0.0.1:7010 DIR [write]`, then `curl ftp://127.0.0.1:7010/`.

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use medusa_core::{Address, ListenOptions, Reactor, Settings};
use medusa_fs::{LocalTree, Persona, TreeOptions};
use medusa_ftp::{Anonymous, FtpService, FtpSettings, Permissions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: Address = arguments.next().unwrap_or("127.0.0.1:7010".into()).parse()?;
    let directory = arguments.next().unwrap_or(".".into());
    let writable = arguments.next().is_some_and(|word| word == "write");
    let options = TreeOptions { writable, ..TreeOptions::default() };
    let tree = Arc::new(LocalTree::open(directory, options)?);
    let permissions = if writable { Permissions::ALL } else { Permissions::READ };
    let anonymous = Anonymous::with(tree, Persona::Process, permissions);
    let ftp = FtpService::new(FtpSettings::default(), vec![Rc::new(anonymous)], Vec::new());
    let mut reactor = Reactor::new(Settings::default())?;
    let (_, bound) = reactor.listen(&address, Rc::new(ftp), ListenOptions::default())?;
    println!("listening ftp {bound}\nready");
    Ok(reactor.run()?)
}
