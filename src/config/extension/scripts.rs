//! `use = "script"`: requests that a function in Lua handles.

use std::rc::Rc;

use medusa_http::extensions::Fixed;
use medusa_scripted::{Returns, ScriptExtension};

use super::{Around, Make};
use crate::config::problem::Problem;
use crate::config::script;
use crate::config::section::Section;

pub(super) fn script(section: &mut Section<'_>, around: &Around<'_>) -> Option<Make> {
    let place = script::script(section, Returns::Handler, around.trees)?;
    Some(Box::new(move |build| {
        let Some(script) = build.script(place) else {
            // Nothing is served: the configuration is only checked.
            let stand_in = Fixed::new(503, "text/plain", "");
            return Ok(Rc::new(stand_in.map_err(|e| Problem::new(0..0, e.to_string()))?));
        };
        Ok(ScriptExtension::new(script))
    }))
}
