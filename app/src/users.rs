//! Users: opening a guard that wrong codes have locked.

use domain::{Action, Event, Time, UserName};
use serde::Serialize;
use serde_json::value::RawValue;
use store::Batch;

use crate::context::Context;
use crate::idempotency::{Kept, Reply};
use crate::{App, Error};

/// The answer to an unlocking.
#[derive(Serialize)]
pub struct Unlocked {
    /// The user as the client wrote it.
    pub user_id: Box<RawValue>,
    /// Always true.
    pub unlocked: bool,
    /// When.
    pub unlocked_at: String,
}

impl App {
    /// Opens a user's guard: locks end, a disabled factor is in force again, and the
    /// count of wrong codes begins anew. Who asked and why is recorded.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub async fn unlock(
        &self,
        context: &Context,
        user: &UserName,
        shown: &RawValue,
        reason: &str,
    ) -> Result<Reply<Unlocked>, Error> {
        self.once(context, move |turn| async move {
            let id = self.store.user_by_name(user).await?;
            let id = id.ok_or(Error::UserNotFound)?;
            let now = self.store.now().await?;
            let mut batch = Batch::new();
            batch.open_guard(id);
            let event = Event::new(Action::UserUnlocked, true, &context.origin())
                .about_user(id, user.canonical())
                .because(reason);
            batch.record(event);
            let answer = unlocked(shown, now);
            match turn.commit(batch, now, &answer, Kept::Plain).await? {
                Ok(()) => Ok(answer),
                Err(_) => Err(Error::UserNotFound),
            }
        })
        .await
    }
}

fn unlocked(shown: &RawValue, at: Time) -> Unlocked {
    Unlocked {
        user_id: shown.to_owned(),
        unlocked: true,
        unlocked_at: at.to_rfc3339(),
    }
}
