//! `use = "upload"`.

use std::rc::Rc;

use medusa_fs::Persona;
use medusa_http::{Upload, UploadOptions};

use super::{Around, Make};
use crate::config::kind::{Flag, Name, Number, Size};
use crate::config::problem::Problem;
use crate::config::section::Section;

/// Uploads at once that may be asked for.
const MAX_AT_ONCE: u64 = 4096;

pub(super) fn upload(section: &mut Section<'_>, around: &Around<'_>) -> Option<Make> {
    let defaults = UploadOptions::default();
    let named = Name { what: "a file tree", names: around.trees };
    let tree = section.needed("files", "The tree that is written to.", &named);
    let max_bytes = section.or(
        "max_body",
        "Bytes that the body of a request may have, a form's as a whole; past them the answer is \
         413.",
        &Size(0..=i64::MAX as u64),
        defaults.max_bytes,
    );
    let at_once = section.or(
        "at_once",
        "Uploads that are received at once; past them the answer is 503.",
        &Number(1..=MAX_AT_ONCE),
        defaults.at_once as u64,
    );
    let mut flag = |name, doc, default| section.or(name, doc, &Flag, default);
    let options = UploadOptions {
        max_bytes,
        at_once: at_once as usize,
        put: flag("put", "Whether PUT makes and replaces files.", defaults.put),
        delete: flag(
            "delete",
            "Whether DELETE removes files and empty directories.",
            defaults.delete,
        ),
        make_directories: flag(
            "make_directories",
            "Whether MKCOL makes directories.",
            defaults.make_directories,
        ),
        forms: flag("forms", "Whether forms may be posted to directories.", defaults.forms),
        replace_by_form: flag(
            "replace_by_form",
            "Whether a file from a form replaces one of the same name. If not the answer is 409.",
            defaults.replace_by_form,
        ),
        cross_site_forms: flag(
            "cross_site_forms",
            "Whether pages of other sites may post forms here, in the name of whoever looks at \
             them.",
            defaults.cross_site_forms,
        ),
        durable: flag(
            "durable",
            "Whether a file is on the disk, not just in its cache, when the client hears that it \
             is stored.",
            defaults.durable,
        ),
    };
    let (tree, place) = (tree?, section.place("files"));
    Some(Box::new(move |build| {
        let upload = Upload::new(build.tree(&tree), Persona::Process, options);
        Ok(Rc::new(upload.map_err(|e| Problem::new(place, e.to_string()))?))
    }))
}
