//! Devices of new users by the hundred, for whoever fills a database before anybody is served from it.

use domain::UserId;
use store::Batch;

use crate::context::Context;
use crate::registration::put_device;
use crate::{App, Error, Registration};

impl App {
    /// Makes each device with a user of its own, all in one commit, every one sealed,
    /// recorded and counted as by [`App::register`]; nothing is shown. Neither the users
    /// nor the devices may exist. A few hundred at a time are committed well within the
    /// time that a batch may take.
    ///
    /// # Errors
    /// [`Error::DeviceExists`] when a device or a user is there already: none was made.
    pub async fn register_all(
        &self,
        context: &Context,
        registrations: &[Registration],
    ) -> Result<(), Error> {
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        for wanted in registrations {
            let user = UserId(self.store.new_id().await?);
            batch.make_user(user, &wanted.user, now);
            let (new, _) = self.make_device(wanted, user, now).await?;
            put_device(&mut batch, &new, context);
        }
        match self.store.commit(batch).await {
            Ok(_) => Ok(()),
            Err(store::StoreError::Refused(_)) => Err(Error::DeviceExists),
            Err(error) => Err(error.into()),
        }
    }
}
