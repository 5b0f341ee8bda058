//! The ordered list of extensions of a host, which changes while requests walk through it.
//!
//! The one design choice: the list is replaced as a whole when it changes, and each request
//! holds the list it began with. So extensions come and go while requests are in flight, and
//! even from inside a request.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::extension::Extension;
use crate::figures::count;

/// The ordered list of extensions.
#[derive(Default)]
pub struct Extensions {
    /// All of them.
    all: RefCell<Vec<Rc<Plug>>>,
    /// Those that are not switched off, as requests see them.
    active: RefCell<Active>,
}

/// What a request walks through.
pub(crate) type Active = Rc<Vec<Rc<Plug>>>;

/// An extension in its place in the list.
pub(crate) struct Plug {
    pub(crate) extension: Rc<dyn Extension>,
    /// By which operators find it: no two in the list have the same.
    name: RefCell<Rc<str>>,
    is_off: Cell<bool>,
    pub(crate) figures: Figures,
}

/// What an extension did while it was in its place.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) requests: Cell<u64>,
    pub(crate) answered: Cell<u64>,
    pub(crate) errors: Cell<u64>,
}

impl Figures {
    #[inline]
    pub(crate) fn count_answer(&self, status: u16) {
        count(&self.answered);
        if status >= 500 {
            count(&self.errors);
        }
    }
}

impl Plug {
    pub(crate) fn new(extension: Rc<dyn Extension>) -> Rc<Self> {
        let name = RefCell::new(extension.name().into());
        Rc::new(Self { extension, name, is_off: Cell::default(), figures: Figures::default() })
    }

    pub(crate) fn name(&self) -> Rc<str> {
        self.name.borrow().clone()
    }

    pub(crate) fn is_off(&self) -> bool {
        self.is_off.get()
    }
}

/// The names in one list.
#[derive(Default)]
struct Names {
    taken: HashSet<Rc<str>>,
    /// The last number that a name was given.
    numbers: HashMap<String, usize>,
}

impl Names {
    /// Takes a name that nobody has: `files`, then `files-2`.
    fn take(&mut self, base: &str) -> Rc<str> {
        let mut name: Rc<str> = base.into();
        while !self.taken.insert(name.clone()) {
            let number = self.numbers.entry(base.to_owned()).or_insert(1);
            *number += 1;
            name = format!("{base}-{number}").into();
        }
        name
    }
}

impl Extensions {
    /// Makes a list of these.
    pub fn new(list: Vec<Rc<dyn Extension>>) -> Self {
        let mut names = Names::default();
        let all: Vec<_> = list.into_iter().map(Plug::new).collect();
        for plug in &all {
            plug.name.replace(names.take(plug.extension.name()));
        }
        let active = RefCell::new(Rc::new(all.clone()));
        Self { all: RefCell::new(all), active }
    }

    /// The list as it is now, with those that are switched off.
    pub fn list(&self) -> Vec<Rc<dyn Extension>> {
        self.all.borrow().iter().map(|plug| plug.extension.clone()).collect()
    }

    /// Inserts an extension before the one at `place`; past the end it comes last.
    pub fn insert(&self, place: usize, extension: Rc<dyn Extension>) {
        self.plug(place, Plug::new(extension));
    }

    /// Removes the first extension of this name. Requests that it has begun to answer go on.
    pub fn remove(&self, name: &str) -> Option<Rc<dyn Extension>> {
        let plug = self.first(name)?;
        self.unplug(&plug);
        Some(plug.extension.clone())
    }

    /// Moves the first extension of this name to `place`; says whether there is one.
    pub fn reorder(&self, name: &str, place: usize) -> bool {
        self.first(name).is_some_and(|plug| self.shift(&plug, place).is_some())
    }

    fn first(&self, name: &str) -> Option<Rc<Plug>> {
        self.all.borrow().iter().find(|plug| plug.extension.name() == name).cloned()
    }

    /// What a request walks through that begins now.
    #[inline]
    pub(crate) fn active(&self) -> Active {
        self.active.borrow().clone()
    }

    pub(crate) fn plugs(&self) -> Vec<Rc<Plug>> {
        self.all.borrow().clone()
    }

    /// The one that operators call so.
    pub(crate) fn find(&self, name: &str) -> Option<Rc<Plug>> {
        self.all.borrow().iter().find(|plug| *plug.name() == *name).cloned()
    }

    pub(crate) fn place_of(&self, plug: &Rc<Plug>) -> Option<usize> {
        self.all.borrow().iter().position(|other| Rc::ptr_eq(other, plug))
    }

    /// Puts it before the one at `place`, under a name that no other has: `files`, `files-2`.
    pub(crate) fn plug(&self, place: usize, plug: Rc<Plug>) {
        self.change(|all| {
            let mut names = Names::default();
            names.taken.extend(all.iter().map(|other| other.name()));
            plug.name.replace(names.take(plug.extension.name()));
            all.insert(place.min(all.len()), plug);
        });
    }

    /// Takes it out; gives the place where it was.
    pub(crate) fn unplug(&self, plug: &Rc<Plug>) -> Option<usize> {
        let place = self.place_of(plug)?;
        self.change(|all| all.remove(place));
        Some(place)
    }

    /// Moves it; gives the place where it was.
    pub(crate) fn shift(&self, plug: &Rc<Plug>, place: usize) -> Option<usize> {
        let before = self.place_of(plug)?;
        self.change(|all| {
            let plug = all.remove(before);
            all.insert(place.min(all.len()), plug);
        });
        Some(before)
    }

    /// Puts another in its place; says whether it was there.
    pub(crate) fn swap(&self, old: &Rc<Plug>, new: &Rc<Plug>) -> bool {
        let Some(place) = self.unplug(old) else { return false };
        self.plug(place, new.clone());
        true
    }

    /// Switches it off, or on again; gives what it was.
    pub(crate) fn switch(&self, plug: &Rc<Plug>, off: bool) -> bool {
        let was = plug.is_off.replace(off);
        self.change(|_| ());
        was
    }

    /// What is dropped here is dropped when nothing is borrowed any more: extensions may do
    /// anything then.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Rc<Plug>>) -> T) -> T {
        let mut all = self.all.borrow().clone();
        let result = change(&mut all);
        let active = all.iter().filter(|plug| !plug.is_off()).cloned().collect();
        let before = (self.all.replace(all), self.active.replace(Rc::new(active)));
        drop(before);
        result
    }
}
