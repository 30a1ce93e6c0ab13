//! What can go wrong in storage, told apart by what a caller may do about it.

/// The one error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or does not answer. Nothing was changed by a
    /// read; a write that ended this way may or may not have happened.
    #[error("the database is not available")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// More work waits than may wait, or the user stayed locked by another node.
    #[error("the server is busy")]
    Busy,
    /// The clock stands behind the time of what is stored already.
    #[error("the clock is behind the stored time by {behind_ms} ms")]
    ClockBehind {
        /// By how much, in milliseconds.
        behind_ms: i64,
    },
    /// A conditional statement of a batch found things otherwise; nothing was changed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The key of this request was used with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyReused,
    /// The caller's API key has been revoked or has expired.
    #[error("the API key is not valid any more")]
    CallerRevoked,
    /// The database cannot be used as it is: a sentence for whoever starts the server.
    #[error("{0}")]
    Unusable(String),
    /// A stored value is not what this server wrote.
    #[error("stored data is not readable: {0}")]
    Corrupt(String),
    /// A defect of ours or of the database's set-up.
    #[error("the database refused a statement")]
    Statement(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Which condition of a batch did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A user of that name was made in the meantime.
    UserExists,
    /// The user was removed in the meantime.
    UserGone,
    /// An active device of that name exists, or the user has too many.
    DeviceExists,
    /// The user has as many devices as a user may have.
    TooManyDevices,
    /// The user has a device in force that was made at that door.
    DoorTaken,
    /// The device changed in the meantime.
    DeviceChanged,
    /// The API key is unknown or revoked already.
    KeyGone,
    /// An API key of that id exists.
    KeyExists,
    /// The answer to that idempotency key was kept in the meantime.
    IdempotencyTaken,
    /// The user has a device in force.
    FactorInForce,
    /// The account or its password changed in the meantime.
    AccountChanged,
    /// The challenge was made, replaced or removed in the meantime.
    ChallengeChanged,
    /// The login was ended in the meantime.
    LoginOver,
    /// The session was ended in the meantime.
    SessionOver,
    /// The mail was taken or removed in the meantime.
    MailTaken,
    /// A signing key is not, or not any more, in the state that the change needs.
    KeyChanged,
    /// A row that has to be there is not.
    Missing,
}

impl StoreError {
    pub(crate) fn lost(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Some(Box::new(cause)))
    }

    pub(crate) fn gone() -> Self {
        Self::Unavailable(None)
    }
    /// The same for each of a batch: they all learn it.
    pub(crate) fn same(&self) -> Self {
        match self {
            Self::ClockBehind { behind_ms } => Self::ClockBehind {
                behind_ms: *behind_ms,
            },
            Self::Corrupt(what) => Self::Corrupt(what.clone()),
            _ => Self::gone(),
        }
    }
}
