//! Retention takes the beginnings of chains and leaves a log that proves.

use super::super::AuditQuery;
use super::*;
use crate::Error;

/// Two chains over 60 days, a few events a day.
async fn sixty_days(seed: u64) -> World {
    let mut world = World::new(seed).await;
    for day in 0..60 {
        if day == 30 {
            world = world.restart().await;
        }
        for number in 0..4 {
            world
                .record(verification(day * 4 + number, number % 2 == 0))
                .await;
        }
        world.wait(DAY);
    }
    world
}

#[tokio::test]
async fn old_events_go_and_the_rest_proves() {
    let world = sixty_days(31).await;
    assert!(world.app.index_events(1000, Haste::Now).await.unwrap());
    let before = world.app.checkpoint().await.unwrap();
    let cut = world.app.cut_old_events().await.unwrap();
    // Whole days: the 30 of the first chain are older than the retention.
    assert_eq!(cut, 120);
    let report = world.report().await;
    holds(&report);
    assert_eq!(
        world.count("SELECT COUNT(*) FROM events WHERE id < 2 << 40"),
        0
    );
    assert_eq!(world.count("SELECT cut_seq FROM chains WHERE id = 1"), 120);
    assert_eq!(
        world.count("SELECT COUNT(*) FROM event_terms WHERE event < 2 << 40"),
        0
    );
    let cuts = AuditQuery {
        action: Some(Action::AuditCut),
        limit: 10,
        ..AuditQuery::default()
    };
    let cuts = world.app.search_audit(&cuts).await.unwrap().data;
    assert_eq!(cuts.len(), 1);
    let data = cuts[0].additional_data.as_ref().unwrap();
    assert_eq!((&data["seq"], &data["events"]), (&120.into(), &120.into()));
    // Checkpoints from before the cut and after it hold; a second run finds nothing.
    for checkpoint in [before, world.app.checkpoint().await.unwrap()] {
        let options = AuditOptions {
            checkpoint: Some(checkpoint),
            public_key: None,
        };
        holds(&verified(&world.app, &options).await);
    }
    assert_eq!(world.app.cut_old_events().await.unwrap(), 0);
    world.wait(10 * DAY);
    assert_eq!(world.app.cut_old_events().await.unwrap(), 40);
    holds(&world.report().await);
    world.app.checkpoint().await.unwrap();
    let world = world.restart().await;
    world.app.checkpoint().await.unwrap();
    let all = AuditQuery {
        limit: 200,
        ..AuditQuery::default()
    };
    let left = world.app.search_audit(&all).await.unwrap().data.len();
    assert_eq!(left as i64, world.count("SELECT COUNT(*) FROM events"));
}

#[tokio::test]
async fn evidence_is_not_removed() {
    let world = sixty_days(32).await;
    world
        .intruder()
        .execute("DELETE FROM events WHERE id = (1 << 40) | 50", [])
        .unwrap();
    let result = world.app.cut_old_events().await;
    assert!(matches!(result, Err(Error::AuditBroken)), "{result:?}");
    assert_eq!(world.count("SELECT cut_seq FROM chains WHERE id = 1"), 0);
    assert_eq!(
        places(&world.report().await),
        [(FindingKind::Missing, Some(50), None)]
    );
}

#[tokio::test]
async fn events_before_a_cut_are_found() {
    let world = sixty_days(33).await;
    world.app.cut_old_events().await.unwrap();
    world
        .intruder()
        .execute(
            "INSERT INTO events SELECT (1 << 40) | 7, at, action, success, user_id, device_id,
               caller, request_id, detail, personal, personal_digest, salt, link, mac
             FROM events WHERE id = (2 << 40) | 1",
            [],
        )
        .unwrap();
    assert_eq!(
        places(&world.report().await),
        [(FindingKind::Inserted, Some(7), None)]
    );
}

#[tokio::test]
async fn an_erasure_outlives_the_blanks_that_it_explains() {
    let mut world = sixty_days(34).await;
    erase(&world.app).await;
    holds(&world.report().await);
    // The chain of the erasure is cut with the older ones; at each step the log proves.
    for _ in 0..12 {
        world.wait(5 * DAY);
        world = world.restart().await;
        world.app.cut_old_events().await.unwrap();
        holds(&world.report().await);
        world.app.checkpoint().await.unwrap();
    }
    assert_eq!(
        world.count("SELECT COUNT(*) FROM events WHERE action = 'USER_ERASED'"),
        0
    );
}
