//! Names for what is on the loop's thread and cannot leave it, for whoever is on another thread.
//!
//! The one design choice: a name says nothing but a number, and what it names is looked up on the
//! loop's thread. So it may be held anywhere, and keeps nothing alive.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::rc::{Rc, Weak};

use crate::handle::Handle;

/// Names something on the loop's thread. [`crate::remote::Remote::call`] gives the handle that
/// finds it there.
pub struct Anchor<T> {
    number: u64,
    what: PhantomData<fn() -> T>,
}

impl<T> Clone for Anchor<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Anchor<T> {}

impl<T> fmt::Debug for Anchor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Anchor").field(&self.number).finish()
    }
}

/// What has names.
#[derive(Default)]
pub(crate) struct Anchored {
    last: u64,
    all: Vec<(u64, Weak<dyn Any>)>,
}

impl Handle {
    /// Gives something a name, which it has as long as it lives.
    pub fn anchor<T: 'static>(&self, what: &Rc<T>) -> Anchor<T> {
        let mut anchored = self.anchored().borrow_mut();
        anchored.all.retain(|(_, what)| what.strong_count() > 0);
        anchored.last += 1;
        let number = anchored.last;
        let what: Rc<dyn Any> = what.clone();
        anchored.all.push((number, Rc::downgrade(&what)));
        Anchor { number, what: PhantomData }
    }

    /// What has this name, if it is still there.
    pub fn anchored_at<T: 'static>(&self, anchor: Anchor<T>) -> Option<Rc<T>> {
        let anchored = self.anchored().borrow();
        let at = anchored.all.binary_search_by_key(&anchor.number, |(number, _)| *number).ok()?;
        anchored.all[at].1.upgrade()?.downcast().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use crate::testing::Harness;

    #[test]
    fn a_name_leads_to_what_it_names_as_long_as_that_lives() {
        let handle = Harness::new().handle();
        let (a, b) = (Rc::new(1), Rc::new(2));
        let (first, second) = (handle.anchor(&a), handle.anchor(&b));
        assert_eq!(handle.anchored_at(first), Some(a.clone()));
        drop(a);
        assert_eq!(handle.anchored_at(first), None);
        handle.anchor(&Rc::new(3));
        assert_eq!((handle.anchored_at(first), handle.anchored_at(second)), (None, Some(b)));
        let is_send = |_: &(dyn Send + Sync)| {};
        is_send(&second);
    }
}
