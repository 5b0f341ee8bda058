//! The examples of docs/SCRIPTS.md do what the page says.

use std::cell::RefCell;
use std::rc::Rc;

use medusa_core::testing::Harness;
use medusa_script::{Budget, SharedTable, Store};

use super::{MEMORY, plan};
use crate::{Host, Returns, Script};

const PAGE: &str = include_str!("../../../../docs/SCRIPTS.md");

/// The blocks of Lua: what stands behind the word, and the text.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```lua") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((kind.trim().to_owned(), text.join("\n")));
        }
    }
    blocks
}

#[test]
fn the_examples_of_the_page_do_what_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let blocks = blocks();
    assert!(blocks.len() >= 10, "they are found");
    for (kind, text) in blocks {
        let mut h = Harness::new();
        let store = Store::new(&h.handle(), directory.path().join("store"), 1 << 20);
        let shared = SharedTable::default();
        let host = Host::new(&h.handle(), MEMORY, &shared, Some(&store)).expect("an engine");
        let returns = match &*kind {
            "handler" => Returns::Handler,
            "session" => Returns::Session,
            "tree" => Returns::Tree,
            _ => Returns::Anything,
        };
        if !kind.is_empty() {
            let plan = plan("page", &text, returns, Budget::HANDLER);
            let loaded = Rc::new(RefCell::new(None));
            let to = loaded.clone();
            let script = Script::new(&host, plan.clone());
            script.load(plan.source, move |result| drop(to.replace(Some(result))));
            assert_eq!(loaded.take(), Some(Ok(())), "{text}");
            continue;
        }
        let script = host.engine().load("page", text.as_bytes()).expect("it is Lua");
        let ended = Rc::new(RefCell::new(None));
        let to = ended.clone();
        host.engine().call(&script, &[], Budget::STATEMENT).then(move |outcome| {
            to.replace(Some(outcome));
        });
        while ended.borrow().is_none() {
            let wait = h.next_due().expect("something is due");
            h.advance(wait);
        }
        let outcome = ended.take().expect("it has ended");
        outcome.result.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let printed = String::from_utf8_lossy(&outcome.output).into_owned();
        let told: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once("--> ").map(|(_, told)| told.trim()))
            .collect();
        assert_eq!(printed.lines().collect::<Vec<_>>(), told, "{text}");
    }
}
