//! Whoever changes the log with SQL is found, at the right place.

use super::FindingKind::*;
use super::sample::Sample;
use super::*;

#[tokio::test]
async fn i8_an_untouched_log_proves() {
    let sample = Sample::new().await;
    for report in sample.tamper(|_| ()).await {
        holds(&report);
        assert_eq!(
            (report.chains, report.events, report.checkpoints),
            (3, 27, 3)
        );
    }
}

#[tokio::test]
async fn i8_an_edit_of_any_column_is_found() {
    let sample = Sample::new().await;
    for change in [
        "action = 'KEY_CREATED'",
        "success = 1 - success",
        "at = at + 1",
        "user_id = user_id + 1",
        "user_id = NULL",
        "device_id = NULL",
        "caller = 'key:xyz'",
        "request_id = ''",
        "detail = '{}'",
        "personal = '{}'",
        "salt = zeroblob(16)",
        "salt = NULL",
        "link = zeroblob(32)",
        "link = x'00'",
        "personal_digest = zeroblob(32)",
        "success = 7",
    ] {
        let sql = format!("UPDATE events SET {change} WHERE id = #5");
        sample.check(&sql, &[(1, Edited, 5)]).await;
    }
    sample
        .check(
            "UPDATE events SET mac = zeroblob(16) WHERE id = #5",
            &[(1, BadMac, 5)],
        )
        .await;
    // The last one of a chain, and all of it.
    sample
        .check(
            "UPDATE events SET success = 7 WHERE id = #10",
            &[(1, Edited, 10)],
        )
        .await;
    sample
        .check(
            "UPDATE events SET success = 7 WHERE id <= #10",
            &[(1, Edited, 1)],
        )
        .await;
    let sql = "UPDATE events SET success = 7 WHERE id IN (#2, #4, #5, #9)";
    sample
        .check(sql, &[(1, Edited, 2), (1, Edited, 4), (1, Edited, 9)])
        .await;
}

#[tokio::test]
async fn i8_a_deletion_is_found() {
    let sample = Sample::new().await;
    sample
        .check("DELETE FROM events WHERE id = #1", &[(1, Missing, 1)])
        .await;
    sample
        .check("DELETE FROM events WHERE id = #5", &[(1, Missing, 5)])
        .await;
    sample
        .check(
            "DELETE FROM events WHERE id IN (#3, #4, #5)",
            &[(1, Missing, 3)],
        )
        .await;
    sample
        .check(
            "DELETE FROM events WHERE id IN (#3, #6)",
            &[(1, Missing, 3), (1, Missing, 6)],
        )
        .await;
    // The rest is renumbered, and the head row made to fit.
    sample
        .check(
            "DELETE FROM events WHERE id = #5;
             UPDATE events SET id = id - 1 WHERE id > #5 AND id <= #10",
            &[(1, Missing, 5)],
        )
        .await;
    sample
        .check(
            "DELETE FROM events WHERE id = #5;
             UPDATE events SET id = id - 1 WHERE id > #5 AND id <= #10;
             UPDATE chain_heads SET seq = 9 WHERE chain = 1",
            &[(1, Missing, 5), (1, HeadMismatch, 9)],
        )
        .await;
}

const COPY: &str = "INSERT INTO events SELECT %TO%, at, action, success, user_id, device_id,
    caller, request_id, detail, personal, personal_digest, salt, link, mac
    FROM events WHERE id = %FROM%";

fn copy(from: &str, to: &str) -> String {
    COPY.replace("%FROM%", from).replace("%TO%", to)
}

#[tokio::test]
async fn i8_an_insertion_is_found() {
    let sample = Sample::new().await;
    // Behind the end, with and without the head row.
    let behind = copy("#3", "#11");
    sample.check(&behind, &[(1, Inserted, 11)]).await;
    let with_head = format!("{behind}; UPDATE chain_heads SET seq = 11 WHERE chain = 1");
    sample.check(&with_head, &[(1, Edited, 11)]).await;
    // Between others, which make room.
    let between = format!(
        "UPDATE events SET id = id + 1000 WHERE id >= #5 AND id <= #10;
         UPDATE events SET id = id - 999 WHERE id > #1000 AND id < #2000;
         {}",
        copy("#2", "#5")
    );
    sample.check(&between, &[(1, Inserted, 5)]).await;
    // Before the beginning, and in a chain that is not there.
    sample.check(&copy("#3", "#0"), &[(1, Inserted, 0)]).await;
    sample
        .check(&copy("#3", "(9 << 40) | 1"), &[(0, VanishedChain, -1)])
        .await;
}

#[tokio::test]
async fn i8_another_order_is_found() {
    let sample = Sample::new().await;
    let swap = |a: &str, b: &str| {
        format!(
            "UPDATE events SET id = #1000 WHERE id = {a};
             UPDATE events SET id = {a} WHERE id = {b};
             UPDATE events SET id = {b} WHERE id = #1000"
        )
    };
    sample
        .check(&swap("#5", "#6"), &[(1, Reordered, 5), (1, Reordered, 6)])
        .await;
    sample
        .check(&swap("#3", "#8"), &[(1, Reordered, 3), (1, Reordered, 8)])
        .await;
    sample
        .check(&swap("#1", "#10"), &[(1, Reordered, 1), (1, Reordered, 10)])
        .await;
    // From one chain into another.
    sample
        .check(
            &swap("#4", "(2 << 40) | 4"),
            &[(1, Edited, 4), (2, Edited, 4)],
        )
        .await;
    // Numbers alone: a hole without a loss, and chains that change places.
    sample
        .check(
            "UPDATE events SET id = id + 1000 WHERE id > #5 AND id <= #10;
             UPDATE events SET id = id - 990 WHERE id > #1000 AND id < #2000;
             UPDATE chain_heads SET seq = 20 WHERE chain = 1",
            &[(1, Reordered, 16), (1, HeadMismatch, 20)],
        )
        .await;
    sample
        .check(
            "UPDATE chains SET id = 9 WHERE id = 1;
             UPDATE chain_heads SET chain = 9 WHERE chain = 1;
             UPDATE events SET id = id + (8 << 40) WHERE id <= #10",
            &[(2, Reordered, 0)],
        )
        .await;
}

/// Makes the head row fit the last event there is.
fn set_back(chain: i64) -> String {
    let last = format!(
        "(SELECT MAX(id) FROM events WHERE id < {} << 40)",
        chain + 1
    );
    format!(
        "UPDATE chain_heads SET seq = {last} - ({chain} << 40),
           link = (SELECT link FROM events WHERE id = {last}),
           mac = (SELECT mac FROM events WHERE id = {last}),
           at = (SELECT at FROM events WHERE id = {last}) WHERE chain = {chain}"
    )
}

#[tokio::test]
async fn i8_a_cut_tail_is_found() {
    let sample = Sample::new().await;
    let cut = "DELETE FROM events WHERE id IN (#9, #10)";
    sample.check(cut, &[(1, CutTail, 9)]).await;
    // With the head row set back, the later chain still knows.
    let set_back_1 = format!("{cut}; {}; DELETE FROM checkpoints", set_back(1));
    let expected = [(0, BadCheckpoint, -1), (1, CutTail, 9)];
    sample.check(&set_back_1, &expected).await;
    // The newest chain is known to checkpoints only.
    let newest = format!(
        "DELETE FROM events WHERE id > (3 << 40) | 2; {}",
        set_back(3)
    );
    sample.check(&newest, &[(3, CutTail, 3)]).await;
    let no_checkpoints = format!("{newest}; DELETE FROM checkpoints");
    let [full, alone, links] = sample
        .tamper(|db| db.execute_batch(&no_checkpoints).unwrap())
        .await;
    let expected = [(0, BadCheckpoint, -1), (3, CutTail, 3)];
    assert_eq!(sample.places(&full), expected);
    assert_eq!(sample.places(&links), expected);
    // Exactly this needs the exported one: nothing in the database tells.
    holds(&alone);
}

#[tokio::test]
async fn i8_a_vanished_chain_is_found() {
    let sample = Sample::new().await;
    let remove = |chain: i64| {
        format!(
            "DELETE FROM events WHERE id > {chain} << 40 AND id < {} << 40;
             DELETE FROM chain_heads WHERE chain = {chain};
             DELETE FROM chains WHERE id = {chain}",
            chain + 1
        )
    };
    for chain in 1..=3 {
        let expected = [(chain as usize, VanishedChain, -1)];
        sample.check(&remove(chain), &expected).await;
    }
    sample
        .check(
            "DELETE FROM chains WHERE id = 2",
            &[
                (0, VanishedChain, -1),
                (0, VanishedChain, -1),
                (2, VanishedChain, -1),
            ],
        )
        .await;
    let newest = format!("{}; DELETE FROM checkpoints", remove(3));
    let [full, alone, links] = sample.tamper(|db| db.execute_batch(&newest).unwrap()).await;
    let expected = [(0, BadCheckpoint, -1), (3, VanishedChain, -1)];
    assert_eq!(sample.places(&full), expected);
    assert_eq!(sample.places(&links), expected);
    holds(&alone);
}

#[tokio::test]
async fn i8_a_changed_chain_or_head_row_is_found() {
    let sample = Sample::new().await;
    let chain = |change: &str| format!("UPDATE chains SET {change} WHERE id = 2");
    sample
        .check(&chain("started_at = 0"), &[(2, Edited, 0)])
        .await;
    sample
        .check(
            &chain("before_seq = 1"),
            &[(1, Replaced, 1), (2, Edited, 0)],
        )
        .await;
    let head = |change: &str| format!("UPDATE chain_heads SET {change} WHERE chain = 2");
    sample
        .check(
            &head("link = zeroblob(32)"),
            &[(2, HeadMismatch, 13), (2, HeadMismatch, 13)],
        )
        .await;
    sample
        .check(&head("mac = zeroblob(16)"), &[(2, HeadMismatch, 13)])
        .await;
    sample
        .check(&head("at = 0"), &[(2, HeadMismatch, 13)])
        .await;
    sample
        .check(
            "DELETE FROM chain_heads WHERE chain = 2",
            &[(2, HeadMismatch, -1)],
        )
        .await;
}
