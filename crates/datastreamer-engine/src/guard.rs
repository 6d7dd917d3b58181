//! A guard around the readers of other people's files: a panic in one of them is an error of the
//! file. Elsewhere a panic stays a panic.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use crate::error::EngineError;

/// What is told of a file whose reader gives up in words about its code.
pub(crate) const UNREAD: &str = "is damaged, or unknown to its reader: the log has more";

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a reader. A panic in it becomes an error, and is not printed. What the reader used must not
/// be used again after that.
///
/// # Errors
/// The reader panicked.
pub(crate) fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, EngineError> {
    let before = IS_GUARDED.replace(true);
    let read = panic::catch_unwind(AssertUnwindSafe(read));
    IS_GUARDED.set(before);
    read.map_err(|panic| error_of(panic.as_ref()))
}

/// Guards all that runs on this thread, where a runtime catches the panics of its tasks.
pub(crate) fn guard_thread() {
    IS_GUARDED.set(true);
}

/// Returns the error of a panic that was caught. The panic's text is for the log: it speaks of the
/// reader's code, not of the file.
pub(crate) fn error_of(panic: &(dyn Any + Send)) -> EngineError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::warn!(text, "a reader panicked");
    EngineError::data(UNREAD)
}

/// Keeps the panic hook from printing what the guard catches. Once in a process: a hook that is set
/// later prints all.
pub(crate) fn quiet_hook() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| match IS_GUARDED.get() {
            true => {
                let place = panic.location().map(ToString::to_string);
                tracing::debug!(place, "a reader panicked");
            }
            false => hook(panic),
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic)]
    fn a_panic_is_an_error_without_its_text() {
        let error = guarded(|| panic!("left\nright")).unwrap_err();
        assert_eq!(error.to_string(), UNREAD);
        assert!(guarded(|| 3).is_ok_and(|three| three == 3));
    }
}
