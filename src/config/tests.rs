//! Configurations as people write them, right and wrong.

mod ftp;
mod mistakes;
mod random;

use std::fs;
use std::path::Path;

use medusa_core::Address;
use medusa_core::sys::privileges::Keep;

use super::*;
use crate::command::{Diagnostics, LogFormat, LogLevel};

/// A directory with what the configurations below name.
pub(super) fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    for name in ["public", "other"] {
        fs::create_dir(place.path().join(name)).expect("it is made");
    }
    fs::write(place.path().join("public/f"), "content").expect("it is written");
    place
}

/// Loads this text as a file there.
pub(super) fn load_text(place: &Path, text: &str) -> Result<Loaded, String> {
    let file = place.join("m.toml");
    fs::write(&file, text).expect("it is written");
    load(&Source::File(file), None, false)
}

/// A server for trees that nothing else uses.
pub(super) const SERVER: &str = "[files.x]\nmemory = 1\n[[server]]\nprotocol = \"http\"\n\
                                 listen = \"127.0.0.1:0\"\n[[server.extension]]\nuse = \
                                 \"files\"\nfiles = \"x\"\n";

#[test]
fn paths_are_relative_to_the_file() {
    let place = place();
    let text = format!(
        "[files.site]\npath = \"public\"\n{}",
        SERVER.replace("127.0.0.1:0", "unix:run/http.sock")
    );
    let loaded = load_text(place.path(), &text).expect("it is right");
    let Address::Unix(path) = &loaded.config.servers[0].listen[0].address else { panic!() };
    assert_eq!(*path, place.path().join("run/http.sock"));
}

#[test]
fn what_is_shown_of_the_flags_is_a_file_that_says_the_same() {
    let place = place();
    let flags = Serve {
        directory: place.path().join("public"),
        config: None,
        http: vec![":0".parse().expect("an address"), "unix:/a b".parse().expect("an address")],
        ftp: vec![":2121".parse().expect("an address")],
        no_ftp: false,
        write: true,
        monitor: vec!["unix:/m".parse().expect("an address")],
        no_monitor: false,
        operators: Some("operators".into()),
        max_connections: Some(7),
        log_level: LogLevel::Warn,
        access_log: Some("syslog:127.0.0.1:514".to_owned()),
        log_format: LogFormat::Json,
        log_rotate: None,
        diagnostics: Diagnostics::Human,
        life: LifeOptions {
            user: Some("nobody".to_owned()),
            group: None,
            confine: Confine::Require,
            allow_new_privileges: true,
            upgrade_timeout: 7,
            keep: Keep::Nothing,
            drain_timeout: 0,
        },
    };
    let loaded = load(&Source::Flags(Box::new(flags)), None, false).expect("it is right");
    assert_eq!(loaded.config.process.max_connections, Some(7));
    assert_eq!(loaded.config.log.level, LogLevel::Warn);
    assert_eq!(loaded.config.summary(), "2 servers, 3 listeners, 1 file tree");
    let again = load_text(place.path(), &loaded.shown()).expect("it is right");
    assert_eq!(again.record.configuration(), loaded.record.configuration());
}

#[test]
fn what_is_shown_of_a_field_that_is_removed_is_read_again() {
    let place = place();
    let removed = "[[server.extension]]\nuse = \"header\"\n[[server.extension.change]]\n\
                   name = \"ETag\"\nhow = \"remove\"\n";
    let loaded = load_text(place.path(), &format!("{SERVER}{removed}")).expect("it is right");
    let again = load_text(place.path(), &loaded.shown()).expect("it is right");
    assert_eq!(again.record.configuration(), loaded.record.configuration());
}

#[test]
fn trees_that_stay_the_same_are_used_again() {
    let place = place();
    let trees = "[files.site]\npath = \"public\"\n[files.scratch]\nmemory = \"1 MiB\"\n\
                 writable = true\n[files.all]\nlayers = [\"scratch\", \"site\"]\n";
    let text = format!("{trees}{SERVER}");
    let first = load_text(place.path(), &text).expect("it is right");
    let again = |text: &str| {
        fs::write(place.path().join("m.toml"), text).expect("it is written");
        load(&Source::File(place.path().join("m.toml")), Some(&first.trees), false)
            .expect("it is right")
    };
    let kept = |loaded: &Loaded| {
        ["site", "scratch", "all"]
            .map(|name| std::sync::Arc::ptr_eq(&first.trees.tree(name), &loaded.trees.tree(name)))
    };
    assert_eq!(kept(&again(&format!("# moved\n\n{text}"))), [true; 3]);
    assert_eq!(kept(&again(&text.replace("1 MiB", "2 MiB"))), [true, false, false]);
    assert_eq!(kept(&again(&text.replace("public", "other"))), [false, true, false]);
    // The path leads elsewhere now, as it does where versions are switched by a link.
    fs::rename(place.path().join("public"), place.path().join("old")).expect("it is renamed");
    fs::create_dir(place.path().join("public")).expect("it is made");
    assert_eq!(kept(&again(&text)), [false, true, false]);
}

#[test]
fn the_example_is_right() {
    let place = place();
    let example = include_str!("../../dist/medusa.toml");
    let text = example.replace("/srv/www", "public").replace("/run/medusa", "run");
    assert_ne!(text, example);
    assert_eq!(
        load_text(place.path(), &text).map(|loaded| loaded.config.summary()),
        Ok("1 server, 2 listeners, 1 file tree".to_owned())
    );
    // What is commented out has no space behind its mark.
    fs::write(place.path().join("ftp.passwd"), "").expect("it is written");
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let all: Vec<_> = text.replace("/srv/incoming", "other").lines().map(bare).collect();
    assert_eq!(
        load_text(place.path(), &all.join("\n")).map(|loaded| loaded.config.summary()),
        Ok("2 servers, 3 listeners, 2 file trees".to_owned())
    );
}

#[test]
fn the_reference_page_is_what_the_program_prints() {
    let page = include_str!("../../docs/CONFIGURATION.md");
    assert!(
        page == reference(),
        "docs/CONFIGURATION.md is out of date: cargo run -- config --reference > \
         docs/CONFIGURATION.md"
    );
}
