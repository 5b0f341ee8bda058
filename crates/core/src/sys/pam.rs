//! Asks PAM (pluggable authentication modules) whether name and password belong together and
//! whether the account may be used, where the system has its library.
//!
//! The one design choice: the library is loaded when it is asked for, so that a program runs, and
//! can be built, where it is missing.
//!
//! Its modules are other people's code. They may block for long, start programs, and change the
//! identity of the whole process; so this is to be called in a process that does nothing else. No
//! session is opened and no credentials are set: what follows runs under a persona.

use std::ffi::CStr;
use std::fmt;

/// Why PAM does not let somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PamError {
    /// It is not the password, or there is no such user, or the account may not be used; in the
    /// library's words.
    Refused(String),
    /// There is no telling, for this reason.
    Failed(String),
}

impl fmt::Display for PamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(why) | Self::Failed(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for PamError {}

/// Whether the library is there.
pub fn is_available() -> bool {
    system::Library::load().is_ok()
}

/// Asks `service` (a file in `/etc/pam.d`) about a user who comes from `host`. Blocks, for as long
/// as the modules take. No module is left to wait after a failure: whoever asks does that.
///
/// # Errors
///
/// [`PamError`] unless the password is right and the account may be used.
pub fn authenticate(
    service: &CStr,
    user: &CStr,
    host: Option<&CStr>,
    password: &CStr,
) -> Result<(), PamError> {
    system::Library::load().map_err(PamError::Failed)?.authenticate(service, user, host, password)
}

#[cfg(target_os = "linux")]
mod system {
    //! The library's functions, as `security/pam_appl.h` of Linux-PAM declares them.

    use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
    use std::ptr::{self, NonNull};

    use super::PamError;

    /// The library, by the name that its interface has had since 1999.
    const LIBRARY: &CStr = c"libpam.so.0";

    /// Messages of one call of the conversation (`PAM_MAX_NUM_MSG`).
    const MAX_MESSAGES: c_int = 32;

    const SUCCESS: c_int = 0;
    const BUFFER_ERROR: c_int = 5;
    const PERMISSION_DENIED: c_int = 6;
    const AUTHENTICATION_ERROR: c_int = 7;
    const USER_UNKNOWN: c_int = 10;
    const MAX_TRIES: c_int = 11;
    const NEW_TOKEN_REQUIRED: c_int = 12;
    const ACCOUNT_EXPIRED: c_int = 13;
    const CONVERSATION_ERROR: c_int = 19;
    const TOKEN_EXPIRED: c_int = 27;

    /// What is answered no.
    const REFUSALS: [c_int; 7] = [
        PERMISSION_DENIED,
        AUTHENTICATION_ERROR,
        USER_UNKNOWN,
        MAX_TRIES,
        NEW_TOKEN_REQUIRED,
        ACCOUNT_EXPIRED,
        TOKEN_EXPIRED,
    ];

    const ITEM_USER: c_int = 2;
    const ITEM_HOST: c_int = 4;
    const ITEM_FAIL_DELAY: c_int = 10;

    const PROMPT_ECHO_OFF: c_int = 1;
    const ERROR_MESSAGE: c_int = 3;
    const TEXT: c_int = 4;

    const SILENT: c_int = 0x8000;
    const NO_EMPTY_PASSWORD: c_int = 1;

    #[repr(C)]
    struct Message {
        style: c_int,
        text: *const c_char,
    }

    #[repr(C)]
    struct Response {
        text: *mut c_char,
        code: c_int,
    }

    type Converse =
        extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

    #[repr(C)]
    struct Conversation {
        converse: Converse,
        data: *mut c_void,
    }

    /// A transaction of the library.
    enum Transaction {}

    type Start = unsafe extern "C" fn(
        *const c_char,
        *const c_char,
        *const Conversation,
        *mut *mut Transaction,
    ) -> c_int;
    type Step = unsafe extern "C" fn(*mut Transaction, c_int) -> c_int;
    type SetItem = unsafe extern "C" fn(*mut Transaction, c_int, *const c_void) -> c_int;
    type GetItem = unsafe extern "C" fn(*const Transaction, c_int, *mut *const c_void) -> c_int;
    type Explain = unsafe extern "C" fn(*mut Transaction, c_int) -> *const c_char;

    /// The functions that are used. The library stays loaded: modules may leave threads behind.
    pub(super) struct Library {
        start: Start,
        authenticate: Step,
        account: Step,
        end: Step,
        set_item: SetItem,
        get_item: GetItem,
        explain: Explain,
    }

    impl Library {
        /// Loads the library, or tells why not.
        pub(super) fn load() -> Result<Self, String> {
            // SAFETY: the name ends in NUL. The library's initializers are those of Linux-PAM, which
            // do nothing.
            let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
            let missing = || format!("there is no {}", LIBRARY.to_string_lossy());
            let library = NonNull::new(library).ok_or_else(missing)?;
            let find = |name: &CStr| {
                // SAFETY: the library is loaded, and the name ends in NUL.
                let found = unsafe { libc::dlsym(library.as_ptr(), name.as_ptr()) };
                NonNull::new(found)
                    .ok_or_else(|| format!("libpam has no {}", name.to_string_lossy()))
                    .map(NonNull::as_ptr)
            };
            // SAFETY: these are functions of these types, as the header of Linux-PAM declares them;
            // they have not changed since version 0.99 (the interface of `libpam.so.0`).
            unsafe {
                Ok(Self {
                    start: std::mem::transmute::<*mut c_void, Start>(find(c"pam_start")?),
                    authenticate: std::mem::transmute::<*mut c_void, Step>(find(
                        c"pam_authenticate",
                    )?),
                    account: std::mem::transmute::<*mut c_void, Step>(find(c"pam_acct_mgmt")?),
                    end: std::mem::transmute::<*mut c_void, Step>(find(c"pam_end")?),
                    set_item: std::mem::transmute::<*mut c_void, SetItem>(find(c"pam_set_item")?),
                    get_item: std::mem::transmute::<*mut c_void, GetItem>(find(c"pam_get_item")?),
                    explain: std::mem::transmute::<*mut c_void, Explain>(find(c"pam_strerror")?),
                })
            }
        }

        pub(super) fn authenticate(
            &self,
            service: &CStr,
            user: &CStr,
            host: Option<&CStr>,
            password: &CStr,
        ) -> Result<(), PamError> {
            let conversation =
                Conversation { converse, data: password.as_ptr().cast_mut().cast::<c_void>() };
            let mut transaction = ptr::null_mut();
            // SAFETY: the strings end in NUL, and the library copies them and the conversation; the
            // password, to which that points, lives until the transaction has ended.
            let status = unsafe {
                (self.start)(
                    service.as_ptr(),
                    user.as_ptr(),
                    &raw const conversation,
                    &raw mut transaction,
                )
            };
            if transaction.is_null() {
                return Err(PamError::Failed(format!("PAM does not start: error {status}")));
            }
            let status =
                if status == SUCCESS { self.steps(transaction, user, host) } else { status };
            let outcome = if status == SUCCESS {
                Ok(())
            } else {
                // SAFETY: the library gives a string of its own, which ends in NUL.
                let words = unsafe { CStr::from_ptr((self.explain)(transaction, status)) };
                let words = words.to_string_lossy().into_owned();
                let is_refusal = REFUSALS.contains(&status);
                Err(if is_refusal { PamError::Refused(words) } else { PamError::Failed(words) })
            };
            // SAFETY: the transaction was started and is not used any more.
            unsafe { (self.end)(transaction, status) };
            outcome
        }

        /// What is asked one after the other, up to the first failure.
        fn steps(&self, transaction: *mut Transaction, user: &CStr, host: Option<&CStr>) -> c_int {
            let set = |item, value: *const c_void| {
                // SAFETY: the transaction goes on; a string ends in NUL and is copied, and the
                // function is one of this program.
                unsafe { (self.set_item)(transaction, item, value) }
            };
            let no_delay: extern "C" fn(c_int, c_uint, *mut c_void) = no_delay;
            // Modules that do not know the item go on as they would.
            set(ITEM_FAIL_DELAY, no_delay as *const c_void);
            if let Some(host) = host {
                let status = set(ITEM_HOST, host.as_ptr().cast());
                if status != SUCCESS {
                    return status;
                }
            }
            for step in [self.authenticate, self.account] {
                // SAFETY: the transaction goes on, and so does all that it was given.
                let status = unsafe { step(transaction, SILENT | NO_EMPTY_PASSWORD) };
                if status != SUCCESS {
                    return status;
                }
            }
            let mut name = ptr::null();
            // SAFETY: the transaction goes on; the string is the library's own and ends in NUL.
            let same = unsafe {
                (self.get_item)(transaction.cast_const(), ITEM_USER, &raw mut name) == SUCCESS
                    && !name.is_null()
                    && CStr::from_ptr(name.cast::<c_char>()) == user
            };
            // A module may have put somebody else in the user's place, whom nobody looked at.
            if same { SUCCESS } else { USER_UNKNOWN }
        }
    }

    /// Does not wait.
    extern "C" fn no_delay(_: c_int, _: c_uint, _: *mut c_void) {}

    /// Answers whatever asks for a secret with the password, which `data` points to, and any other
    /// question not at all.
    extern "C" fn converse(
        count: c_int,
        messages: *mut *const Message,
        responses: *mut *mut Response,
        data: *mut c_void,
    ) -> c_int {
        if !(1..=MAX_MESSAGES).contains(&count) || messages.is_null() || responses.is_null() {
            return CONVERSATION_ERROR;
        }
        let count = count.cast_unsigned() as usize;
        // SAFETY: calloc gives zeroed memory for so many answers, or nothing. The caller frees it,
        // and each text in it, by free(3).
        let answers = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
        if answers.is_null() {
            return BUFFER_ERROR;
        }
        let mut status = SUCCESS;
        for at in 0..count {
            // SAFETY: Linux-PAM gives an array of so many pointers to messages.
            let style = unsafe { (**messages.add(at)).style };
            match style {
                PROMPT_ECHO_OFF => {
                    // SAFETY: `data` is the password, which ends in NUL, and there are so many
                    // answers.
                    unsafe { (*answers.add(at)).text = libc::strdup(data.cast()) };
                }
                // What is said to the user goes nowhere.
                ERROR_MESSAGE | TEXT => {}
                _ => status = CONVERSATION_ERROR,
            }
        }
        if status == SUCCESS {
            // SAFETY: the caller gives a place for the answers.
            unsafe { *responses = answers };
        } else {
            for at in 0..count {
                // SAFETY: each text is null or from strdup, and nobody else has it.
                unsafe { libc::free((*answers.add(at)).text.cast()) };
            }
            // SAFETY: it is from calloc, and nobody else has it.
            unsafe { libc::free(answers.cast()) };
        }
        status
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::ffi::CStr;

    use super::PamError;

    /// Cannot exist: the numbers of this interface are those of Linux-PAM.
    pub(super) enum Library {}

    impl Library {
        pub(super) fn load() -> Result<Self, String> {
            Err("PAM is asked on Linux only".to_owned())
        }

        pub(super) fn authenticate(
            &self,
            _: &CStr,
            _: &CStr,
            _: Option<&CStr>,
            _: &CStr,
        ) -> Result<(), PamError> {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_let_in() {
        if !is_available() {
            eprintln!("skipped: nobody_is_let_in: there is no libpam.so.0");
            return;
        }
        // A service that is not described goes by `other`, or fails.
        for (user, password) in [(c"no-such-user", c"x"), (c"root", c"not its password")] {
            let host = Some(c"192.0.2.1");
            let answer = authenticate(c"medusa-no-such-service", user, host, password);
            assert!(answer.is_err(), "{user:?}");
        }
    }
}
