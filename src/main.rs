//! The binary: command line and configuration, building the servers from it, signals.
//!
//! What it prints is a contract: for each listener one line `listening PROTOCOL ADDRESS` on
//! standard output, then `ready`; logs on standard error; exit status 2 for wrong usage.

#![forbid(unsafe_code)]

mod command;
mod config;
mod console;
mod control;
mod life;
mod log;
mod monitor;
mod passwd;
mod reload;
mod serve;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use medusa_console::End;
use medusa_http::Coder;
use medusa_log::Logs;

use crate::command::{Command, Medusa};
use crate::config::Source;
use crate::serve::Failure;

fn main() -> ExitCode {
    let arguments = command::with_default(std::env::args_os());
    let result = match Medusa::parse_from(arguments).command {
        Command::Serve(options) => serve::serve(options.source()),
        Command::Check { config } => check(Source::File(config)),
        Command::Config(options) if options.reference => print(config::reference().as_bytes()),
        Command::Config(options) => show(&options.serve.source()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Medusa::command(), "medusa", &mut script);
            print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Medusa::command()).render(&mut page);
            rendered.expect("a vector takes everything");
            print(&page)
        }
        Command::Passwd(options) => passwd::passwd(&options),
        Command::Console(options) => match console::console(options) {
            Ok(End::Fine) => Ok(()),
            // The statement's error has been told.
            Ok(End::Failed) => return ExitCode::FAILURE,
            Err(failure) => Err(failure),
        },
        Command::AskPam => medusa_auth::pam::answer(io::stdin(), io::stdout())
            .map_err(|e| Failure::System(format!("cannot answer: {e}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("medusa: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn check(source: Source) -> Result<(), Failure> {
    let loaded = config::load(&source, None, false).map_err(Failure::Usage)?;
    // What is no mistake, and yet may not be what was meant.
    let logs = Logs::new().map_err(|e| Failure::System(format!("cannot log: {e}")))?;
    log::set_warnings(&logs).map_err(|e| Failure::System(e.to_string()))?;
    let text = loaded.text;
    let coder = Coder::new(loaded.config.coding.clone());
    let build = config::Build {
        trees: &loaded.trees,
        logs: None,
        access: None,
        transfers: None,
        coder,
        station: config::station(),
        scripts: &[],
        scripting: None,
        resolver: None,
    };
    let summary = loaded.config.summary();
    let mut plans = loaded.config.servers;
    plans.extend(loaded.config.monitor.server(None));
    config::build(plans, &build).map_err(|problem| Failure::Usage(text.show_one(problem)))?;
    logs.finish();
    let Source::File(name) = source else { return Ok(()) };
    print(format!("{}: ok: {summary}\n", name.display()).as_bytes())
}

fn show(source: &Source) -> Result<(), Failure> {
    let loaded = config::load(source, None, false).map_err(Failure::Usage)?;
    print(loaded.shown().as_bytes())
}

/// Prints on standard output; nobody need be reading.
fn print(output: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(output) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::System(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}
