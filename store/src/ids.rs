//! Internal ids, taken from the database in blocks: an id is never given out twice.

use tokio::sync::Mutex;

use crate::Store;
use crate::error::StoreError;
use crate::tables::meta::TAKE_IDS;
use crate::value::params;

/// Ids per block; what is left of a block at the end of a process is never used.
const BLOCK: i64 = 1000;

#[derive(Default)]
pub(crate) struct Ids {
    /// Next id and end of the block.
    block: Mutex<(i64, i64)>,
}

impl Ids {
    pub(crate) async fn next(&self, store: &Store) -> Result<i64, StoreError> {
        let mut block = self.block.lock().await;
        if block.0 >= block.1 {
            let row = store.write_rows(TAKE_IDS, params![BLOCK]).await?.pop();
            let end = row
                .ok_or_else(|| StoreError::Corrupt("no block of ids".into()))?
                .int(0)?;
            *block = (end - BLOCK, end);
        }
        block.0 += 1;
        Ok(block.0 - 1)
    }
}
