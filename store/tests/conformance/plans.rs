//! The plans of what runs all the time: none reads a whole table, however large it is.

use crate::database::Database;
use crate::world::World;

/// The lines of a plan. PostgreSQL reads a table as a whole as long as that is small, so
/// there it is told not to: then it does so only where no index serves.
async fn plan(database: &Database, sql: &str) -> Vec<String> {
    let sql = sql.replace("$1", "1").replace("$2", "2000");
    match database {
        Database::Sqlite(_) => {
            let rows = database.query(&format!("EXPLAIN QUERY PLAN {sql}")).await;
            rows.iter().map(|row| row[3].text().to_owned()).collect()
        }
        Database::Postgres(_) => {
            let client = database.connect().await;
            let avoid = "SET enable_seqscan = off";
            client.batch_execute(avoid).await.unwrap();
            let rows = client.query(&format!("EXPLAIN {sql}"), &[]).await;
            rows.unwrap().iter().map(|row| row.get(0)).collect()
        }
    }
}

pub async fn what_has_ended_is_found_by_an_index(world: World) {
    let store = world.store().await;
    let check = async |index: &str, sql: &str| {
        let plan = plan(&world.database, sql).await;
        let whole = |line: &String| line.starts_with("SCAN") || line.contains("Seq Scan");
        assert!(!plan.iter().any(whole), "{sql}\n{plan:#?}");
        assert!(
            plan.iter().any(|line| line.contains(index)),
            "{sql}\n{plan:#?}"
        );
    };
    for (index, sql) in store::sweeps() {
        check(index, sql).await;
    }
    store.close().await;
}
