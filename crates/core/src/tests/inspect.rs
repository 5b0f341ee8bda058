//! The inspection tree: looking, listing, acting, undoing, and who may.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::Handle;
use crate::inspect::{Action, Answer, Inspect, Level, Node, Outcome, Page, Query, Value};
use crate::limits::{LISTED_A_TURN, NAMED_CHILDREN};
use crate::testing::{Harness, Script};

/// A part with a number that can be set, and one action for each way to end.
struct Part {
    handle: Handle,
    number: Rc<Cell<u64>>,
    kept: RefCell<Option<Answer>>,
}

const ACTIONS: &[Action] = &[
    Action::new(Level::Operate, "set", "NUMBER", "Sets the number.").undoable(),
    Action::new(Level::All, "later", "[SECONDS]", "Ends when a second has passed."),
    Action::new(Level::All, "lose", "", "Loses its answer."),
    Action::new(Level::All, "keep", "", "Never answers."),
    Action::new(Level::All, "panic", "", "Is at fault."),
];

impl Inspect for Part {
    fn node(&self) -> Node {
        let children = (0..self.number.get()).map(|n| n.to_string()).collect();
        let notes = &[("number", "A number.")];
        let node = Node::new("part").about("A part.", notes);
        Node { children, ..node }.field("number", Value::Count(self.number.get()))
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let number = name.parse().ok().filter(|n| *n < self.number.get())?;
        Some(part(&self.handle, number))
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        match action {
            "set" => {
                let Ok(number) = arguments[0].parse() else {
                    return answer.refused("that is no number");
                };
                let (shared, before) = (self.number.clone(), self.number.replace(number));
                answer.undoable("set", move || {
                    shared.set(before);
                    Ok("set back".to_owned())
                });
            }
            "later" => {
                self.handle.timer(Duration::from_secs(1), |_| answer.done("a second has passed"));
            }
            "keep" => drop(self.kept.replace(Some(answer))),
            "panic" => std::panic::resume_unwind(Box::new(())),
            _ => {}
        }
    }
}

fn part(handle: &Handle, number: u64) -> Rc<Part> {
    let number = Rc::new(Cell::new(number));
    Rc::new(Part { handle: handle.clone(), number, kept: RefCell::default() })
}

/// A loop with a part of this number below it.
fn with_part(number: u64) -> (Harness, Rc<Part>) {
    let h = Harness::new();
    let part = part(&h.handle(), number);
    h.handle().mount("part", part.clone());
    (h, part)
}

fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused(why) | Outcome::Missing(why) => why,
        other => panic!("{other:?}"),
    }
}

fn page(outcome: Outcome) -> Page {
    match outcome {
        Outcome::List(page) => page,
        other => panic!("{other:?}"),
    }
}

fn names(page: &Page) -> Vec<&str> {
    page.list.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_node_says_what_it_is_and_what_can_be_done_with_it() {
    let (mut h, _) = with_part(2);
    let Outcome::Node(node) = h.inspect("part") else { panic!("it is mounted") };
    assert_eq!((node.about, node.actions), ("A part.", ACTIONS));
    assert_eq!((node.note("number"), node.note("other")), (Some("A number."), None));
    assert_eq!(refused(h.inspect("part/1/7")), "there is no `7` in part/1");
    assert_eq!(refused(h.inspect("nothing")), "there is no `nothing`");
}

#[test]
fn what_the_loop_shows_of_itself_is_explained() {
    let mut h = Harness::new();
    let peer = h.open(Script::new().boxed());
    for path in ["reactor", "process", "reactor/slowest turns", "channels", &peer.path()] {
        let Outcome::Node(node) = h.inspect(path) else { panic!("{path} is there") };
        assert!(!node.about.is_empty(), "{path}");
        for (field, _) in &node.fields {
            assert!(node.note(field).is_some(), "{path}: {field}");
        }
        for (field, _) in &*node.notes {
            assert!(node.value(field).is_some(), "{path}: {field}");
        }
    }
}

#[test]
fn an_action_that_is_not_there_or_does_not_fit_or_is_not_allowed_is_refused() {
    let (mut h, part) = with_part(2);
    let why = refused(h.act("part", "frob", &[]));
    assert!(why.contains("`frob`") && why.contains("set NUMBER, later [SECONDS]"), "{why}");
    let why = refused(h.act("", "frob", &[]));
    assert!(why.contains("nothing can be done here"), "{why}");
    for wrong in [&[][..], &["1", "2"]] {
        let why = refused(h.act("part", "set", wrong));
        assert!(why.contains(&wrong.len().to_string()) && why.contains("set NUMBER"), "{why}");
    }
    let set = |number: &str, level| Query::act("part", "set", &[number]).by(level);
    let why = refused(h.ask(set("3", Level::Look)));
    assert!(why.contains("`operate`") && why.contains("`look`"), "{why}");
    assert_eq!(part.number.get(), 2);
    assert!(matches!(h.ask(set("3", Level::Operate)), Outcome::Done(_)));
    assert!(matches!(h.ask(set("4", Level::All)), Outcome::Done(_)));
    assert_eq!(part.number.get(), 4);
    assert!(matches!(h.ask(Query::look("part").by(Level::Look)), Outcome::Node(_)));
}

#[test]
fn what_was_done_can_be_undone_by_what_came_with_the_answer() {
    let (mut h, part) = with_part(2);
    let Outcome::Done(done) = h.act("part", "set", &["7"]) else { panic!("it is done") };
    assert_eq!((done.said.as_str(), part.number.get()), ("set", 7));
    assert_eq!(done.undo.expect("it can be undone").run(), Ok("set back".to_owned()));
    assert_eq!(part.number.get(), 2);
}

#[test]
fn an_action_may_end_later() {
    let (mut h, _) = with_part(0);
    let heard = Rc::new(RefCell::new(None));
    let answer = heard.clone();
    let query = Query::act("part", "later", &[]);
    h.handle().inspect(query, move |outcome| drop(answer.replace(Some(outcome))));
    h.run();
    assert!(heard.borrow().is_none());
    h.advance(Duration::from_secs(2));
    assert!(matches!(heard.take(), Some(Outcome::Done(done)) if done.undo.is_none()));
}

#[test]
fn an_action_that_loses_its_answer_has_refused() {
    let (mut h, part) = with_part(0);
    h.allow_panics();
    for action in ["lose", "panic"] {
        let heard = Rc::new(RefCell::new(None));
        let answer = heard.clone();
        let query = Query::act("part", action, &[]);
        h.handle().inspect(query, move |outcome| drop(answer.replace(Some(outcome))));
        h.run();
        assert!(matches!(heard.take(), Some(Outcome::Refused(_))), "{action}");
    }
    // Kept for as long as it likes, also when nobody hears it any more.
    h.handle().inspect(Query::act("part", "keep", &[]), |_| {});
    h.run();
    part.kept.take().expect("kept").done("at last");
    h.run();
}

#[test]
fn pausing_a_channel_is_undone_to_what_was_before() {
    let mut h = Harness::new();
    let peer = h.open(Script::new().boxed());
    let state = |h: &mut Harness| match h.inspect(&peer.path()) {
        Outcome::Node(node) => node.value("state").cloned(),
        other => panic!("{other:?}"),
    };
    let is = |word: &str| Some(Value::Text(word.to_owned()));
    let mut undo = Vec::new();
    for action in ["pause", "pause", "resume"] {
        let Outcome::Done(done) = h.act(&peer.path(), action, &[]) else { panic!("it is open") };
        undo.extend(done.undo);
    }
    assert_eq!(state(&mut h), is("open"));
    for word in ["paused", "paused", "open"] {
        undo.pop().expect("one for each").run().expect("it can be undone");
        h.run();
        assert_eq!(state(&mut h), is(word));
    }
    let Outcome::Done(done) = h.act(&peer.path(), "close", &[]) else { panic!("it is open") };
    assert!(done.undo.is_none() && done.said.contains("cannot be undone"));
}

#[test]
fn lists_have_pages() {
    let (mut h, part) = with_part(5);
    let first = page(h.ask(Query::list("part").at_most(2)));
    assert_eq!((names(&first), first.next.as_deref()), (vec!["0", "1"], Some("2")));
    assert_eq!(first.list[1].1.value("number"), Some(&Value::Count(1)));
    assert_eq!(first.list[1].1.actions, ACTIONS);
    let last = page(h.ask(Query::list("part").from("2")));
    assert_eq!((names(&last), &last.next), (vec!["2", "3", "4"], &None));
    part.number.set(1);
    let why = refused(h.ask(Query::list("part").from("2")));
    assert!(why.contains("`2`") && why.contains("from the beginning"), "{why}");
    let root = page(h.ask(Query::list("")));
    assert_eq!(names(&root), ["reactor", "process", "channels", "part"]);
    let none = page(h.ask(Query::list("part/0")));
    assert_eq!(none, Page::default());
}

#[test]
fn many_channels_are_listed_by_and_by() {
    let mut h = Harness::new();
    let mut peers: Vec<_> =
        (0..NAMED_CHILDREN + 10).map(|_| h.open(Script::new().boxed())).collect();
    let Outcome::Node(node) = h.inspect("channels") else { panic!("it is there") };
    assert_eq!((node.children.len(), node.more), (NAMED_CHILDREN, true));
    let first = page(h.ask(Query::list("channels")));
    assert_eq!(first.list.len(), LISTED_A_TURN);
    // The one to go on from ends; those behind it are listed all the same.
    let next = first.next.expect("there are more");
    let gone = peers.iter().position(|peer| peer.path() == format!("channels/{next}"));
    h.act(&peers.remove(gone.expect("it is open")).path(), "close", &[]);
    let (mut seen, mut from) = (first.list.len(), Some(next));
    while let Some(name) = from {
        h.turn();
        let page = page(h.ask(Query::list("channels").from(&name)));
        seen += page.list.len();
        from = page.next;
    }
    assert_eq!(seen, peers.len());
    assert!(refused(h.ask(Query::list("channels").from("x"))).contains("from the beginning"));
}

#[test]
fn what_a_turn_lists_is_bounded() {
    let (mut h, _) = with_part(1000);
    let heard = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let heard = heard.clone();
        h.handle().inspect(Query::list("part"), move |outcome| {
            heard.set(heard.get() + page(outcome).list.len());
        });
    }
    for turn in 1..=3 {
        assert!(h.turn() || turn == 3);
        assert_eq!(heard.get(), turn * LISTED_A_TURN);
    }
}
