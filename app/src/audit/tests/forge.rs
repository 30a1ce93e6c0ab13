//! Whoever forges links, chains, cuts, blanks or checkpoints without the keys is found.

use domain::chain::{self, ChainName, Covered, Link};

use super::FindingKind::*;
use super::sample::Sample;
use super::*;

#[tokio::test]
async fn i8_a_forged_chain_is_found() {
    let sample = Sample::new().await;
    let [full, alone, _] = sample.tamper(forge_chain).await;
    let expected = [(99, BadMac, 0), (99, HeadMismatch, 0)];
    assert_eq!(sample.places(&full), expected);
    assert!(!alone.holds());
}

/// A chain whose links are right and whose MACs cannot be.
fn forge_chain(db: &Connection) {
    let name = ChainName([9; 16]);
    let first = chain::first_link(name, Time::from_millis(START), None).0;
    db.execute(
        "INSERT INTO chains (id, name, started_at, first_link, first_mac, cut_seq, indexed_seq)
         VALUES (9, ?1, ?2, ?3, zeroblob(16), 0, 0)",
        (name.0, START, first),
    )
    .unwrap();
    db.execute(
        "INSERT INTO chain_heads (chain, seq, link, mac, at) VALUES (9, 0, ?1, zeroblob(16), ?2)",
        (first, START),
    )
    .unwrap();
}

#[tokio::test]
async fn i8_a_forged_cut_or_checkpoint_is_found() {
    let sample = Sample::new().await;
    let cut = "UPDATE chains SET cut_seq = 3, cut_at = 5, cut_kid = 'k',
          cut_signature = zeroblob(64),
          cut_link = (SELECT link FROM events WHERE id = #3) WHERE id = 1;
        DELETE FROM events WHERE id <= #3";
    sample.check(cut, &[(1, BadCut, 1)]).await;
    let bad = (0, BadCheckpoint, -1);
    sample
        .check("DELETE FROM checkpoints WHERE id = 1", &[bad])
        .await;
    sample
        .check("UPDATE checkpoints SET body = '{}' WHERE id = 2", &[bad])
        .await;
    let moved = "UPDATE checkpoints SET body = replace(body, '\"seq\":10', '\"seq\":9')";
    sample.check(&format!("{moved} WHERE id = 2"), &[bad]).await;
    sample
        .check("UPDATE checkpoints SET at = 1 WHERE id = 3", &[bad])
        .await;
}

/// Replaces an event and all links after it, as somebody without the key can.
fn rewrite(db: &Connection) {
    let name: [u8; 16] = db
        .query_row("SELECT name FROM chains WHERE id = 3", [], |row| row.get(0))
        .unwrap();
    let base = 3_i64 << 40;
    let link_of = |seq: i64| -> [u8; 32] {
        let sql = "SELECT link FROM events WHERE id = ?1";
        db.query_row(sql, [base | seq], |row| row.get(0)).unwrap()
    };
    let mut link = Link(link_of(1));
    db.execute("UPDATE events SET success = 1 WHERE id = ?1", [base | 2])
        .unwrap();
    for seq in 2..=4 {
        let sql = "SELECT at, action, success, user_id, device_id, caller, request_id, detail,
                   personal, salt FROM events WHERE id = ?1";
        link = db
            .query_row(sql, [base | seq], |row| {
                let text = |place: usize| row.get::<_, String>(place);
                let (action, caller, request_id) = (text(1)?, text(5)?, text(6)?);
                let (detail, personal) = (text(7)?, text(8)?);
                let covered = Covered {
                    at: Time::from_millis(row.get(0)?),
                    action: &action,
                    success: row.get(2)?,
                    user: row.get(3)?,
                    device: row.get(4)?,
                    caller: &caller,
                    request_id: &request_id,
                    detail: &detail,
                    personal_digest: chain::personal_digest(&row.get(9)?, &personal),
                };
                Ok(chain::link(&link, ChainName(name), seq, &covered))
            })
            .unwrap();
        let sql = "UPDATE events SET link = ?2 WHERE id = ?1";
        db.execute(sql, (base | seq, link.0)).unwrap();
    }
    db.execute("UPDATE chain_heads SET link = ?1 WHERE chain = 3", [link.0])
        .unwrap();
    db.execute("DELETE FROM checkpoints", []).unwrap();
}

#[tokio::test]
async fn i8_a_rewritten_tail_needs_the_key() {
    let sample = Sample::new().await;
    let [full, alone, links] = sample.tamper(rewrite).await;
    let macs = [(3, BadMac, 2), (3, HeadMismatch, 4)];
    assert_eq!(sample.places(&alone), macs);
    assert_eq!(alone.findings[0].last_seq, Some(4));
    let seen = [(0, BadCheckpoint, -1), (3, Replaced, 4)];
    assert_eq!(sample.places(&links), seen);
    assert!(sample.places(&full).contains(&seen[1]));
}

#[tokio::test]
async fn i8_a_blank_without_an_erasure_is_found() {
    let sample = Sample::new().await;
    let blank = |db: &Connection| {
        let sql = "SELECT salt, personal FROM events WHERE id = (1 << 40) | 5";
        let digest = db
            .query_row(sql, [], |row| {
                let personal: String = row.get(1)?;
                Ok(chain::personal_digest(&row.get(0)?, &personal))
            })
            .unwrap();
        db.execute(
            "UPDATE events SET personal = NULL, salt = NULL, personal_digest = ?1
             WHERE id = (1 << 40) | 5",
            [digest],
        )
        .unwrap();
    };
    for report in sample.tamper(blank).await {
        assert_eq!(sample.places(&report), [(1, BlankWithoutErasure, 5)]);
        assert_eq!(report.erased, 1);
    }
}
