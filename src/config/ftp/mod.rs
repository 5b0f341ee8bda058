//! `protocol = "ftp"`: who may log in, and what they may do then.

mod users;

use std::rc::Rc;

use medusa_ftp::{Authorizer, FtpService, FtpSettings};

use crate::config::build::{Serving, Setup};
use crate::config::kind::Text;
use crate::config::section::Section;
use crate::config::server::Plan;

/// What an FTP server is told.
struct FtpSetup {
    settings: FtpSettings,
    authorizers: Vec<Rc<dyn Authorizer>>,
}

impl Setup for FtpSetup {
    fn start(self: Box<Self>) -> Serving {
        let Self { settings, authorizers } = *self;
        let service = Rc::new(FtpService::new(settings, authorizers, Vec::new()));
        Serving { service: service.clone(), inspect: service.inspect(), itself: service }
    }

    fn replace(self: Box<Self>, running: &Serving) {
        let Self { settings, authorizers } = *self;
        let service = running.itself.downcast_ref::<FtpService>().expect("both speak FTP");
        service.replace(settings, authorizers, Vec::new());
    }
}

/// Reads what an FTP server has.
pub(crate) fn read(section: &mut Section<'_>, trees: &[String]) -> Option<Plan> {
    let defaults = FtpSettings::default();
    let banner = section.or(
        "banner",
        "The first line that a client reads.",
        &Text("a line of text"),
        defaults.banner.clone(),
    );
    let anonymous = section.maybe_section(
        "anonymous",
        "Lets anybody in, as `anonymous` or `ftp` and with any password. Left out: nobody.",
        |section| users::anonymous(section, trees),
    );
    if !section.has("anonymous") {
        section.add_here("nobody can log in", "give it [server.anonymous]");
    }
    let anonymous = match anonymous {
        None => None,
        Some(made) => Some(made?),
    };
    let settings = FtpSettings { banner, ..defaults };
    Some(Box::new(move |build| {
        let anonymous = anonymous.map(|plan| plan.build(build));
        Ok(Box::new(FtpSetup { settings, authorizers: anonymous.into_iter().collect() }))
    }))
}
