//! Passes: what the helpdesk gives to someone who lost the phone.

use domain::{Action, ChallengeId, ChallengeKind, Event, Time, UserId, UserName};
use serde::Serialize;
use serde_json::json;
use store::{Batch, NewChallenge};

use crate::context::Context;
use crate::idempotency::{Kept, Reply};
use crate::recovery::PASS;
use crate::{App, Error};

/// A pass to be made, checked at the edge.
pub struct NewPass {
    /// Why, in the words of whoever asks.
    pub reason: String,
    /// Its life in seconds.
    pub expires_in: u32,
    /// How often it can be used.
    pub uses: u32,
}

/// A pass, shown once.
#[derive(Serialize)]
pub struct MadePass {
    /// To be read out.
    pub pass: String,
    /// From then on it is refused; RFC 3339.
    pub expires_at: String,
    /// How often it can be used.
    pub uses: u32,
}

impl App {
    /// Makes a pass for a user. Who asked and why is recorded.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub async fn make_pass(
        &self,
        context: &Context,
        user: &UserName,
        new: &NewPass,
    ) -> Result<Reply<MadePass>, Error> {
        self.once(context, move |turn| async move {
            let id = self.store.user_by_name(user).await?;
            let id = id.ok_or(Error::UserNotFound)?;
            let now = self.store.now().await?;
            let mut batch = Batch::new();
            let answer = self.add_pass(&mut batch, id, new, now).await?;
            let detail = json!({ "expires_in": new.expires_in, "uses": new.uses });
            let event = Event::new(Action::PassCreated, true, &context.origin())
                .about_user(id, user.canonical())
                .with(&detail)
                .because(&new.reason);
            batch.record(event);
            match turn.commit(batch, now, &answer, Kept::Secret).await? {
                Ok(()) => Ok(answer),
                // The user has been erased in between.
                Err(_) => Err(Error::UserNotFound),
            }
        })
        .await
    }

    async fn add_pass(
        &self,
        batch: &mut Batch,
        user: UserId,
        new: &NewPass,
        now: Time,
    ) -> Result<MadePass, Error> {
        let text = vault::pass_code(self.room.random.as_ref());
        let Some(vault::Spoken::Pass(normal)) = vault::normalise_spoken(&text) else {
            return Err(Error::broken("a pass has not its form"));
        };
        let expires_at = now.plus_seconds(i64::from(new.expires_in));
        batch.make_challenge(&NewChallenge {
            id: ChallengeId(self.store.new_id().await?),
            user,
            kind: ChallengeKind::Pass,
            hash: Some(self.room.root.hash_token(PASS, &normal)),
            context: "{}".into(),
            created_at: now,
            expires_at,
            uses: new.uses,
        });
        Ok(MadePass {
            pass: text.to_string(),
            expires_at: expires_at.to_rfc3339(),
            uses: new.uses,
        })
    }
}
