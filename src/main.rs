//! The binary: command line, building the servers from it, signals.
//!
//! What it prints is a contract: for each listener one line `listening PROTOCOL ADDRESS` on
//! standard output, then `ready`; logs on standard error; exit status 2 for wrong usage.

#![forbid(unsafe_code)]

mod command;
mod life;
mod log;
mod passwd;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = command::with_default(std::env::args_os());
    let command = command::Medusa::parse_from(arguments);
    let done = match &command.command {
        command::Command::Serve(options) => serve::serve(options),
        command::Command::Passwd(options) => passwd::passwd(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("medusa: {failure}");
            ExitCode::from(failure.status())
        }
    }
}
