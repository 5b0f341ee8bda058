//! Who may log in: `[server.anonymous]`.

use std::rc::Rc;

use medusa_fs::Persona;
use medusa_ftp::{Anonymous, Authorizer, Permissions};

use crate::config::build::Build;
use crate::config::kind::{Name, Parsed};
use crate::config::section::Section;

/// The letters of what may be done.
fn permissions() -> Parsed<Permissions> {
    Parsed {
        what: "letters of what may be done: e enter directories, l list, r retrieve, a append, \
               d delete, f rename, m make directories, w store, M change modes, T change times",
        parse: str::parse,
        write: Permissions::to_string,
    }
}

/// Anonymous users as the configuration has them.
pub(super) struct AnonymousPlan {
    files: String,
    permissions: Permissions,
}

impl AnonymousPlan {
    pub(super) fn build(self, build: &Build<'_>) -> Rc<dyn Authorizer> {
        let tree = build.tree(&self.files);
        Rc::new(Anonymous::with(tree, Persona::Process, self.permissions))
    }
}

/// Reads `[server.anonymous]`.
pub(super) fn anonymous(section: &mut Section<'_>, trees: &[String]) -> Option<AnonymousPlan> {
    let named = Name { what: "a file tree", names: trees };
    let files = section.needed("files", "The tree that they see.", &named);
    let permissions =
        section.or("permissions", "What they may do there.", &permissions(), Permissions::READ);
    Some(AnonymousPlan { files: files?, permissions })
}
