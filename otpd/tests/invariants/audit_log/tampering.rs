//! The ways to tamper with the log, and what has to be said about each.

use super::scene::{CHAIN, COLUMNS, Scene};

/// One way to tamper.
pub(super) struct Tampering {
    pub(super) what: String,
    pub(super) sql: String,
    /// Without the exported checkpoint this one is not to be seen.
    pub(super) needs_checkpoint: bool,
    /// Words that stand in one line of the report.
    pub(super) says: Vec<String>,
}

fn tampering(what: &str, sql: String, says: &[&str]) -> Tampering {
    Tampering {
        what: what.to_owned(),
        sql,
        needs_checkpoint: false,
        says: says.iter().map(|word| (*word).to_owned()).collect(),
    }
}

fn with_checkpoint(what: &str, sql: String, says: &[&str]) -> Tampering {
    // Whoever hides something takes the checkpoints of the database along.
    Tampering {
        needs_checkpoint: true,
        ..tampering(what, format!("{sql} DELETE FROM checkpoints;"), says)
    }
}

/// All of them.
pub(super) fn everything(scene: &Scene) -> Vec<Tampering> {
    [edits(scene), rows(scene), tails(scene), chains(scene)]
        .into_iter()
        .flatten()
        .collect()
}

/// Every column of an event, changed alone.
fn edits(scene: &Scene) -> Vec<Tampering> {
    let (event, other) = (scene.event(5), scene.event(8));
    let copied = |column| format!("{column} = (SELECT {column} FROM events WHERE id = {other})");
    let changes = [
        "at = at + 1".to_owned(),
        "action = 'DEVICE_DELETED'".to_owned(),
        "success = 1 - success".to_owned(),
        "user_id = user_id + 1".to_owned(),
        "user_id = NULL".to_owned(),
        "device_id = device_id + 1".to_owned(),
        "caller = 'key:somebody'".to_owned(),
        "request_id = 'another'".to_owned(),
        "detail = '{}'".to_owned(),
        "personal = '{}'".to_owned(),
        "personal_digest = salt".to_owned(),
        copied("salt"),
        copied("link"),
        copied("mac"),
    ];
    let place = format!("event={event}");
    changes
        .iter()
        .map(|change| {
            let sql = format!("UPDATE events SET {change} WHERE id = {event};");
            tampering(&format!("edit: {change}"), sql, &[&scene.name, &place])
        })
        .collect()
}

/// Rows that are missing, too many, or at another place.
fn rows(scene: &Scene) -> Vec<Tampering> {
    let name = scene.name.as_str();
    let at = |place: i64| format!("event={}", scene.event(place));
    let row = scene.event(6);
    let end = scene.event(scene.last);
    let copy_end = |id: i64| {
        format!(
            "INSERT INTO events (id, {COLUMNS}) SELECT {id}, {COLUMNS} FROM events WHERE id = {end};"
        )
    };
    let delete = format!("DELETE FROM events WHERE id = {row};");
    let blank = format!("UPDATE events SET personal = NULL, salt = NULL WHERE id = {row};");
    let (behind, stray) = (copy_end(end + 1), copy_end(99 * CHAIN + 1));
    vec![
        tampering("delete a row", delete, &[name, "missing", "seq=6 "]),
        tampering("blank a person", blank, &[name, &at(6)]),
        tampering("insert a row", scene.insert(6), &[name, "inserted"]),
        tampering(
            "add a row",
            behind,
            &[name, "inserted", &at(scene.last + 1)],
        ),
        tampering("a row of no chain", stray, &["chain number 99"]),
        tampering("swap rows", scene.swap(4, 9), &[name, "reordered", &at(4)]),
        tampering(
            "swap neighbours",
            scene.swap(6, 7),
            &[name, "reordered", &at(6)],
        ),
    ]
}

/// Ends that are cut off, with and without the head row.
fn tails(scene: &Scene) -> Vec<Tampering> {
    let name = scene.name.as_str();
    let last = format!("seq={} ", scene.last);
    let one = scene.cut_tail(scene.last - 1);
    let head = |change: &str| {
        format!(
            "UPDATE chain_heads SET {change} WHERE chain = {};",
            scene.chain
        )
    };
    let no_head = format!("DELETE FROM chain_heads WHERE chain = {};", scene.chain);
    // A later chain names the end of this one, so even a perfect head row is seen.
    let moved = scene.cut_tail(7) + &scene.move_head(7);
    vec![
        tampering(
            "cut the tail",
            scene.cut_tail(7),
            &[name, "cut_tail", "seq=8 "],
        ),
        tampering("cut the last event", one, &[name, "cut_tail", &last]),
        tampering(
            "cut the tail and move the head",
            moved,
            &[name, "cut_tail", "seq=8 "],
        ),
        tampering("delete a head row", no_head, &[name, "head_mismatch"]),
        tampering("move a head row", head("seq = seq + 1"), &[name]),
        tampering(
            "edit a head's link",
            head("link = mac"),
            &[name, "head_mismatch"],
        ),
        tampering(
            "edit a head's mac",
            head("mac = link"),
            &[name, "head_mismatch"],
        ),
    ]
}

/// Chains that are gone or begin otherwise, and checkpoints.
fn chains(scene: &Scene) -> Vec<Tampering> {
    let name = scene.name.as_str();
    let chain = |change: &str| format!("UPDATE chains SET {change} WHERE id = {};", scene.chain);
    let middle = scene.delete_chain(scene.chain);
    let newest = scene.delete_chain(scene.newest);
    let all = "DELETE FROM events; DELETE FROM chain_heads; DELETE FROM chains;";
    let first = "DELETE FROM checkpoints WHERE id = 1;";
    let body = "UPDATE checkpoints SET body = REPLACE(body, '\"at\":1', '\"at\":2') WHERE id = 1;";
    vec![
        tampering("delete a chain", middle, &[name, "vanished_chain"]),
        tampering("another predecessor", chain("before_seq = 1"), &[name]),
        tampering(
            "another time",
            chain("started_at = started_at + 1"),
            &[name],
        ),
        tampering("delete a checkpoint", first.into(), &["bad_checkpoint"]),
        tampering("edit a checkpoint", body.into(), &["bad_checkpoint"]),
        with_checkpoint("delete the newest chain", newest, &["vanished_chain"]),
        with_checkpoint("delete everything", all.into(), &[name, "vanished_chain"]),
    ]
}
