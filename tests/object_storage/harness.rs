//! That the servers and the proxy of the other tests do what they are there for.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::http::Response;
use crate::support::object_storage::{ADMIN, BUCKET, PUTTER, azurite, rclone, seaweedfs};
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::{self, Credentials};
use crate::support::{folder, http, tree};

#[test]
fn a_directory_copied_up_comes_down_again_from_each_server() {
    let from = folder();
    fs::create_dir(from.path().join(".snap")).expect("a directory");
    fs::write(from.path().join(".snap/x.json"), "record").expect("a file");
    fs::write(from.path().join("größe+ä b.00"), "shard").expect("a file");
    for storage in [seaweedfs(), rclone(), azurite()] {
        let repository = storage.repository("harness");
        repository.copy_up(from.path());
        let objects = [
            (".snap/x.json".to_owned(), 6),
            ("größe+ä b.00".to_owned(), 5),
        ];
        assert_eq!(repository.objects(), objects.into());
        assert_eq!(repository.read(".snap/x.json"), b"record");
        let to = folder();
        repository.copy_down(to.path());
        assert_eq!(tree::files(to.path()), tree::files(from.path()));
        repository.remove(".snap/x.json");
        assert_eq!(repository.names(), ["größe+ä b.00"]);
    }
}

#[test]
fn seaweedfs_refuses_what_is_not_permitted() {
    let storage = seaweedfs();
    let ask = |who, method, path: &str| {
        let body: &[u8] = if method == "PUT" { b"x" } else { b"" };
        s3::request(storage.address, who, method, (path, ""), &[], body).status
    };
    let path = format!("{BUCKET}/refused");
    assert_eq!(ask(PUTTER, "PUT", &path), 200);
    assert_eq!(ask(PUTTER, "GET", &path), 200);
    assert_eq!(ask(PUTTER, "DELETE", &path), 403);
    let wrong = Credentials {
        secret: "wrong",
        ..ADMIN
    };
    assert_eq!(ask(wrong, "GET", &path), 403);
    assert_eq!(ask(ADMIN, "PUT", "no-such-bucket/x"), 404);
    assert_eq!(ask(ADMIN, "DELETE", &path), 204);
    assert_eq!(ask(ADMIN, "GET", &path), 404);
}

#[test]
fn a_locked_bucket_keeps_what_is_deleted() {
    let storage = seaweedfs();
    storage.make_locked_bucket("locked-harness");
    let object = "locked-harness/x";
    assert_eq!(storage.s3("PUT", (object, ""), &[], b"x").status, 200);
    assert_eq!(storage.s3("DELETE", (object, ""), &[], b"").status, 204);
    assert_eq!(storage.s3("GET", (object, ""), &[], b"").status, 404);
    let versions = storage.s3("GET", ("locked-harness", "versions="), &[], b"");
    let ids = s3::elements(versions.text(), "VersionId");
    assert_eq!(ids.len(), 2, "{}", versions.text());
    let kept = ids.iter().filter(|id| {
        let query = format!("versionId={id}");
        storage.s3("GET", (object, &query), &[], b"").status == 200
    });
    assert_eq!(kept.count(), 1);
}

#[test]
fn an_upload_that_nobody_completes_is_found() {
    let repository = seaweedfs().repository("upload");
    repository.begin_upload("part", b"some bytes");
    let uploads = repository.unfinished_uploads();
    assert!(
        uploads.len() == 1 && uploads[0].0.ends_with("/part"),
        "{uploads:?}"
    );
    assert!(repository.names().is_empty());
}

/// A request through a proxy, by whom all is permitted.
fn ask(proxy: &Proxy, method: &str, path: &str, body: &[u8]) -> Response {
    s3::request(proxy.address, ADMIN, method, (path, ""), &[], body)
}

#[test]
fn the_proxy_passes_on_writes_down_and_does_harm_where_it_is_told() {
    let storage = seaweedfs();
    let proxy = Proxy::start(storage.address);
    let path = format!("{BUCKET}/proxy/x");
    assert_eq!(ask(&proxy, "PUT", &path, b"first").status, 200);
    assert_eq!(ask(&proxy, "GET", &path, b"").text(), "first");

    proxy.on("put", 1..2, Fault::Answer(503, "SlowDown"));
    proxy.on("get", .., Fault::FlipResponse);
    assert_eq!(ask(&proxy, "PUT", &path, b"second").status, 200);
    let slow = ask(&proxy, "PUT", &path, b"third");
    assert!(slow.status == 503 && slow.text().contains("<Code>SlowDown"));
    assert_eq!(ask(&proxy, "GET", &path, b"").text(), "secnnd");
    proxy.behave();
    proxy.on("get", .., Fault::CutResponse(3));
    proxy.on("list", .., Fault::Hide("proxy/x"));
    let target = format!("/{path}");
    assert!(http::request(proxy.address, "GET", &target, "text/plain", b"").is_err());
    let listed = ask(&proxy, "GET", BUCKET, b"");
    assert!(listed.status == 200 && !listed.text().contains("proxy/x"));
    proxy.behave();
    assert!(ask(&proxy, "GET", BUCKET, b"").text().contains("proxy/x"));

    let seen: Vec<(&str, u16)> = proxy
        .take_requests()
        .iter()
        .map(|request| (request.operation(), request.status))
        .collect();
    let expected = [
        ("put", 200),
        ("get", 200),
        ("put", 200),
        ("put", 503),
        ("get", 200),
        ("get", 403),
        ("list", 200),
        ("list", 200),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_proxy_holds_a_request_and_goes_down_and_comes_back() {
    let storage = seaweedfs();
    let proxy = Proxy::start(storage.address);
    assert!(!proxy.holds_within(Duration::from_millis(10)));
    proxy.go_down_for(Duration::from_millis(300));
    let get = || http::request(proxy.address, "GET", "/", "text/plain", b"");
    while get().is_ok() {}
    while get().is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let path = format!("{BUCKET}/held");
    proxy.on("put", .., Fault::HoldAfter);
    let (address, held) = (proxy.address, path.clone());
    let put = thread::spawn(move || s3::request(address, ADMIN, "PUT", (&held, ""), &[], b"x"));
    assert!(proxy.holds_within(Duration::from_secs(10)));
    assert_eq!(storage.s3("GET", (&path, ""), &[], b"").text(), "x");
    drop(proxy);
    assert!(put.join().is_err(), "there was an answer");
}
