//! Who may call what: every route of the OpenAPI document with every scope.

use std::collections::BTreeMap;

use domain::Scope;
use serde_json::{Value, json};

use crate::call::Call;
use crate::database::Engine;
use crate::harness::Server;

/// Every route with the scope that it needs; `None` is for everybody.
const ROUTES: &[(&str, &str, Option<Scope>)] = &[
    ("GET", "/health", None),
    ("GET", "/livez", None),
    ("GET", "/readyz", None),
    ("GET", "/metrics", Some(Scope::MetricsRead)),
    (
        "POST",
        "/api/v1/devices/register",
        Some(Scope::DevicesWrite),
    ),
    ("GET", "/api/v1/devices/register", Some(Scope::DevicesRead)),
    (
        "DELETE",
        "/api/v1/devices/register",
        Some(Scope::DevicesWrite),
    ),
    ("GET", "/api/v1/devices", Some(Scope::DevicesRead)),
    (
        "GET",
        "/api/v1/devices/{device_id}",
        Some(Scope::DevicesRead),
    ),
    (
        "DELETE",
        "/api/v1/devices/{device_id}",
        Some(Scope::DevicesWrite),
    ),
    (
        "POST",
        "/api/v1/devices/{device_id}/confirm",
        Some(Scope::DevicesWrite),
    ),
    (
        "POST",
        "/api/v1/devices/{device_id}/deactivate",
        Some(Scope::DevicesWrite),
    ),
    (
        "POST",
        "/api/v1/devices/{device_id}/resync",
        Some(Scope::DevicesWrite),
    ),
    ("POST", "/api/v1/otp/verify", Some(Scope::OtpVerify)),
    ("POST", "/api/v1/otp/explain", Some(Scope::Admin)),
    ("POST", "/api/v1/test/otp", Some(Scope::Admin)),
    ("POST", "/otp/enable", Some(Scope::DevicesWrite)),
    ("POST", "/otp/verify", Some(Scope::OtpVerify)),
    ("POST", "/otp/deactivate", Some(Scope::DevicesWrite)),
    ("POST", "/generate", Some(Scope::CodesIssue)),
    ("POST", "/verify", Some(Scope::OtpVerify)),
    ("GET", "/api/v1/audit", Some(Scope::AuditRead)),
    (
        "GET",
        "/api/v1/audit/checkpoints/latest",
        Some(Scope::AuditRead),
    ),
    ("POST", "/api/v1/audit/checkpoints", Some(Scope::AuditRead)),
    ("GET", "/api/v1/stats", Some(Scope::StatsRead)),
    (
        "POST",
        "/api/v1/users/{user_id}/unlock",
        Some(Scope::UsersWrite),
    ),
    ("GET", "/api/v1/users", Some(Scope::UsersRead)),
    ("GET", "/api/v1/users/{user_id}", Some(Scope::UsersRead)),
    ("DELETE", "/api/v1/users/{user_id}", Some(Scope::UsersWrite)),
    (
        "GET",
        "/api/v1/users/{user_id}/export",
        Some(Scope::UsersWrite),
    ),
    ("POST", "/auth/introspect", Some(Scope::OtpVerify)),
    ("GET", "/.well-known/jwks.json", None),
    (
        "POST",
        "/api/v1/signing-keys/rotate",
        Some(Scope::KeysWrite),
    ),
    ("GET", "/api/v1/users/{user_id}/2fa", Some(Scope::UsersRead)),
    (
        "POST",
        "/api/v1/users/{user_id}/recovery-codes",
        Some(Scope::UsersWrite),
    ),
    (
        "POST",
        "/api/v1/users/{user_id}/pass",
        Some(Scope::UsersWrite),
    ),
    ("POST", "/api/v1/recovery/verify", Some(Scope::OtpVerify)),
    ("GET", "/api/v1/keys", Some(Scope::KeysWrite)),
    ("POST", "/api/v1/keys", Some(Scope::KeysWrite)),
    ("DELETE", "/api/v1/keys/{id}", Some(Scope::KeysWrite)),
];

/// Calls for people: they look at no credential of a service, and each asks for a proof
/// of its own (the tests of accounts and emailed codes say which).
///
/// Beside each is what the document says that it takes: any one of these, and an empty
/// one where the body can do without.
const PEOPLE: &[(&str, &[&str])] = &[
    ("/signup", &[]),
    ("/qrcode/{username}", &["enrollment_token", ""]),
    ("/login", &[]),
    ("/login-2fa", &["login_cookie", ""]),
    ("/enable-mfa", &["access_token"]),
    ("/enable-mfa/confirm", &["enrollment_token"]),
    ("/disable-mfa", &[]),
    ("/recovery-codes", &["access_token"]),
    ("/auth/logout", &["access_token"]),
    ("/auth/request-otp", &[]),
    ("/auth/verify-otp", &[]),
];

fn call<'a>(server: &'a Server, method: &'static str, path: &str) -> Call<'a> {
    let names = ["{device_id}", "{user_id}", "{id}"];
    let path = names
        .iter()
        .fold(path.to_owned(), |path, name| path.replace(name, "none"));
    match method {
        "GET" => server.get(&path),
        "DELETE" => server.delete(&path),
        _ => server.post(&path, json!({})),
    }
}

/// Every operation of the document, with what it says of the scope.
fn documented(document: &Value) -> BTreeMap<(String, String), Value> {
    let mut found = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            found.insert((method.to_uppercase(), path.clone()), operation.clone());
        }
    }
    found
}

#[tokio::test]
async fn the_table_above_is_the_document() {
    let document = serde_json::to_value(web::openapi()).unwrap();
    let documented = documented(&document);
    let ours: Vec<_> = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    for (route, operation) in &documented {
        if let Some((_, proofs)) = PEOPLE.iter().find(|(path, _)| route.1 == *path) {
            let told = operation["security"].as_array();
            let told = told.into_iter().flatten().map(|one| {
                let mut names = one.as_object().unwrap().keys();
                names.next().map_or("", String::as_str)
            });
            assert_eq!(told.collect::<Vec<_>>(), *proofs, "{route:?}");
            continue;
        }
        assert!(ours.contains(route), "{route:?} is tested with no scope");
    }
    for ((method, path), (_, _, scope)) in ours.into_iter().zip(ROUTES) {
        let operation = documented.get(&(method, path.clone()));
        let operation = operation.unwrap_or_else(|| panic!("{path} is not documented"));
        let secured = operation["security"]
            .as_array()
            .is_some_and(|s| !s.is_empty());
        assert_eq!(secured, scope.is_some(), "{path}");
        let Some(scope) = scope else { continue };
        let text = operation.to_string();
        assert!(
            text.contains(scope.as_str()),
            "{path} does not name {scope}"
        );
        for status in ["401", "403", "429"] {
            assert!(
                operation["responses"].get(status).is_some(),
                "{path} {status}"
            );
        }
    }
}

/// An API key is no proof of a person: nothing is opened by it.
#[tokio::test]
async fn an_api_key_opens_nothing_that_is_for_people() {
    let server = Server::start(Engine::Sqlite).await;
    let document = serde_json::to_value(web::openapi()).unwrap();
    for (_, path) in documented(&document).keys() {
        if PEOPLE.iter().any(|(known, _)| known == path) {
            let answer = call(&server, "POST", path).await;
            assert!(
                (400..500).contains(&answer.status),
                "{path}: {}",
                answer.status
            );
        }
    }
}

#[tokio::test]
async fn every_scope_opens_its_own_routes_and_no_other() {
    let server = Server::with(Engine::Sqlite, &[("DEBUG", "true")]).await;
    for scope in Scope::ALL {
        let key = server.credential(&[scope.as_str()]).await;
        for (method, path, needed) in ROUTES {
            let answer = call(&server, method, path).key(&key).await;
            let open = needed.is_none_or(|needed| needed == scope || scope == Scope::Admin);
            if open {
                assert_ne!(answer.status, 401, "{scope}: {method} {path}");
                assert_ne!(answer.status, 403, "{scope}: {method} {path}");
            } else {
                let problem = answer.problem(403, "insufficient_scope");
                let named = problem["detail"].as_str().unwrap();
                assert!(named.contains(needed.unwrap().as_str()), "{named}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_credential_only_the_open_routes_answer() {
    let patient = ("OTPD_LIMITS__ADDRESS_FAILURES_PER_MINUTE", "1000000");
    let server = Server::with(Engine::Sqlite, &[patient, ("DEBUG", "true")]).await;
    for (method, path, needed) in ROUTES {
        let answer = call(&server, method, path).anonymous().await;
        match needed {
            Some(_) => drop(answer.problem(401, "unauthenticated")),
            None => assert_eq!(answer.status, 200, "{path}"),
        }
        // A credential that is none opens nothing, and closes nothing either.
        let answer = call(&server, method, path).key("nonsense").await;
        assert_eq!(answer.status == 401, needed.is_some(), "{path}");
    }
}
