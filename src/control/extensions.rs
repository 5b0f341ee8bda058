//! Makes the extensions that operators plug into HTTP servers.
//!
//! The one design choice: a text is read on a helper thread, as the file is, since it may name
//! files; the extension is made on the loop, with the trees and the coder of what runs then.

use std::rc::Weak;

use medusa_http::{Made, Maker};

use crate::config::extension::plugged;
use crate::reload::Running;

/// Makes extensions for the servers that run.
pub(crate) struct Plugging(pub(crate) Weak<Running>);

impl Maker for Plugging {
    fn make(&self, text: &str, made: Made) {
        let Some(running) = self.0.upgrade() else {
            return made(Err("the server stops".to_owned()));
        };
        let (text, base) = (text.to_owned(), running.source().base());
        let trees = running.trees().names();
        running.handle().clone().run(
            move || plugged::read(text, &base, trees),
            move |read| match read {
                Ok(Ok(written)) => running.make(written, made),
                Ok(Err(why)) => made(Err(why)),
                Err(lost) => made(Err(format!("the text cannot be read: {lost}"))),
            },
        );
    }
}
