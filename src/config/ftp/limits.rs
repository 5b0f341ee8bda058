//! `[server.limits]` of FTP.

use std::time::Duration;

use medusa_ftp::FtpSettings;

use crate::config::kind::{DAY, Number, SECOND, Time};
use crate::config::limits::bandwidth;
use crate::config::section::Section;

/// Reads the limits into the settings.
pub(super) fn limits(section: &mut Section<'_>, settings: &mut FtpSettings) {
    times(section, settings);
    let counts = Number(1..=u64::from(u32::MAX));
    let sessions = section.or(
        "sessions",
        "Sessions at once; further ones are answered 421 and closed.",
        &counts,
        settings.sessions as u64,
    );
    settings.sessions = sessions as usize;
    let by_address = section.or(
        "sessions_per_address",
        "Sessions at once from one address; of IPv6, from one network of 64 bits.",
        &counts,
        settings.sessions_per_address as u64,
    );
    settings.sessions_per_address = by_address as usize;
    let counts = Number(1..=u64::from(u32::MAX));
    let tries = section.or(
        "login_tries",
        "Wrong logins after which a session is closed.",
        &counts,
        settings.login_tries.into(),
    );
    settings.login_tries = tries as u32;
    settings.login_delay = section.or(
        "login_delay",
        "How long the answer to a wrong login takes.",
        &Time(Duration::ZERO..=60 * SECOND),
        settings.login_delay,
    );
    let tries = section.or(
        "ban_tries",
        "Wrong logins from one address, each within `ban_time` of the one before, after which \
         nobody is let in from there.",
        &counts,
        settings.ban_tries.into(),
    );
    settings.ban_tries = tries as u32;
    settings.ban_time = section.or(
        "ban_time",
        "For how long that is.",
        &Time(SECOND..=30 * DAY),
        settings.ban_time,
    );
    rates(section, settings);
}

fn times(section: &mut Section<'_>, settings: &mut FtpSettings) {
    for (name, doc, value) in [
        ("login_timeout", "Time for a client to log in.", &mut settings.login_timeout),
        ("idle_timeout", "Time that a session may be idle.", &mut settings.idle_timeout),
        (
            "retire_idle",
            "Time that a session may be idle once another process, or nobody, listens where it \
             came from.",
            &mut settings.retire_idle,
        ),
        (
            "data_timeout",
            "Time for a data connection to stand once a transfer was asked for.",
            &mut settings.data_timeout,
        ),
        ("stall", "Time that a transfer may stand still.", &mut settings.stall_timeout),
    ] {
        *value = section.or(name, doc, &Time(SECOND..=DAY), *value);
    }
}

fn rates(section: &mut Section<'_>, settings: &mut FtpSettings) {
    settings.transfer_send_rate = bandwidth(
        section,
        "transfer_send_rate",
        "Bytes a second of one transfer to a client. Left out: any.",
    );
    settings.transfer_receive_rate = bandwidth(
        section,
        "transfer_receive_rate",
        "Bytes a second of one transfer from a client. Left out: any.",
    );
    settings.send_rate = bandwidth(
        section,
        "send_rate",
        "Bytes a second of all transfers to clients together. Left out: any.",
    );
    settings.receive_rate = bandwidth(
        section,
        "receive_rate",
        "Bytes a second of all transfers from clients together. Left out: any.",
    );
}
