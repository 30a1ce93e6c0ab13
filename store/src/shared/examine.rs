//! What an administrator should know about a Redis server before relying on it.

use super::link::{Fault, Link, target};
use super::{Inner, RedisSettings, SharedCounters};
use crate::error::StoreError;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisReport {
    /// One sentence: which server, which version.
    pub found: String,
    /// What to think about; empty when all is well.
    pub notes: Vec<String>,
}

/// The oldest version whose scripts may both read the clock and write.
const OLDEST: u32 = 5;

impl SharedCounters {
    /// Connects, counts once on a key of its own and reads what the server says of itself.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with a sentence for the administrator.
    pub async fn examine(settings: &RedisSettings) -> Result<RedisReport, StoreError> {
        let target = target(settings)?;
        let told = |fault: Fault| StoreError::Unusable(fault.to_string());
        let link = Link::make(&target, 1, settings.connect).await;
        let link = link.map_err(told)?;
        let inner = Inner::new(target, settings);
        inner.probe(&link).await.map_err(told)?;
        let info = tokio::time::timeout(settings.answer, link.info()).await;
        // A server may forbid INFO; it counts all the same.
        let info = info.ok().and_then(Result::ok);
        report(info.as_deref(), link.is_cluster())
    }
}

/// Reads the answer to INFO.
fn report(info: Option<&str>, as_cluster: bool) -> Result<RedisReport, StoreError> {
    let Some(info) = info else {
        return Ok(RedisReport {
            found: "it counts, and tells nothing of itself".into(),
            notes: Vec::new(),
        });
    };
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| *key == name)
            .map(|(_, text)| text.trim())
    };
    let (name, version) = match field("valkey_version") {
        Some(version) => ("Valkey", version),
        None => ("Redis", field("redis_version").unwrap_or("of no version")),
    };
    let major = version.split('.').next().and_then(|text| text.parse().ok());
    if major.is_some_and(|major: u32| major < OLDEST) {
        let text = format!("{name} {version} is too old: {OLDEST} or later is needed");
        return Err(StoreError::Unusable(text));
    }
    let mut notes = Vec::new();
    if field("redis_mode") == Some("cluster") && !as_cluster {
        notes.push(
            "this is one node of a Redis Cluster: write redis+cluster:// (or rediss+cluster://), \
             or each otpd counts most limits for itself"
                .to_owned(),
        );
    }
    let policy = field("maxmemory_policy").unwrap_or_default();
    if field("maxmemory").is_some_and(|bytes| bytes != "0") && policy == "noeviction" {
        notes.push(
            "maxmemory-policy is noeviction: once the memory is full, each otpd counts for \
             itself; with volatile-ttl the counters nearest to their end go first"
                .to_owned(),
        );
    }
    let memory = if policy.is_empty() {
        String::new()
    } else {
        format!(", maxmemory-policy {policy}")
    };
    Ok(RedisReport {
        found: format!("reachable and counting, {name} {version}{memory}"),
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_judged() {
        fn check(info: &str, found: Result<&str, &str>, notes: usize) {
            let report = report(Some(info), false).map_err(|error| error.to_string());
            let report = report.as_ref();
            match found {
                Ok(words) => assert_eq!(report.map(|it| it.found.as_str()), Ok(words)),
                Err(words) => assert!(report.unwrap_err().contains(words), "{info}"),
            }
            assert_eq!(report.map_or(0, |it| it.notes.len()), notes, "{info}");
        }
        let redis = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n";
        check(redis, Ok("reachable and counting, Redis 7.0.15"), 0);
        let valkey = format!("{redis}valkey_version:8.1.0\r\nmaxmemory:0\r\n");
        let full = format!("{valkey}maxmemory_policy:noeviction\r\n");
        let words = "reachable and counting, Valkey 8.1.0, maxmemory-policy noeviction";
        check(&full, Ok(words), 0);
        let limited = full.replace("maxmemory:0", "maxmemory:1000000");
        check(&limited, Ok(words), 1);
        let cluster = limited.replace("standalone", "cluster");
        check(&cluster, Ok(words), 2);
        assert_eq!(report(Some(&cluster), true).unwrap().notes.len(), 1);
        check("redis_version:4.0.14\r\n", Err("too old"), 0);
    }

    #[test]
    fn a_silent_server_is_taken_as_it_is() {
        assert!(report(None, false).unwrap().notes.is_empty());
    }
}
