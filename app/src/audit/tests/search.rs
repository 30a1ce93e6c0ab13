//! Searches find what a naive filter finds, in its order, whatever the index has.

use domain::{DeviceName, Personal, UserName};

use super::super::AuditQuery;
use super::*;

/// What the naive filter knows of an event.
struct Plain {
    id: i64,
    at: i64,
    action: String,
    success: bool,
    personal: Personal,
}

impl World {
    fn plain(&self) -> Vec<Plain> {
        let connection = self.intruder();
        let sql = "SELECT id, at, action, success, personal FROM events ORDER BY at DESC, id DESC";
        let mut query = connection.prepare(sql).unwrap();
        let rows = query.query_map([], |row| {
            let personal: String = row.get(4)?;
            Ok(Plain {
                id: row.get(0)?,
                at: row.get(1)?,
                action: row.get(2)?,
                success: row.get(3)?,
                personal: serde_json::from_str(&personal).unwrap(),
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// All pages of a search.
    async fn pages(&self, query: &AuditQuery) -> Vec<i64> {
        let mut ids = Vec::new();
        let mut query = query.clone();
        loop {
            let page = self.app.search_audit(&query).await.unwrap();
            assert!(page.data.len() <= query.limit as usize);
            ids.extend(
                page.data
                    .iter()
                    .map(|entry| entry.id.parse::<i64>().unwrap()),
            );
            if page.next_cursor.is_none() {
                return ids;
            }
            query.cursor = page.next_cursor;
        }
    }

    async fn random_events(&self, count: u64) {
        const ACTIONS: [Action; 5] = [
            Action::OtpVerification,
            Action::OtpVerification,
            Action::OtpVerification,
            Action::DeviceRegistered,
            Action::KeyCreated,
        ];
        let mut left = count;
        while left > 0 {
            let size = (1 + self.random.below(40)).min(left);
            left -= size;
            let events = (0..size).map(|_| {
                let number = i64::try_from(self.random.below(1000)).unwrap();
                let success = self.random.below(4) > 0;
                let mut event = verification(number, success);
                event.action = ACTIONS[usize::try_from(self.random.below(5)).unwrap()];
                if event.action == Action::KeyCreated {
                    event.personal = Personal::default();
                    event.user = None;
                }
                event
            });
            self.record_all(events.collect()).await;
            self.wait(i64::try_from(self.random.below(3)).unwrap());
        }
    }

    fn random_query(&self) -> AuditQuery {
        let random = |end| i64::try_from(self.random.below(end)).unwrap();
        let sometimes = || self.random.below(3) == 0;
        let mut times = [random(120), random(120)];
        times.sort_unstable();
        let [from, to] = times.map(|time| Time::from_millis(START - 5 + time));
        AuditQuery {
            device: sometimes()
                .then(|| DeviceName::parse(&format!("phone-{}", random(4))).unwrap()),
            user: sometimes().then(|| UserName::parse(&format!("USER{}", random(4))).unwrap()),
            action: sometimes().then(|| {
                [
                    Action::OtpVerification,
                    Action::KeyCreated,
                    Action::AuditCut,
                ][usize::try_from(random(3)).unwrap()]
            }),
            success: sometimes().then(|| random(2) == 0),
            from: sometimes().then_some(from),
            to: sometimes().then_some(to),
            cursor: None,
            limit: u32::try_from(1 + random(60)).unwrap(),
        }
    }
}

fn naive(events: &[Plain], query: &AuditQuery) -> Vec<i64> {
    let device = query.device.as_ref().map(|name| name.as_str());
    let user = query.user.as_ref().map(|name| name.canonical());
    events
        .iter()
        .filter(|e| device.is_none() || e.personal.device_id.as_deref() == device)
        .filter(|e| user.is_none() || e.personal.user_id.as_deref() == user)
        .filter(|e| {
            query
                .action
                .is_none_or(|action| action.as_str() == e.action)
        })
        .filter(|e| query.success.is_none_or(|success| success == e.success))
        .filter(|e| query.from.is_none_or(|from| e.at >= from.millis()))
        .filter(|e| query.to.is_none_or(|to| e.at < to.millis()))
        .map(|e| e.id)
        .collect()
}

async fn compare(world: &World, rounds: usize) {
    let events = world.plain();
    for _ in 0..rounds {
        let query = world.random_query();
        assert_eq!(
            world.pages(&query).await,
            naive(&events, &query),
            "{query:?}"
        );
    }
}

#[tokio::test]
async fn a_search_finds_what_a_naive_filter_finds() {
    let mut world = World::new(7).await;
    for _ in 0..3 {
        world.random_events(400).await;
        world = world.restart().await;
    }
    world.random_events(150).await;
    compare(&world, 60).await;
    // Partly indexed, then wholly, then with a new tail.
    assert!(!world.app.index_events(3, Haste::Now).await.unwrap());
    compare(&world, 60).await;
    assert!(world.app.index_events(1000, Haste::Now).await.unwrap());
    assert_eq!(
        world.count("SELECT COUNT(*) FROM chains WHERE indexed_seq = 0"),
        0
    );
    compare(&world, 60).await;
    world.random_events(100).await;
    compare(&world, 60).await;
}

#[tokio::test]
async fn pages_hold_together_while_writes_go_on() {
    let world = World::new(8).await;
    world.random_events(300).await;
    world.app.index_events(1, Haste::Now).await.unwrap();
    let events = world.plain();
    let queries = [
        AuditQuery::default(),
        AuditQuery {
            user: Some(UserName::parse("user1").unwrap()),
            ..AuditQuery::default()
        },
        AuditQuery {
            success: Some(false),
            ..AuditQuery::default()
        },
    ];
    for query in queries {
        let mut query = AuditQuery { limit: 17, ..query };
        let before = world.plain().len() - events.len();
        let mut ids: Vec<i64> = Vec::new();
        loop {
            let page = world.app.search_audit(&query).await.unwrap();
            ids.extend(
                page.data
                    .iter()
                    .map(|entry| entry.id.parse::<i64>().unwrap()),
            );
            world.random_events(20).await;
            world.app.index_events(1, Haste::Now).await.unwrap();
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        // What came after the first page is not among them; what was there is, once.
        let known = world.plain();
        let known = &known[known.len() - events.len() - before..];
        assert_eq!(
            ids,
            naive(
                known,
                &AuditQuery {
                    cursor: None,
                    ..query
                }
            )
        );
    }
}

#[tokio::test]
async fn a_long_tail_is_indexed_by_the_search_itself() {
    let world = World::new(9).await;
    world.random_events(2500).await;
    let query = AuditQuery {
        action: Some(Action::KeyCreated),
        limit: 200,
        ..AuditQuery::default()
    };
    assert_eq!(world.pages(&query).await, naive(&world.plain(), &query));
    assert!(world.app.store.unindexed().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_entry_shows_what_the_event_holds() {
    let world = World::new(10).await;
    let event = verification(1, false)
        .with(&serde_json::json!({ "step": 5 }))
        .because("lost phone");
    world.record(event).await;
    world
        .record(Event::new(Action::KeyRevoked, true, &Origin::default()))
        .await;
    let query = AuditQuery {
        limit: 5,
        ..AuditQuery::default()
    };
    let page = world.app.search_audit(&query).await.unwrap();
    let shown = serde_json::to_value(&page.data).unwrap();
    let id = (1_i64 << 40) | 1;
    let expected = serde_json::json!([
        { "id": (id + 1).to_string(), "device_id": null, "user_id": null,
          "action": "KEY_REVOKED", "success": true, "timestamp": "2027-01-15T08:00:00.000Z",
          "ip_address": null, "user_agent": null, "request_id": null, "caller": "",
          "additional_data": null },
        { "id": id.to_string(), "device_id": "phone-1", "user_id": "user1",
          "action": "OTP_VERIFICATION", "success": false,
          "timestamp": "2027-01-15T08:00:00.000Z", "ip_address": "192.0.2.1",
          "user_agent": "curl", "request_id": "r-1", "caller": "key:abc",
          "additional_data": { "step": 5, "reason": "lost phone" } },
    ]);
    assert_eq!(shown, expected);
    assert!(page.next_cursor.is_none());
}

#[tokio::test]
async fn a_cursor_of_something_else_is_refused() {
    let world = World::new(11).await;
    let query = AuditQuery {
        cursor: Some("x".into()),
        limit: 5,
        ..AuditQuery::default()
    };
    let error = world.app.search_audit(&query).await.err().unwrap();
    assert!(matches!(error, crate::Error::Invalid(_)), "{error:?}");
}
