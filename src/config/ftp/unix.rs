//! Users of the system: `[server.unix_users]`.

use std::path::PathBuf;
use std::rc::Rc;

use medusa_auth::pam::{Pam, USUAL_SERVICES, has_service};
use medusa_auth::{SystemSettings, SystemUsers};
use medusa_core::sys::privileges::Keep;
use medusa_ftp::{Authorizer, Permissions, UnixOptions, UnixUsers};

use crate::config::Span;
use crate::config::ftp::users::{Shares, permissions, shares};
use crate::config::kind::{FilePath, Flag, List, Mode, Number, Text};
use crate::config::problem::Problem;
use crate::config::section::Section;

/// Places where homes may be.
const MAX_HOMES: usize = 64;

/// Where homes are unless told otherwise.
const HOMES: &str = "/home";

/// This program, also when another file has taken its place.
const ITSELF: &str = "/proc/self/exe";

/// What modules of PAM start to read the hashes of passwords.
const HELPERS: [&str; 2] = ["/usr/sbin/unix_chkpwd", "/sbin/unix_chkpwd"];

/// What modules of PAM write: failed logins.
const NOTES: &str = "/run/faillock";

/// Users of the system as the configuration has them.
pub(super) struct UnixPlan {
    options: UnixOptions,
    settings: SystemSettings,
    service: Asked,
    /// Where it is said.
    place: Span,
}

/// Who is asked about passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// PAM, if there is one of the usual services.
    Auto,
    /// The file of hashes.
    Never,
    /// PAM, by this service.
    Service(String),
}

impl UnixPlan {
    pub(super) fn build(self) -> Result<Rc<dyn Authorizer>, Problem> {
        let service = match self.service {
            Asked::Never => None,
            Asked::Auto => {
                let mut usual = USUAL_SERVICES.into_iter();
                usual.find(|name| has_service(name)).map(str::to_owned)
            }
            Asked::Service(name) if has_service(&name) => Some(name),
            Asked::Service(name) => {
                let what = format!("PAM has no service `{}` here", name.escape_debug());
                let help = "it needs libpam.so.0 and a file of that name in /etc/pam.d; \
                            pam = \"never\" reads /etc/shadow instead";
                return Err(Problem::new(self.place, what).help(help));
            }
        };
        let pam = service.map(|service| Pam {
            program: ITSELF.into(),
            arguments: vec!["ask-pam".into()],
            service,
        });
        let users = SystemUsers::new(SystemSettings { pam, ..self.settings });
        let users = UnixUsers::new(users, self.options).map_err(|e| {
            let what = format!("the files of the machine cannot be served: {e}");
            let help = "restart the server: it is confined to the directories that it was started \
                        with; or set `confine`";
            Problem::new(self.place, what).help(help)
        })?;
        Ok(Rc::new(users))
    }
}

/// Reads `[server.unix_users]`.
pub(super) fn unix(section: &mut Section<'_>) -> UnixPlan {
    let settings = SystemSettings::default();
    let confine = section.or(
        "confine",
        "Whether users see nothing but their home directory, which is then the root. If not they \
         begin there, and see what the system lets them.",
        &Flag,
        true,
    );
    let homes = section.or(
        "homes",
        "Where home directories are. A server that is confined to its directories reaches no \
         others; unless `confine` is set it reaches all.",
        &List(FilePath, 1..=MAX_HOMES),
        vec![PathBuf::from(HOMES)],
    );
    let permissions = section.or(
        "permissions",
        "What they may do, within what the system lets them.",
        &permissions(),
        Permissions::ALL,
    );
    let min_uid = section.or(
        "min_uid",
        "Users with lower ids may not log in; root never may, nor may the names in /etc/ftpusers.",
        &Number(1..=u64::from(u32::MAX)),
        u64::from(settings.min_uid),
    );
    let check_shell = section.or(
        "check_shell",
        "Whether the user's shell must stand in /etc/shells, and be neither `nologin` nor `false`.",
        &Flag,
        settings.check_shell,
    );
    let umask = section.or(
        "umask",
        "The permission bits that their new files do not get, until they say SITE UMASK.",
        &Mode,
        settings.umask,
    );
    let pam = section.or(
        "pam",
        "Who checks passwords: \"auto\" asks PAM if its library and a service `medusa` or `ftp` are \
         there; any other word is the service to ask; \"never\" reads /etc/shadow, as \"auto\" does \
         without PAM.",
        &Text("\"auto\", \"never\", or the name of a service of PAM"),
        "auto".to_owned(),
    );
    let service = match &*pam {
        "auto" => Asked::Auto,
        "never" => Asked::Never,
        _ => Asked::Service(pam),
    };
    section.need(|needs| {
        needs.keep = needs.keep.max(Keep::Logins);
        needs.write.extend(if confine { homes } else { vec!["/".into()] });
        if service != Asked::Never {
            needs.execute.extend(HELPERS.map(PathBuf::from));
            needs.write.push(NOTES.into());
        }
    });
    let Shares { sessions, send_rate, receive_rate, welcome } = shares(section);
    UnixPlan {
        options: UnixOptions { confine, permissions, sessions, send_rate, receive_rate, welcome },
        settings: SystemSettings { min_uid: min_uid as u32, check_shell, umask, ..settings },
        service,
        place: section.place("pam"),
    }
}
