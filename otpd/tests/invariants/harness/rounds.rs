//! Rounds of a race, of which a few may be cost an answer by a machine that stands still.

use std::time::Duration;

use super::Server;
use super::surroundings::until;

/// How long the nodes may take until they are ready again.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Runs round after round until there were enough of them. `run` gives how many answers
/// of a round were 503. Such a round is made up for, and few are forgiven: when the
/// database stands still, that is what has to be answered. How many 503 there were.
pub(crate) fn repeat(enough: impl Fn(usize) -> bool, mut run: impl FnMut(usize) -> usize) -> usize {
    let (mut round, mut forgiven, mut refused) = (0, 0, 0);
    while !enough(round - forgiven) {
        let lost = run(round);
        round += 1;
        refused += lost;
        forgiven += usize::from(lost > 0);
        let most = 2 + round / 20;
        assert!(forgiven <= most, "503 in {forgiven} of {round} rounds");
    }
    refused
}

/// Waits until all nodes are ready.
pub(crate) fn wait_until_ready(nodes: &[Server]) {
    for node in nodes {
        let mut stranger = node.stranger();
        let ready = || (stranger.get("/readyz").status == 200).then_some(());
        assert!(until(READY_LIMIT, ready).is_some(), "not ready");
    }
}
