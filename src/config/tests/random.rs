//! Configurations at random: what is printed of them is read as the same.

use std::path::Path;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{load_text, place};
use crate::config::kind::{Kind, Size, Time, quoted};
use crate::config::value::{Data, Value};

/// Any of these keys, each with a value of its own.
fn keys(all: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let lines: Vec<_> = all
        .into_iter()
        .map(|(name, value)| {
            option::of(value.prop_map(move |value| format!("{name} = {value}\n")))
                .prop_map(Option::unwrap_or_default)
        })
        .collect();
    lines.prop_map(|lines| lines.concat()).boxed()
}

fn number(from: u64, to: u64) -> BoxedStrategy<String> {
    (from..=to).prop_map(|n| n.to_string()).boxed()
}

fn flag() -> BoxedStrategy<String> {
    any::<bool>().prop_map(|flag| flag.to_string()).boxed()
}

fn word(words: &'static [&'static str]) -> BoxedStrategy<String> {
    proptest::sample::select(words).prop_map(quoted).boxed()
}

fn time() -> BoxedStrategy<String> {
    prop_oneof![
        (1000..100_000_u64).prop_map(|n| format!("\"{n}ms\"")),
        (1..100_u64).prop_map(|n| format!("\"{n} s\"")),
        (1..24_u64).prop_map(|n| format!("'{n}h'")),
    ]
    .boxed()
}

fn size() -> BoxedStrategy<String> {
    prop_oneof![
        (1 << 16..1_u64 << 40).prop_map(|n| n.to_string()),
        (64..1 << 20_u64).prop_map(|n| format!("\"{n} KiB\"")),
        (1..1 << 10_u64).prop_map(|n| format!("'{n}GiB'")),
    ]
    .boxed()
}

fn host() -> BoxedStrategy<String> {
    let extension = extension();
    (any::<u32>(), extension)
        .prop_map(|(n, extension)| {
            let names = format!("names = [\"h{n}.example\", \"*.h{n}.example\"]\n");
            format!("[[server.host]]\n{names}[[server.host.extension]]\n{extension}")
        })
        .boxed()
}

fn extension() -> BoxedStrategy<String> {
    let options = keys(vec![
        ("index", word(&["index.html", "ü \"quoted\" \\ \t"])),
        ("archives", flag()),
        ("upload", flag()),
        ("coded_cache", size()),
        ("charset", word(&["", "latin1"])),
        ("listings", flag()),
        ("cache", size()),
        ("listing_memory", size()),
    ]);
    let tree = proptest::sample::select(&["site", "\u{1f980} odd", "all"][..]);
    (tree, options)
        .prop_map(|(tree, options)| format!("use = \"files\"\nfiles = {}\n{options}", quoted(tree)))
        .boxed()
}

fn server() -> BoxedStrategy<String> {
    let own = keys(vec![
        ("backlog", number(1, 65_535)),
        ("socket_mode", word(&["0600", "660", "7"])),
        ("unknown_host", word(&["default", "refuse"])),
    ]);
    let limits = keys(vec![
        ("head_timeout", time()),
        ("body_timeout", time()),
        ("keep_alive", time()),
        ("stall", time()),
        ("pipeline_depth", number(1, 1024)),
        ("max_body", size()),
    ]);
    (own, limits, vec(extension(), 1..3), vec(host(), 0..3))
        .prop_map(|(own, limits, extensions, hosts)| {
            let listen = "listen = ['127.0.0.1:0', \"unix:a b/ü\"]";
            let extensions: Vec<_> =
                extensions.iter().map(|e| format!("[[server.extension]]\n{e}")).collect();
            format!(
                "[[server]]\nprotocol = \"http\"\n{listen}\n{own}[server.limits]\n{limits}{}{}",
                extensions.concat(),
                hosts.concat()
            )
        })
        .boxed()
}

fn configuration() -> BoxedStrategy<String> {
    let process = keys(vec![("max_connections", number(1, 100_000)), ("shutdown_grace", time())]);
    let log = keys(vec![("level", word(&["off", "error", "warn", "info", "debug", "trace"]))]);
    let tree =
        || keys(vec![("writable", flag()), ("show_hidden", flag()), ("show_backups", flag())]);
    (process, log, tree(), size(), tree(), server())
        .prop_map(|(process, log, site, memory, odd, server)| {
            format!(
                "[process]\n{process}[log]\n{log}[files.site]\npath = \"public\"\n{site}\
                 [files.\"\u{1f980} odd\"]\nmemory = {memory}\n{odd}[files.all]\nlayers = \
                 [\"\u{1f980} odd\", \"site\"]\n[[files.all.mount]]\nat = \"/a b/ü\"\nfiles = \
                 \"site\"\n{server}"
            )
        })
        .boxed()
}

proptest! {
    #[test]
    fn what_is_shown_is_read_as_the_same(text in configuration()) {
        let place = place();
        let first = load_text(place.path(), &text).map_err(TestCaseError::fail)?;
        let shown = first.shown();
        // From another directory, where relative paths would lead nowhere.
        let elsewhere = tempfile::tempdir().expect("a directory");
        let again = load_text(elsewhere.path(), &shown).map_err(TestCaseError::fail)?;
        prop_assert_eq!(again.record.configuration(), first.record.configuration());
    }

    #[test]
    fn sizes_and_times_are_written_as_they_are_read(n in any::<u64>()) {
        let size = Size(0..=u64::MAX);
        let text = size.write(&n);
        let value = Value::from(text.trim_matches('"'));
        prop_assert_eq!(size.read(&value, Path::new("")).map_err(|_| n), Ok(n));
        let kind = Time(Duration::ZERO..=Duration::MAX);
        let time = Duration::from_millis(n);
        let text = kind.write(&time);
        let value = Value::from(text.trim_matches('"'));
        prop_assert_eq!(kind.read(&value, Path::new("")).map_err(|_| time), Ok(time));
    }

    #[test]
    fn any_text_is_quoted_so_that_it_is_read_as_it_was(text in any::<String>()) {
        let mut problems = crate::config::Problems::default();
        let table = crate::config::value::parse(&format!("k = {}\n", quoted(&text)), &mut problems)
            .ok_or_else(|| TestCaseError::fail(problems.show(None)))?;
        let Data::Text(read) = &table.entries[0].value.data else { panic!("it is a text") };
        prop_assert_eq!(read, &text);
    }

    #[test]
    fn nothing_that_is_read_panics(text in "[a-z\\[\\]=\"'.{}#\n 0-9ü\t-]{0,80}") {
        let place = place();
        drop(load_text(place.path(), &text));
    }
}
