//! The metrics page.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use utoipa::openapi::{RefOr, Schema};

use crate::allowed::{Allowed, MetricsRead};
use crate::answer::{Outcome, Output, typed};
use crate::schema;

/// All metrics as text.
pub(crate) struct Text {
    text: String,
    media_type: &'static str,
}

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(call: Allowed<MetricsRead>, (): ()) -> Outcome<Text> {
    let stats = &call.front.stats;
    let text = call.app().metrics_text(stats.open(), stats.refused())?;
    Ok(match call.prefers_open_metrics {
        true => Text {
            text,
            media_type: OPEN_METRICS,
        },
        false => Text {
            text: prometheus(&text),
            media_type: PROMETHEUS,
        },
    })
}

impl Output for Text {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const MEDIA_TYPE: &'static str = PROMETHEUS;
    const OTHER_MEDIA_TYPE: Option<&'static str> = Some(OPEN_METRICS);

    fn schema() -> RefOr<Schema> {
        schema::text().into()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        Ok(typed(self.media_type, Body::from(self.text)))
    }
}

/// The older text format of the same: a counter is described by the name that its series
/// has, and the text ends where it ends.
fn prometheus(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut older = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        let about = (words.next(), words.next(), words.next(), words.next());
        if let (Some("#"), Some(kind), Some(name), Some(rest)) = about
            && counters.contains(name)
        {
            older.extend(["# ", kind, " ", name, "_total ", rest]);
        } else {
            older.push_str(line);
        }
        older.push('\n');
    }
    older
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_a_counter_as_its_series_is_named() {
        let newer = "# HELP otpd_locks Times locked.\n# TYPE otpd_locks counter\notpd_locks_total 2\n# HELP otpd_depth Depth.\n# TYPE otpd_depth gauge\notpd_depth 1\n# EOF\n";
        let older = "# HELP otpd_locks_total Times locked.\n# TYPE otpd_locks_total counter\notpd_locks_total 2\n# HELP otpd_depth Depth.\n# TYPE otpd_depth gauge\notpd_depth 1\n";
        assert_eq!(prometheus(newer), older);
    }
}
