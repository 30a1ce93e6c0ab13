//! How PostgreSQL is told to write its pages out, and who may tell it.

use store::{Access, Target};

use crate::world::{World, settings};

/// What a new session on the database goes by, as autovacuum does.
async fn in_force(world: &World) -> String {
    let setting = "SELECT current_setting('backend_flush_after')";
    world.database.query(setting).await[0][0].text().to_owned()
}

#[tokio::test]
async fn whoever_works_on_the_database_writes_out_as_it_goes() {
    let world = World::postgres().await;
    for _ in 0..2 {
        world.store().await.close().await;
        assert_eq!(in_force(&world).await, "256kB");
    }
}

#[tokio::test]
async fn a_value_that_somebody_chose_stays() {
    let world = World::postgres().await;
    let choose = "DO $$ BEGIN EXECUTE
        format('ALTER DATABASE %I SET backend_flush_after = 0', current_database()); END $$";
    world.database.execute(choose).await;
    world.store().await.close().await;
    assert_eq!(in_force(&world).await, "0");
}

#[tokio::test]
async fn a_user_who_does_not_own_the_database_is_served_all_the_same() {
    let world = World::postgres().await;
    // A role that every server has, so that the test leaves none behind.
    let role = "pg_read_all_settings";
    let grant = format!("GRANT CREATE, USAGE ON SCHEMA public TO {role}");
    world.database.execute(&grant).await;
    let url = format!("{}?options=-c%20role%3D{role}", world.database.url());
    let settings = settings(Target::Postgres(url));
    let store = store::Store::open(&settings, Access::Write, world.clock.clone()).await;
    store.expect("a store").close().await;
    let owner = "SELECT tableowner::text FROM pg_tables WHERE tablename = 'events'";
    assert_eq!(world.database.query(owner).await[0][0].text(), role);
    assert_eq!(in_force(&world).await, "0");
}
