//! Against a server that answers each request with what a script says.

use std::time::Duration;

use super::{Credentials, HttpApi, HttpOptions, Written};
use crate::cancel::Cancel;
use crate::client::Timeouts;
use crate::error::{ErrorKind, hint, kind_of};
use crate::web::scripted_peer::{Script, response, script};

fn api(script: &Script, retries: u32) -> HttpApi {
    let options = HttpOptions {
        url: script.endpoint.parse().unwrap(),
        credentials: Some(Credentials {
            username: "admin".to_owned(),
            password: "hush-hush".to_owned(),
        }),
        timeouts: Timeouts {
            idle: Duration::from_secs(30),
            ..Timeouts::default()
        },
        retries,
    };
    assert!(!format!("{options:?}").contains("hush"));
    HttpApi::new(&options, Cancel::default()).unwrap()
}

fn json(status: &str, body: &str) -> String {
    response(status, "X-Influxdb-Version: 1.6.7\r\n", body)
}

#[test]
fn a_query_is_asked_again_after_a_failure_that_may_pass_and_after_an_answer_that_breaks_off() {
    let whole =
        r#"{"results":[{"series":[{"name":"databases","columns":["name"],"values":[["db"]]}]}]}"#;
    let cut = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}",
        &whole[..20]
    );
    let script = script(&[
        &json("500 Internal Server Error", r#"{"error":"timeout"}"#),
        &cut,
        &json("200 OK", &whole[..60]),
        &json("200 OK", whole),
    ]);
    let found = api(&script, 5).query("SHOW DATABASES").unwrap();
    assert_eq!(found[0].text(&found[0].rows[0], "name"), Some("db"));
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked.len(), 4);
    assert!(asked[0].starts_with("POST /query HTTP/1.1"), "{}", asked[0]);
    assert!(asked[0].contains("authorization: Basic "), "{}", asked[0]);
    let bodies = script.bodies.lock().unwrap();
    let body = String::from_utf8_lossy(&bodies[3]);
    assert!(body.starts_with("q=SHOW+DATABASES&epoch=ns&chunked=true"));
}

#[test]
fn why_nobody_answers_is_told_in_words() {
    let mut nobody = script(&[]);
    nobody.endpoint = "http://127.0.0.1:1".to_owned();
    let error = api(&nobody, 0).query("SHOW DATABASES").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot reach http://127.0.0.1:1: connection refused"
    );
}

#[test]
fn a_statement_that_a_server_saw_is_not_sent_again() {
    let seen = script(&[&json("503 Service Unavailable", r#"{"error":"busy"}"#)]);
    let error = api(&seen, 5)
        .statement("CREATE USER u WITH PASSWORD 'hush'")
        .unwrap_err();
    assert!(
        format!("{error:#}").ends_with("answered 503: busy"),
        "{error:#}"
    );
    assert_eq!(seen.asked.lock().unwrap().len(), 1);

    let lost = script(&["HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"]);
    let error = api(&lost, 5)
        .statement("CREATE USER u WITH PASSWORD 'hush'")
        .unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Unreachable, "{error:#}");
    assert!(!format!("{error:#}").contains("hush"));

    let refused = script(&[&json(
        "200 OK",
        r#"{"results":[{"statement_id":0,"error":"user already exists"}]}"#,
    )]);
    let error = api(&refused, 0)
        .statement("CREATE USER u WITH PASSWORD 'hush'")
        .unwrap_err();
    let expected = format!(
        "{} refused a statement: user already exists",
        refused.endpoint
    );
    assert_eq!(format!("{error:#}"), expected);
}

#[test]
fn points_are_written_again_after_a_timeout_and_dropped_ones_are_counted() {
    let dropped = "partial write: field type conflict: input field \\\"v\\\" on measurement \\\"m\\\" is type float, already exists as type integer dropped=3";
    let script = script(&[
        &json("500 Internal Server Error", r#"{"error":"timeout"}"#),
        &response("204 No Content", "", ""),
        &json("400 Bad Request", &format!(r#"{{"error":"{dropped}"}}"#)),
        &json(
            "404 Not Found",
            r#"{"error":"database not found: \"d b\""}"#,
        ),
    ]);
    let api = api(&script, 1);
    assert_eq!(api.write("d b", "r&p", b"m v=1 1\n").unwrap(), Written::All);
    assert_eq!(script.bodies.lock().unwrap()[1], b"m v=1 1\n");
    let expected = "POST /write?db=d+b&rp=r%26p&precision=ns HTTP/1.1";
    assert!(script.asked.lock().unwrap()[1].starts_with(expected));
    let partial = api.write("d", "r", b"m v=1 1\n").unwrap();
    assert!(
        matches!(
            partial,
            Written::Partial {
                dropped: Some(3),
                ..
            }
        ),
        "{partial:?}"
    );
    let error = api.write("d b", "r", b"m v=1 1\n").unwrap_err();
    assert!(format!("{error:#}").ends_with("answered 404: database not found: \"d b\""));
}

#[test]
fn who_is_no_influxd_or_refuses_the_credentials_is_told_with_the_url_and_without_the_password() {
    for (answer, kind, said) in [
        (
            json("401 Unauthorized", r#"{"error":"authorization failed"}"#),
            ErrorKind::Failed,
            "refused the credentials (401): authorization failed",
        ),
        (
            response("200 OK", "", "<html>"),
            ErrorKind::Unreachable,
            "is no HTTP API of influxd",
        ),
        (
            response("404 Not Found", "", "404 page not found"),
            ErrorKind::Unreachable,
            "is no HTTP API of influxd",
        ),
        (
            response("302 Found", "Location: http://127.0.0.1:1/\r\n", ""),
            ErrorKind::Unreachable,
            "is no HTTP API of influxd: it sends elsewhere",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(),
            ErrorKind::Unreachable,
            "cannot reach ",
        ),
        (
            "SSH-2.0-OpenSSH\r\n".to_owned(),
            ErrorKind::Unreachable,
            "cannot reach ",
        ),
    ] {
        let script = script(&[&answer]);
        let error = api(&script, 0).query("SHOW DATABASES").unwrap_err();
        let text = format!("{error:#} {:?}", hint(&error));
        assert_eq!(kind_of(&error), kind, "{text}");
        assert!(text.contains(said), "{text}");
        assert!(text.contains(&script.endpoint), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
    // With ping-auth-enabled.
    let refused = json("401 Unauthorized", r#"{"error":"authorization failed"}"#);
    let error = api(&script(&[&refused]), 0).version().unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Failed, "{error:#}");
}

#[test]
fn an_answer_without_end_and_one_that_does_not_come_end_all_the_same() {
    let body = format!("{{\"results\":[{{\"error\":\"{}", "x".repeat(65 << 20));
    let endless = script(&[&json("200 OK", &body)]);
    let error = api(&endless, 3).query("SHOW DATABASES").unwrap_err();
    assert!(
        format!("{error:#}").ends_with("its answer is too long"),
        "{error:#}"
    );

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = HttpOptions {
        url: format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap(),
        credentials: None,
        timeouts: Timeouts {
            idle: Duration::from_millis(50),
            ..Timeouts::default()
        },
        retries: 0,
    };
    let silent = HttpApi::new(&silent, Cancel::default()).unwrap();
    let error = silent.version().unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Unreachable, "{error:#}");
}
