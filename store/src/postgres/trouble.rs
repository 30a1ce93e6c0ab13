//! What a failed statement means for its transaction: lost with the connection, or certainly rolled back.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::error::StoreError;

/// Why a round trip came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection is gone or of no use. What was under way in it may or may not
    /// have happened.
    Lost(Option<Error>),
    /// Rolled back for certain, because of what others did at the same time.
    Again(Error),
    /// Rolled back for certain, and it would be again.
    Failed(Error),
}

impl Trouble {
    /// Reads the server's word. Only an error that the server itself reported without
    /// ending the connection is certain; everything else is [`Trouble::Lost`].
    pub(super) fn of(error: Error) -> Self {
        let Some(report) = error.as_db_error() else {
            return Self::Lost(Some(error));
        };
        let ended = matches!(
            report.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        );
        if ended || is_unavailable(report.code()) {
            Self::Lost(Some(error))
        } else if is_passing(report.code()) {
            Self::Again(error)
        } else {
            Self::Failed(error)
        }
    }

    /// A row was there already that a unique index allows only once.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Failed(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }

    /// For a caller that does not try again.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Lost(Some(error)) => StoreError::lost(error),
            Self::Lost(None) => StoreError::gone(),
            Self::Again(_) => StoreError::Busy,
            Self::Failed(error) => StoreError::Statement(Box::new(error)),
        }
    }
}

/// Whether a message that came unasked says that a commit which is confirmed next has not
/// reached the standbys that it should have waited for: an operator cancelled the wait.
pub(super) fn leaves_doubt(notice: &DbError) -> bool {
    let severity = notice.parsed_severity();
    says_doubt(severity, notice.code(), notice.routine(), notice.message())
}

/// The message may be in any language; the name of the function that sends it is not. A
/// pooler may leave that name out, so the words count too, and the general code of such a
/// warning where nothing says whose it is.
fn says_doubt(
    severity: Option<Severity>,
    code: &SqlState,
    routine: Option<&str>,
    message: &str,
) -> bool {
    if !matches!(severity, Some(Severity::Warning) | None) {
        return false;
    }
    let by_routine = match routine {
        Some(routine) => routine.starts_with("SyncRep"),
        None => *code == SqlState::WARNING,
    };
    by_routine
        || *code == SqlState::ADMIN_SHUTDOWN
        || message.starts_with("canceling wait for sync")
}

/// The server cannot work now: broken connections (08), out of disk, memory or
/// places (53), stopped by an operator or a time limit (57), failing disks (58), or
/// turned into a read-only standby (25006).
fn is_unavailable(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    matches!(class, "08" | "53" | "57" | "58") || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// Gone when tried again: others were faster. The division by zero is ours: the
/// statements that save a batch raise it when they meet other rows than were read.
fn is_passing(code: &SqlState) -> bool {
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::DIVISION_BY_ZERO,
    ]
    .contains(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_the_server_are_told_apart() {
        fn check(code: &str, unavailable: bool, passing: bool) {
            let code = SqlState::from_code(code);
            assert_eq!(is_unavailable(&code), unavailable, "{code:?}");
            assert_eq!(is_passing(&code), passing, "{code:?}");
        }
        check("57P01", true, false);
        check("57014", true, false);
        check("53300", true, false);
        check("53100", true, false);
        check("08006", true, false);
        check("58030", true, false);
        check("25006", true, false);
        check("40001", false, true);
        check("40P01", false, true);
        check("55P03", false, true);
        check("22012", false, true);
        check("23505", false, false);
        check("42601", false, false);
    }

    #[test]
    fn a_cancelled_wait_for_the_standby_is_told_from_other_messages() {
        fn check(severity: Severity, code: &str, routine: &str, message: &str, doubt: bool) {
            let code = SqlState::from_code(code);
            let routine = Some(routine).filter(|name| !name.is_empty());
            let found = says_doubt(Some(severity), &code, routine, message);
            assert_eq!(found, doubt, "{message} of {routine:?}");
        }
        let words = "canceling wait for synchronous replication due to user request";
        check(Severity::Warning, "01000", "SyncRepWaitForLSN", words, true);
        check(
            Severity::Warning,
            "01000",
            "SyncRepWaitForLSN",
            "storniere Warten",
            true,
        );
        check(Severity::Warning, "01000", "", "storniere Warten", true);
        check(Severity::Warning, "01000", "other", words, true);
        check(Severity::Warning, "57P01", "", "beende Verbindung", true);
        check(
            Severity::Warning,
            "25P01",
            "UserAbortTransactionBlock",
            "no transaction",
            false,
        );
        check(Severity::Warning, "01000", "other", "something", false);
        check(Severity::Notice, "01000", "", "something", false);
        check(Severity::Log, "00000", "", words, false);
    }
}
