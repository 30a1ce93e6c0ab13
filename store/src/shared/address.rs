//! Where the counters are: one server, or some nodes of a cluster from which the others are found.

/// What a URL names, as addresses that the driver reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    One(String),
    Cluster(Vec<String>),
}

/// Reads a URL: `redis+cluster://user:password@one:6379,two:6379` names nodes of a cluster
/// that all take the same password; one is enough.
pub(super) fn read(url: &str) -> Address {
    let parts = url.split_once("://");
    let cluster = parts.and_then(|(scheme, rest)| Some((scheme.strip_suffix("+cluster")?, rest)));
    let Some((scheme, rest)) = cluster else {
        return Address::One(url.to_owned());
    };
    let (who, places) = match rest.rsplit_once('@') {
        Some((who, places)) => (format!("{who}@"), places),
        None => (String::new(), rest),
    };
    let end = places.find(['/', '?']).unwrap_or(places.len());
    let (hosts, parameters) = places.split_at(end);
    let node = |host: &str| format!("{scheme}://{who}{host}{parameters}");
    Address::Cluster(hosts.split(',').map(node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_or_nodes() {
        fn check(url: &str, nodes: &[&str]) {
            let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
            assert_eq!(read(url), Address::Cluster(nodes), "{url}");
        }
        for url in [
            "redis://h:1",
            "rediss://u:p@h/2",
            "redis://u:a+cluster://@h",
        ] {
            assert_eq!(read(url), Address::One(url.to_owned()));
        }
        check("redis+cluster://one", &["redis://one"]);
        check(
            "rediss+cluster://u:p%40@one:1,[::1]:2/0?protocol=resp3",
            &[
                "rediss://u:p%40@one:1/0?protocol=resp3",
                "rediss://u:p%40@[::1]:2/0?protocol=resp3",
            ],
        );
        check("redis+cluster://one,", &["redis://one", "redis://"]);
    }
}
