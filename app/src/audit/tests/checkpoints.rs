//! Checkpoints are made over a proven log only, and believed only when they are ours.

use domain::checkpoint::Checkpoint;

use super::*;
use crate::Error;
use crate::audit::Finding;

async fn with(world: &World, checkpoint: &Checkpoint) -> AuditReport {
    let options = AuditOptions {
        checkpoint: Some(checkpoint.clone()),
        public_key: None,
    };
    verified(&world.app, &options).await
}

#[tokio::test]
async fn a_checkpoint_names_all_chains_and_is_numbered() {
    let mut world = World::new(21).await;
    assert!(matches!(
        world.app.latest_checkpoint().await,
        Err(Error::NoCheckpoint)
    ));
    world.record(verification(1, true)).await;
    let first = world.app.checkpoint().await.unwrap();
    world = world.restart().await;
    world.record(verification(2, true)).await;
    let second = world.app.checkpoint().await.unwrap();
    assert_eq!((first.id, second.id), (1, 2));
    let seqs = |checkpoint: &Checkpoint| -> i64 { checkpoint.heads.iter().map(|h| h.seq).sum() };
    assert_eq!((first.heads.len(), seqs(&first)), (1, 1));
    assert_eq!((second.heads.len(), seqs(&second)), (2, 2));
    assert_eq!(world.app.latest_checkpoint().await.unwrap(), second);
    for checkpoint in [first, second] {
        holds(&with(&world, &checkpoint).await);
    }
}

#[tokio::test]
async fn no_checkpoint_vouches_for_a_broken_log() {
    let change = |sql: &'static str| async move {
        let world = World::new(22).await;
        for number in 0..5 {
            world.record(verification(number, true)).await;
        }
        world.app.checkpoint().await.unwrap();
        for number in 0..5 {
            world.record(verification(number, true)).await;
        }
        world.intruder().execute_batch(sql).unwrap();
        let error = world.app.checkpoint().await;
        assert!(matches!(error, Err(Error::AuditBroken)), "{sql}");
        // It stays so: the memory of the process does not forget.
        let error = world.app.checkpoint().await;
        assert!(matches!(error, Err(Error::AuditBroken)), "{sql}");
        assert_eq!(world.app.latest_checkpoint().await.unwrap().id, 1);
        let world = world.restart().await;
        let error = world.app.checkpoint().await;
        assert!(
            matches!(error, Err(Error::AuditBroken)),
            "{sql} after a restart"
        );
    };
    change("UPDATE events SET success = 0 WHERE id = (1 << 40) | 7").await;
    change("DELETE FROM events WHERE id = (1 << 40) | 10").await;
    change("DELETE FROM events WHERE id = (1 << 40) | 6").await;
}

#[tokio::test]
async fn a_process_does_not_begin_at_a_checkpoint_that_is_not_ours() {
    let mut world = World::new(27).await;
    for number in 0..5 {
        world.record(verification(number, true)).await;
    }
    world.app.checkpoint().await.unwrap();
    // Before the checkpoint nothing is read again, unless the checkpoint is not ours.
    let edit = "UPDATE events SET success = 0 WHERE id = (1 << 40) | 3";
    world.intruder().execute(edit, []).unwrap();
    world = world.restart().await;
    world.app.checkpoint().await.unwrap();
    let change = "UPDATE checkpoints SET body = replace(body, '\"seq\":5', '\"seq\":4')";
    world.intruder().execute(change, []).unwrap();
    world = world.restart().await;
    assert!(matches!(
        world.app.checkpoint().await,
        Err(Error::AuditBroken)
    ));
    assert_eq!(places(&world.report().await).len(), 3);
}

#[tokio::test]
async fn a_chain_set_back_below_the_last_checkpoint_is_found() {
    let world = World::new(23).await;
    for number in 0..5 {
        world.record(verification(number, true)).await;
    }
    world.app.checkpoint().await.unwrap();
    world
        .intruder()
        .execute_batch(
            "DELETE FROM events WHERE id > (1 << 40) | 3;
             UPDATE chain_heads SET seq = 3,
               link = (SELECT link FROM events WHERE id = (1 << 40) | 3),
               mac = (SELECT mac FROM events WHERE id = (1 << 40) | 3);
             DELETE FROM checkpoints",
        )
        .unwrap();
    // This process still knows. Without its memory only an exported checkpoint does.
    assert!(matches!(
        world.app.checkpoint().await,
        Err(Error::AuditBroken)
    ));
}

#[tokio::test]
async fn a_foreign_or_changed_checkpoint_is_refused() {
    let world = World::new(24).await;
    world.record(verification(1, true)).await;
    let ours = world.app.checkpoint().await.unwrap();
    let other = World::new(25).await;
    other.record(verification(1, true)).await;
    let foreign = other.app.checkpoint().await.unwrap();
    let check = async |checkpoint: Checkpoint, word: &str| {
        let report = with(&world, &checkpoint).await;
        assert_eq!(places(&report), [(FindingKind::BadCheckpoint, None, None)]);
        let text = &report.findings[0].text;
        assert!(text.contains(word), "{text}");
    };
    check(foreign.clone(), "another database").await;
    let mut posing = foreign.clone();
    posing.instance.clone_from(&ours.instance);
    check(posing, "signature").await;
    let mut longer = ours.clone();
    longer.heads[0].seq += 1;
    check(longer, "signature").await;
    let mut later = ours.clone();
    later.at += 1;
    check(later, "signature").await;
    let mut torn = ours.clone();
    torn.signature.pop();
    check(torn, "form").await;
    // With a key given, only that one counts.
    let options = AuditOptions {
        checkpoint: Some(ours.clone()),
        public_key: Some(other.app.room.checkpoint_public()),
    };
    let report = verified(&world.app, &options).await;
    assert_eq!(places(&report), [(FindingKind::BadCheckpoint, None, None)]);
    let options = AuditOptions {
        checkpoint: Some(ours),
        public_key: Some(world.app.room.checkpoint_public()),
    };
    holds(&verified(&world.app, &options).await);
}

#[tokio::test]
async fn the_job_makes_one_when_there_is_news_and_the_last_is_old() {
    let world = World::new(26).await;
    let latest = async || {
        world
            .app
            .store
            .latest_checkpoint()
            .await
            .unwrap()
            .map_or(0, |c| c.id)
    };
    world.record(verification(1, true)).await;
    let round = async |expected: i64| {
        world.app.checkpoint_when_due().await.unwrap();
        assert_eq!(latest().await, expected);
    };
    round(1).await;
    world.record(verification(2, true)).await;
    world.wait(3_599_000);
    round(1).await;
    world.wait(1000);
    round(2).await;
    // No news.
    world.wait(DAY);
    round(2).await;
    // At the end of the process the age does not count.
    world.record(verification(3, true)).await;
    world.app.checkpoint_when_news().await.unwrap();
    assert_eq!(latest().await, 3);
    world.app.checkpoint_when_news().await.unwrap();
    assert_eq!(latest().await, 3);
}

#[tokio::test]
async fn of_each_day_that_is_over_the_last_checkpoint_stays() {
    let world = World::new(28).await;
    // Six a day; the tests begin at 08:00.
    for number in 1..=18 {
        world.record(verification(number, true)).await;
        world.app.checkpoint().await.unwrap();
        if number < 18 {
            world.wait(DAY / 6);
        }
    }
    let kept = async || {
        let all = world.app.store.checkpoints(0, 100).await.unwrap();
        all.iter().map(|c| c.id).collect::<Vec<_>>()
    };
    let newest = world.app.latest_checkpoint().await.unwrap();
    // 08:00 to 20:00 are 1 to 4, the next day 5 to 10, then 11 to 16; the newest is 18.
    let expected = [4, 10, 11, 12, 13, 14, 15, 16, 17, 18];
    for _ in 0..2 {
        world.app.thin_checkpoints().await.unwrap();
        assert_eq!(kept().await, expected);
        holds(&with(&world, &newest).await);
    }
    // A gap that this does not leave is found.
    for id in [14, 11] {
        let sql = format!("DELETE FROM checkpoints WHERE id = {id}");
        world.intruder().execute_batch(&sql).unwrap();
        let report = world.report().await;
        let text = format!("Checkpoint {id} is missing.");
        let named = |finding: &Finding| finding.text == text;
        assert!(report.findings.iter().any(named), "{id}");
    }
}
