//! Gives up root, and the ways to become it.

use medusa_core::sys::privileges::{Account, AccountError, forbid_new, threads};

use super::LifeOptions;
use crate::serve::Failure;

/// Becomes the user that was asked for, and closes the ways back.
pub(super) fn give_up(options: &LifeOptions) -> Result<(), Failure> {
    let alone = threads().is_none_or(|threads| threads == 1);
    if let Some(user) = &options.user {
        let account = Account::find(user, options.group.as_deref()).map_err(|e| match e {
            AccountError::System(_) => Failure::System(format!("cannot become {user}: {e}")),
            _ => Failure::Usage(format!("cannot become {user}: {e} (--user, --group)")),
        })?;
        if !alone {
            return Err(Failure::System(format!(
                "cannot become {user}: a thread was started too early, which would stay what it is"
            )));
        }
        account.assume(options.keep).map_err(|e| match e.kind() {
            std::io::ErrorKind::PermissionDenied => Failure::Usage(format!(
                "cannot become {user}: only root can; start the server as root, or without --user"
            )),
            _ => Failure::System(format!("cannot become {user}: {e}")),
        })?;
    } else if rustix::process::geteuid().is_root() {
        tracing::debug!("running as root; --user NAME gives that up when everything is open");
    }
    if !options.allow_new_privileges
        && let Err(e) = forbid_new()
    {
        tracing::warn!("programs started from here can get new privileges: {e}");
    }
    Ok(())
}
