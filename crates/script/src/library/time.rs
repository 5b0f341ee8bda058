//! `time`: what the clock of the loop says.

use medusa_core::Handle;

use super::Library;
use crate::value::Value;

pub(super) fn library(handle: &Handle) -> Library {
    let (unix, mono) = (handle.clone(), handle.clone());
    let start = handle.now();
    Library::new("time")
        .function("now", move |_| Ok(vec![Value::from(unix.unix_time().as_secs_f64())]))
        .function("running", move |_| {
            let since = mono.now().saturating_duration_since(start);
            Ok(vec![Value::from(since.as_secs_f64())])
        })
}
