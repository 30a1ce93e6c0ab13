//! `/openapi.json`, `/docs`, `/health`, `/livez`, `/readyz`: what anybody may read.

use serde_json::Value;

use crate::answer::text;
use crate::database::Engine;
use crate::described::fits_schema;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_healthy_server_says_so,
}

async fn a_healthy_server_says_so(engine: Engine) {
    let server = Server::start(engine).await;
    let mut body = server.get("/health").anonymous().await.json(200);
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    body["version"] = "[version]".into();
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(body, @r#"
        {
          "checks": {
            "database": "ok",
            "mail": "ok"
          },
          "status": "ok",
          "version": "[version]"
        }
        "#);
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.get(path).anonymous().await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_documentation_is_hidden_in_production_unless_debug_asks_for_it() {
    let cases = [
        (&[][..], true),
        (&[("ENVIRONMENT", "staging")][..], true),
        (&[("ENVIRONMENT", "production")][..], false),
        (
            &[("ENVIRONMENT", "production"), ("DEBUG", "true")][..],
            true,
        ),
    ];
    for (variables, served) in cases {
        let server = Server::with(Engine::Sqlite, variables).await;
        for path in ["/openapi.json", "/docs"] {
            let answer = server.get(path).anonymous().await;
            if served {
                assert!(
                    (200..400).contains(&answer.status),
                    "{path}: {}",
                    answer.status
                );
            } else {
                answer.problem(404, "not_found");
            }
        }
    }
}

#[tokio::test]
async fn the_document_is_the_one_that_the_command_prints() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server.get("/openapi.json").anonymous().await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let served = answer.json(200);
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(served, serde_json::to_value(web::openapi()).unwrap());
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let server = Server::start(Engine::Sqlite).await;
    let mut waiting = vec!["/docs".to_owned()];
    let mut seen = Vec::new();
    while let Some(path) = waiting.pop() {
        if seen.contains(&path) {
            continue;
        }
        let answer = server.get(&path).anonymous().await;
        seen.push(path.clone());
        if let Some(location) = answer.header("location") {
            waiting.push(absolute(&path, location));
            continue;
        }
        assert_eq!(answer.status, 200, "{path}");
        let html = answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"));
        if html {
            for reference in references(&answer.text()) {
                let elsewhere = reference.contains("//") || reference.starts_with("data:text");
                assert!(!elsewhere, "{path} takes {reference} from elsewhere");
                waiting.push(absolute(&path, &reference));
            }
        }
    }
    assert!(seen.len() > 2, "a page with its scripts: {seen:?}");
}

/// What the page loads: each `src` and each `href` of a `link`.
fn references(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for (at, _) in html.match_indices(attribute) {
            let rest = &html[at + attribute.len()..];
            found.push(rest.split('"').next().unwrap_or_default().to_owned());
        }
    }
    found
}

fn absolute(page: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{}", reference.trim_start_matches("./"))
}

#[tokio::test]
async fn every_operation_of_the_document_has_its_words() {
    let document = serde_json::to_value(web::openapi()).unwrap();
    let mut names = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let place = format!("{method} {path}");
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{place} has no summary");
            names.push(operation["operationId"].as_str().unwrap().to_owned());
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{place}: {parameter}");
            }
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "operation ids are unique");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        let members = schema["properties"].as_object();
        for (member, description) in members.into_iter().flatten() {
            let told = description["description"]
                .as_str()
                .or(description["$ref"].as_str());
            assert_ne!(told.unwrap_or_default(), "", "{name}.{member}");
        }
    }
    assert_ne!(document["components"]["securitySchemes"], Value::Null);
}

#[tokio::test]
async fn every_call_has_an_example_that_fits() {
    let document = serde_json::to_value(web::openapi()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let place = format!("{method} {path}");
            let answers = operation["responses"].as_object().unwrap().iter();
            let answers = answers.filter(|(status, _)| status.starts_with('2'));
            let answers = answers.map(|(_, answer)| &answer["content"]);
            let request = &operation["requestBody"]["content"];
            for content in answers.chain([request]) {
                for (media_type, told) in content.as_object().into_iter().flatten() {
                    let has_members = media_type.starts_with("application/")
                        && !media_type.starts_with("application/openmetrics");
                    if !has_members {
                        continue;
                    }
                    let example = &told["example"];
                    assert!(!example.is_null(), "{place}: no example of {media_type}");
                    if let Err(fault) = fits_schema(&told["schema"], example) {
                        panic!("{place}{fault}\n{example:#}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn the_headings_stand_in_the_order_of_the_contract_with_a_sentence_each() {
    let document = serde_json::to_value(web::openapi()).unwrap();
    let tags = document["tags"].as_array().unwrap();
    let names: Vec<&str> = tags.iter().map(|tag| text(tag, "name")).collect();
    let expected = [
        "Devices",
        "Codes",
        "A user's own OTP",
        "Codes for sister services",
        "Users",
        "Accounts",
        "Email codes",
        "Sessions",
        "Operation",
        "Service",
    ];
    assert_eq!(names, expected);
    for tag in tags {
        assert!(text(tag, "description").ends_with('.'), "{tag}");
    }
    let mut used = Vec::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            used.push(operation["tags"][0].as_str().unwrap().to_owned());
        }
    }
    used.sort();
    used.dedup();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(used, names);
}
