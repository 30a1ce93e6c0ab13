//! An erasure takes a user's personal fields and leaves a log that proves.

use super::super::AuditQuery;
use super::*;

/// 1000 events of three users in two chains, one of them partly indexed.
async fn log(seed: u64) -> World {
    let mut world = World::new(seed).await;
    for chain in 0..2 {
        let events = (0..500).map(|number| verification(number, number % 5 != 0));
        world.record_all(events.collect()).await;
        if chain == 0 {
            world.app.index_events(1, Haste::Now).await.unwrap();
            world = world.restart().await;
        }
    }
    // The user's own words, and an event that names the user by the internal id only.
    let mut unnamed = verification(1, true).because("my phone is gone");
    unnamed.personal.user_id = None;
    unnamed.personal.device_id = None;
    world.record(unnamed).await;
    world
}

async fn check(world: World) {
    let mine = "SELECT COUNT(*) FROM events WHERE user_id = 101 AND action <> 'USER_ERASED'";
    let blank = format!("{mine} AND personal IS NULL AND salt IS NULL");
    let own = world.count(mine);
    let before = world.app.checkpoint().await.unwrap();
    assert_eq!(erase(&world.app).await, u64::try_from(own).unwrap());
    assert_eq!(world.count(&blank), own);
    assert_eq!(
        world.count("SELECT COUNT(*) FROM events WHERE personal IS NULL"),
        own
    );
    let options = AuditOptions {
        checkpoint: Some(before),
        public_key: None,
    };
    let report = verified(&world.app, &options).await;
    holds(&report);
    assert_eq!(report.erased, u64::try_from(own).unwrap());
    world.app.checkpoint().await.unwrap();
    let found = async |user: &str| {
        let query = AuditQuery {
            user: Some(UserName::parse(user).unwrap()),
            limit: 200,
            ..AuditQuery::default()
        };
        world.app.search_audit(&query).await.unwrap().data.len()
    };
    assert_eq!((found("user1").await, found("user0").await), (0, 200));
    let terms = world.app.terms();
    for term in [
        terms.user("user1"),
        terms.device("phone-1"),
        terms.unnamed_user(101),
    ] {
        let sql = format!("SELECT COUNT(*) FROM event_terms WHERE term = {term}");
        assert_eq!(world.count(&sql), 0);
    }
    // Found by its action, the record itself names nobody.
    let query = AuditQuery {
        action: Some(Action::UserErased),
        limit: 5,
        ..AuditQuery::default()
    };
    let record = world.app.search_audit(&query).await.unwrap().data;
    assert_eq!((record.len(), &record[0].user_id), (1, &None));
}

#[tokio::test]
async fn a_user_with_a_row_is_erased() {
    let world = log(41).await;
    let mut batch = Batch::new();
    let name = UserName::parse("user1").unwrap();
    batch.make_user(UserId(101), &name, Time::from_millis(START));
    world.app.store.commit(batch).await.unwrap();
    check(world).await;
}

#[tokio::test]
async fn a_user_whose_row_is_gone_already_is_found_by_the_name() {
    check(log(42).await).await;
}

#[tokio::test]
async fn a_later_event_of_an_erased_user_is_not_excused() {
    let world = log(43).await;
    erase(&world.app).await;
    world.wait(10);
    world.record(verification(1, true)).await;
    let connection = world.intruder();
    let id: i64 = connection
        .query_row("SELECT MAX(id) FROM events", [], |row| row.get(0))
        .unwrap();
    let (salt, personal): ([u8; 16], String) = connection
        .query_row(
            "SELECT salt, personal FROM events WHERE id = ?1",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    let digest = domain::chain::personal_digest(&salt, &personal);
    connection
        .execute(
            "UPDATE events SET personal = NULL, salt = NULL, personal_digest = ?2 WHERE id = ?1",
            (id, digest),
        )
        .unwrap();
    let seq = id & ((1 << 40) - 1);
    let expected = [(FindingKind::BlankWithoutErasure, Some(seq), None)];
    assert_eq!(places(&world.report().await), expected);
}
