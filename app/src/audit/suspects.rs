//! Names what happened where a chain does not lead on: edited, missing, inserted, out of order.

use domain::chain::Link;

use super::report::{Finding, FindingKind};
use super::walk::{Group, Odd, Walk};

/// Where a misfit belongs, if that was found.
type Belongs = Vec<Vec<Option<i64>>>;

/// Settles the groups that a walk has gathered.
pub(super) fn settle(walk: &mut Walk<'_>) {
    let groups = std::mem::take(&mut walk.groups);
    let mut belongs: Belongs = groups.iter().map(|g| vec![None; g.rows.len()]).collect();
    let placed: Vec<i64> = (0..groups.len())
        .map(|number| put_in_order(walk, &groups, &mut belongs, number))
        .collect();
    for ((group, places), placed) in groups.iter().zip(&belongs).zip(placed) {
        name(walk, group, places, placed);
    }
}

/// Looks among the misfits for those that follow the last proven event, one after the
/// other. Returns the last place that was filled so.
fn put_in_order(
    walk: &mut Walk<'_>,
    groups: &[Group],
    belongs: &mut Belongs,
    number: usize,
) -> i64 {
    let group = &groups[number];
    let mut head = group.after;
    while head.seq < group.until {
        let place = head.seq + 1;
        let Some((g, r)) = find(walk, groups, belongs, number, &head.link, place) else {
            break;
        };
        belongs[g][r] = Some(place);
        head.seq = place;
        head.link = groups[g].rows[r].row.link;
    }
    head.seq
}

/// The misfit that belongs at a place: of its own group if possible.
fn find(
    walk: &mut Walk<'_>,
    groups: &[Group],
    belongs: &Belongs,
    own: usize,
    previous: &Link,
    place: i64,
) -> Option<(usize, usize)> {
    let others = (0..groups.len()).filter(|number| *number != own);
    for g in std::iter::once(own).chain(others) {
        for (r, odd) in groups[g].rows.iter().enumerate() {
            if belongs[g][r].is_some() {
                continue;
            }
            if walk.comparisons_left == 0 {
                return None;
            }
            walk.comparisons_left -= 1;
            if walk.fits(previous, place, &odd.row) && walk.mac_holds(&odd.row) {
                return Some((g, r));
            }
        }
    }
    None
}

/// Says of each misfit of a group, and of each empty place, what is wrong.
fn name(walk: &mut Walk<'_>, group: &Group, belongs: &[Option<i64>], placed: i64) {
    let mut filled = placed;
    for (odd, belongs) in group.rows.iter().zip(belongs) {
        // What follows tells how far these were pushed on or back.
        let stands = odd.row.seq - group.shift;
        match belongs {
            // It stands in its place, or has been pushed on with all that follow.
            Some(place) if *place == odd.stands || *place == stands => {}
            Some(place) => {
                let text = format!("The event belongs at place {place}.");
                walk.find(FindingKind::Reordered, &odd.row, text);
            }
            None if stands <= filled || stands > group.until => {
                let text = "No event of the chain belongs here.";
                walk.find(FindingKind::Inserted, &odd.row, text);
            }
            None => {
                missing(walk, filled + 1, stands - 1);
                misfit(walk, odd, stands == filled + 1);
                filled = stands;
            }
        }
    }
    missing(walk, filled + 1, group.until);
}

/// A row at its own place whose link does not follow. Behind a gap its content cannot
/// be checked: the link before it is lost.
fn misfit(walk: &mut Walk<'_>, odd: &Odd, checkable: bool) {
    if !walk.mac_holds(&odd.row) {
        let text = "The event was changed; a server that holds the keys did not write its link.";
        walk.find(FindingKind::Edited, &odd.row, text);
    } else if checkable {
        let text = "The event was changed: its fields do not give its link.";
        walk.find(FindingKind::Edited, &odd.row, text);
    }
}

fn missing(walk: &mut Walk<'_>, first: i64, last: i64) {
    if first <= last {
        let text = if first == last {
            "The event is missing; the one after it cannot be checked.".to_owned()
        } else {
            let count = last - first + 1;
            format!("{count} events are missing; the one after them cannot be checked.")
        };
        let finding = Finding::of_chain(FindingKind::Missing, walk.name, text);
        walk.findings.push(finding.at(first, last));
    }
}
