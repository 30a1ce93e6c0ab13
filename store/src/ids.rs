//! Internal ids, taken from the database in blocks: an id is never given out twice.

use tokio::sync::Mutex;

use crate::Store;
use crate::error::StoreError;
use crate::tables::meta::TAKE_IDS;
use crate::value::params;

/// Ids per block; what is left of a block at the end of a process is never used.
const BLOCK: i64 = 1000;

#[derive(Default)]
struct Block {
    next: i64,
    end: i64,
    /// How often the database had lost something when it gave this block out. A block
    /// that it has forgotten it gives to somebody else.
    losses: u64,
}

#[derive(Default)]
pub(crate) struct Ids {
    block: Mutex<Block>,
}

impl Ids {
    pub(crate) async fn next(&self, store: &Store) -> Result<i64, StoreError> {
        let mut block = self.block.lock().await;
        let losses = store.broken_chains();
        if block.next >= block.end || block.losses != losses {
            let row = store.write_rows(TAKE_IDS, params![BLOCK]).await?.pop();
            let end = row
                .ok_or_else(|| StoreError::Corrupt("no block of ids".into()))?
                .int(0)?;
            let next = end - BLOCK;
            *block = Block { next, end, losses };
        }
        block.next += 1;
        Ok(block.next - 1)
    }
}
