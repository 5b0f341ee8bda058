//! Confines the server to the parts of the file system that its configuration names.

use std::io;
use std::path::PathBuf;

use medusa_core::Address;
use medusa_core::sys::confinement::{Confined, Places, confine as restrict};
use medusa_core::sys::privileges::threads;

use super::upgrade::Launch;
use super::{Confine, LifeOptions, directory_of};
use crate::serve::Failure;

/// What the system's own libraries read: accounts, the resolver, the time zone, media types. These
/// are directories because files in them are replaced; of `/proc` the next process needs its own.
const SYSTEM: [&str; 8] = [
    "/etc",
    "/usr/share/zoneinfo",
    "/usr/share/mime",
    "/usr/local/share/mime",
    "/run/systemd/resolve",
    "/dev/urandom",
    "/proc",
    "/sys/fs/cgroup",
];

/// Devices that are written too.
const DEVICES: [&str; 1] = ["/dev/null"];

/// Where the libraries are that the program needs when it is started anew.
const LIBRARIES: [&str; 8] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
];

/// What the configuration needs of the file system.
#[derive(Debug, Default)]
pub(crate) struct Reach(Places);

impl Reach {
    /// A directory that is served, or a file that is read.
    pub(crate) fn read(&mut self, path: impl Into<PathBuf>) {
        self.0.read.push(path.into());
    }

    /// A directory that is written too: a tree that allows it, one that logs are in.
    pub(crate) fn write(&mut self, path: impl Into<PathBuf>) {
        self.0.write.push(path.into());
    }

    /// A program that is started, or a directory of programs.
    pub(crate) fn execute(&mut self, path: impl Into<PathBuf>) {
        self.0.execute.push(path.into());
    }

    /// An address that is listened on.
    pub(crate) fn listen(&mut self, address: &Address) {
        if let Address::Unix(path) = address {
            self.0.sockets.push(directory_of(path));
        }
    }
}

/// Confines the process; says whether it is confined now.
pub(super) fn confine(
    options: &LifeOptions,
    reach: Reach,
    launch: &Launch,
    already: bool,
) -> Result<bool, Failure> {
    if already {
        // Each confinement is a layer on the one before, and the kernel has a limit of layers.
        if options.confine == Confine::Off {
            tracing::warn!("the server stays confined as it was before the upgrade; restart it");
        }
        return Ok(true);
    }
    if options.confine == Confine::Off {
        return Ok(false);
    }
    let mut places = reach.0;
    places.read.extend(SYSTEM.map(PathBuf::from));
    places.write.extend(DEVICES.map(PathBuf::from));
    places.execute.extend(LIBRARIES.map(PathBuf::from));
    places.execute.push(launch.directory());
    let alone = threads().is_none_or(|threads| threads == 1);
    let outcome = if alone {
        restrict(&places)
    } else {
        Err(io::Error::other("a thread was started too early, which would not be confined"))
    };
    let why = match outcome {
        Ok(Confined::Fully) => return Ok(true),
        Ok(Confined::Partly) => {
            tracing::info!("the kernel is old: it confines the server, but not in all ways");
            return Ok(true);
        }
        Ok(Confined::Not) => "the kernel has no Landlock".to_owned(),
        Err(e) => e.to_string(),
    };
    if options.confine == Confine::Require {
        return Err(Failure::Usage(format!(
            "cannot confine the server: {why}; --confine auto serves without"
        )));
    }
    tracing::info!("the server is not confined to its directories: {why}");
    Ok(false)
}
