//! Against a server that answers each request with what a script says.

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::super::aws::Environment;
use super::super::settings::{ObjectSettings, S3Checksum};
use super::*;
use crate::repository::store::write::Refusal;
use crate::web::scripted_peer::{Script, response, script};

fn refusal(status: &str, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    response(status, "", &body)
}

impl Script {
    fn store_with(&self, retries: u32, checksum: Option<S3Checksum>) -> ObjectStore {
        let mut settings = ObjectSettings::default();
        settings.s3.endpoint = Some(self.endpoint.clone());
        settings.s3.checksum = checksum;
        settings.storage.retries = retries;
        let variable = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("KEYID".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("hush-hush".to_owned()),
            _ => None,
        };
        store_at("s3://bucket/p", settings, &Environment(&variable))
    }

    /// A store in Google Cloud Storage, which is asked as an emulator is: without credentials.
    fn gcs_store(&self) -> ObjectStore {
        let mut settings = ObjectSettings::default();
        settings.storage.retries = 0;
        let emulator =
            |name: &str| (name == "STORAGE_EMULATOR_HOST").then(|| self.endpoint.clone());
        store_at("gs://bucket/p", settings, &Environment(&emulator))
    }

    /// A store of which the variables say where credentials come from.
    fn store_of_role(&self, variables: &[(&str, &str)]) -> ObjectStore {
        let mut settings = ObjectSettings::default();
        settings.s3.endpoint = Some(self.endpoint.clone());
        let variable = |name: &str| {
            let mut variables = variables.iter();
            let (_, value) = variables.find(|(variable, _)| *variable == name)?;
            Some((*value).to_owned())
        };
        store_at("s3://bucket/p", settings, &Environment(&variable))
    }

    fn store(&self, retries: u32) -> ObjectStore {
        self.store_with(retries, None)
    }

    /// The first lines of the requests so far.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let first = |head: &String| head.lines().next().unwrap().to_owned();
        asked.iter().map(first).collect()
    }

    fn head(&self, request: usize) -> String {
        self.asked.lock().unwrap()[request].to_lowercase()
    }
}

fn store_at(url: &str, mut settings: ObjectSettings, environment: &Environment<'_>) -> ObjectStore {
    let url: ObjectUrl = url.parse().unwrap();
    settings.storage.part_size = 5;
    let client = Client::new(&url, &settings, environment).unwrap();
    let remote = Remote::new(url, client, settings.storage.retries, Notice::default());
    ObjectStore::new(remote, &settings.storage)
}

const ETAG: &str = "ETag: \"e\"\r\nLast-Modified: Fri, 20 Nov 2026 08:00:00 GMT\r\n";

#[test]
fn an_object_is_put_by_path_with_a_signed_hash_and_no_other_checksum() {
    for checksum in [None, Some(S3Checksum::Sha256)] {
        let script = script(&[&response("200 OK", ETAG, "")]);
        write(&script.store_with(0, checksum), "meta.00", b"x").unwrap();
        assert_eq!(script.asked(), ["PUT /bucket/p/meta.00 HTTP/1.1"]);
        let head = script.head(0);
        let of_x = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert!(
            head.contains(&format!("x-amz-content-sha256: {of_x}")),
            "{head}"
        );
        assert!(
            head.contains("if-none-match: *") && head.contains("/us-east-1/s3/"),
            "{head}"
        );
        assert!(
            !head.contains("aws-chunked") && !head.contains("trailer"),
            "{head}"
        );
        assert_eq!(
            head.contains("x-amz-checksum"),
            checksum.is_some(),
            "{head}"
        );
        // Over plain http, something has to show what is damaged on the way.
        let md5 = "content-md5: ndtkysamgdt1yfzofvxnpg==";
        assert_eq!(head.contains(md5), checksum.is_none(), "{head}");
        assert!(!head.contains("hush"));
    }
}

/// Writes an object, long enough after the last one that credentials are asked for anew which are
/// about to expire.
fn write_later(store: &ObjectStore) -> anyhow::Result<String> {
    thread::sleep(Duration::from_millis(150));
    write(store, "meta.00", b"x")
}

#[test]
fn a_role_by_a_token_is_renewed_while_a_run_goes_on_and_a_token_that_expired_is_told() {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let given = |token: &str| {
        let body = format!(
            "<R><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>K</AccessKeyId>\
             <SecretAccessKey>hush</SecretAccessKey><SessionToken>{token}</SessionToken>\
             <Expiration>{soon}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></R>"
        );
        response("200 OK", "", &body)
    };
    let ok = response("200 OK", ETAG, "");
    let script = script(&[
        &given("first"),
        &ok,
        &refusal("503 Busy", "ServiceUnavailable"),
        &given("second"),
        &ok,
        &refusal("400 Bad Request", "ExpiredTokenException"),
    ]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hush-token").unwrap();
    let store = script.store_of_role(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ENDPOINT_URL_STS", &script.endpoint),
    ]);
    write_later(&store).unwrap();
    write_later(&store).unwrap();
    let error = write_later(&store).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("the credentials have expired (400 Exp"),
        "{said}"
    );
    assert!(said.contains("AWS_WEB_IDENTITY_TOKEN_FILE"), "{said}");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    let asked = script.asked();
    for (at, method) in ["POST", "PUT", "POST", "POST", "PUT", "POST"]
        .iter()
        .enumerate()
    {
        assert!(asked[at].starts_with(method), "{asked:?}");
    }
    assert!(script.head(1).contains("x-amz-security-token: first"));
    assert!(script.head(4).contains("x-amz-security-token: second"));
}

#[test]
fn the_role_of_an_instance_is_renewed_while_a_run_goes_on() {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let token = response("200 OK", "", "t");
    let role = response("200 OK", "", "role");
    let given = |token: &str| {
        let body = format!(
            r#"{{"AccessKeyId":"K","SecretAccessKey":"s","Token":"{token}","Expiration":"{soon}"}}"#
        );
        response("200 OK", "", &body)
    };
    let ok = response("200 OK", ETAG, "");
    let busy = response("500 Internal", "", "");
    let script = script(&[
        &token,
        &role,
        &given("first"),
        &ok,
        &busy,
        &token,
        &role,
        &given("second"),
        &ok,
    ]);
    let store = script.store_of_role(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &script.endpoint)]);
    write_later(&store).unwrap();
    write_later(&store).unwrap();
    assert!(script.head(3).contains("x-amz-security-token: first"));
    assert!(script.head(8).contains("x-amz-security-token: second"));
}

#[test]
fn who_is_refused_is_told_at_once_with_which_credentials_and_without_them() {
    let script = script(&[&refusal("403 Forbidden", "SignatureDoesNotMatch")]);
    let error = script.store(5).list(Folder::Top).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Failed);
    let told = format!("{error:#} {error:?}");
    assert!(
        told.contains("AWS_ACCESS_KEY_ID in the environment"),
        "{told}"
    );
    assert!(
        told.contains("403 SignatureDoesNotMatch") && !told.contains("hush"),
        "{told}"
    );
    assert_eq!(script.asked().len(), 1);
}

#[test]
fn a_missing_object_and_a_missing_bucket_are_told_apart() {
    let no_object = refusal("404 Not Found", "NoSuchKey");
    let no_bucket = refusal("404 Not Found", "NoSuchBucket");
    let script = script(&[&no_object, &no_bucket]);
    let store = script.store(5);
    let missing = store.open("meta.00").unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let error = store.list(Folder::Top).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::NoBackup);
    assert_eq!(
        error.to_string(),
        "there is no bucket bucket (404 NoSuchBucket: no)"
    );
}

#[test]
fn what_came_damaged_is_told_and_an_endpoint_with_a_path_where_nothing_is_there() {
    let script = script(&[
        &refusal("400 Bad Request", "BadDigest"),
        &refusal("404 Not Found", "NoSuchBucket"),
        &refusal("404 Not Found", "NoSuchKey"),
        &refusal("404 Not Found", "NoSuchKey"),
    ]);
    let hint = |error: &anyhow::Error| crate::error::hint(error).unwrap_or_default().into_owned();
    let error = write(&script.store(0), "meta.00", b"x").unwrap_err();
    assert!(hint(&error).contains("is faulty"), "{error:#}");
    let below = Script {
        endpoint: format!("{}/mine/", script.endpoint),
        asked: script.asked.clone(),
        bodies: script.bodies.clone(),
    };
    let store = below.store(0);
    for _ in 0..2 {
        let error = store.list(Folder::Top).unwrap_err();
        assert!(hint(&error).contains("the path /mine"), "{error:#}");
    }
    assert!(script.asked()[1].starts_with("GET /mine/bucket?"));
    let error = store.open("meta.00").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(hint(&error.into()).is_empty());
}

#[test]
fn what_arrived_damaged_is_sent_again_as_it_was() {
    for code in ["BadDigest", "XAmzContentSHA256Mismatch"] {
        let damaged = refusal("400 Bad Request", code);
        let script = script(&[&damaged, &damaged, &response("200 OK", ETAG, "")]);
        write(&script.store(5), "meta.00", b"x").unwrap();
        let md5 = |request| script.head(request).contains("ndtkysamgdt1yfzofvxnpg==");
        assert!(script.asked().len() == 3 && (0..3).all(md5));
    }
}

#[test]
fn a_storm_is_waited_out_and_one_without_end_is_given_up() {
    let busy = refusal("503 Slow Down", "SlowDown");
    let late = refusal("400 Bad Request", "RequestTimeout");
    let calm = script(&[&busy, &late, &response("200 OK", ETAG, "")]);
    write(&calm.store(5), "meta.00", b"x").unwrap();
    assert_eq!(calm.asked().len(), 3);

    let storm = script(&[&busy]);
    let error = write(&storm.store(0), "meta.00", b"x").unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Unreachable);
    assert!(error.to_string().contains("busy"), "{error:#}");
}

#[test]
fn a_bucket_elsewhere_is_asked_there() {
    let moved = response("301 Moved", "x-amz-bucket-region: eu-north-1\r\n", "");
    let script = script(&[&moved, &response("200 OK", ETAG, "")]);
    write(&script.store(0), "meta.00", b"x").unwrap();
    assert!(
        script.head(1).contains("/eu-north-1/s3/"),
        "{}",
        script.head(1)
    );
}

#[test]
fn a_body_that_is_cut_is_asked_for_again() {
    let range = format!("{ETAG}Content-Range: bytes 0-4/5\r\n");
    let whole = response("206 Partial Content", &range, "whole");
    let cut = &whole[..whole.len() - 2];
    let script = script(&[cut, &whole]);
    let read = read_bounded(&script.store(1), "meta.00", 9).unwrap();
    assert_eq!(read, b"whole");
    assert_eq!(script.asked().len(), 2);
    assert!(script.head(0).contains("range: bytes=0-2097151"));
}

#[test]
fn an_upload_that_fails_within_a_success_is_completed_again_and_its_size_compared() {
    let ok = |body: &str| response("200 OK", ETAG, body);
    let created = ok("<R><UploadId>u</UploadId></R>");
    let failed = ok("<Error><Code>InternalError</Code><Message>no</Message></Error>");
    let completed = ok("<R><ETag>e</ETag></R>");
    let size = (5 << 20) + 1;
    for there in [size, size - 1] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {there}\r\n{ETAG}\r\n"
        );
        let part = ok("");
        let script = script(&[&created, &part, &part, &failed, &completed, &head]);
        let written = write(&script.store(1), "f", &noise(size));
        assert_eq!(written.is_ok(), there == size, "{written:?}");
        let asked = script.asked();
        assert_eq!(asked[0], "POST /bucket/p/f?uploads= HTTP/1.1");
        assert_eq!(asked[4], "POST /bucket/p/f?uploadId=u HTTP/1.1");
        assert_eq!(asked[5], "HEAD /bucket/p/f HTTP/1.1");
        assert!(script.head(4).contains("if-none-match: *"));
        for (at, body) in noise(size).chunks(5 << 20).enumerate() {
            let md5 = STANDARD.encode(Md5::digest(body)).to_lowercase();
            let said = format!("content-md5: {md5}");
            assert!(script.head(1 + at).contains(&said) || script.head(2 - at).contains(&said));
        }
    }
}

#[test]
fn an_upload_to_a_name_that_is_taken_is_not_completed_and_goes() {
    let created = response("200 OK", ETAG, "<R><UploadId>u</UploadId></R>");
    let part = response("200 OK", ETAG, "");
    let taken = refusal("412 Precondition Failed", "PreconditionFailed");
    let gone = response("204 No Content", "", "");
    let script = script(&[&created, &part, &part, &taken, &gone]);
    let error = write(&script.store(5), "f", &noise((5 << 20) + 1)).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Refused);
    assert_eq!(script.asked()[4], "DELETE /bucket/p/f?uploadId=u HTTP/1.1");
}

#[test]
fn a_listing_has_all_pages_or_fails() {
    let page = |keys: &[&str], more: &str| {
        let content = |key: &&str| {
            format!(
                "<Contents><Key>{key}</Key><Size>1</Size>\
                 <LastModified>2026-11-20T08:00:00.123Z</LastModified></Contents>"
            )
        };
        let contents: String = keys.iter().map(content).collect();
        response("200 OK", "", &format!("<L>{contents}{more}</L>"))
    };
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
    let first = page(&["p/a+b", "p/"], more);
    let second = page(&["p/c"], "<IsTruncated>false</IsTruncated>");
    let whole = script(&[&first, &second]);
    let listed = whole.store(0).list(Folder::Top).unwrap();
    let mut names: Vec<_> = listed.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a+b", "c"]);
    assert!(whole.asked()[1].contains("continuation-token=t"));

    for second in [
        refusal("500 Internal", "InternalError"),
        page(&["p/c"], "<IsTruncated>true</IsTruncated>"),
        page(&["p/c"], more),
    ] {
        let broken = script(&[&first, &second]);
        assert!(broken.store(0).list(Folder::Top).is_err(), "{second}");
    }
}

#[test]
fn what_is_gone_is_removed_and_what_is_locked_is_kept() {
    let gone = refusal("404 Not Found", "NoSuchKey");
    let locked = refusal("403 Forbidden", "AccessDenied");
    let script = script(&[&gone, &locked]);
    let store = script.store(0);
    store.remove("meta.00").unwrap();
    let kept = store.remove("meta.01").unwrap_err();
    assert!(Refusal::of(&kept).is_some(), "{kept:#}");
    assert!(kept.to_string().contains("403 AccessDenied"), "{kept:#}");
    assert_eq!(script.asked()[0], "DELETE /bucket/p/meta.00 HTTP/1.1");
}

#[test]
fn old_uploads_of_sets_are_aborted_and_young_ones_and_those_of_others_are_not() {
    let upload = |key: &str, begun: &str| {
        format!(
            "<Upload><Key>p/{key}</Key><UploadId>u{key}</UploadId>\
             <Initiated>{begun}</Initiated></Upload>"
        )
    };
    let now = jiff::Timestamp::now().to_string();
    let old = |key| upload(key, "2020-01-01T00:00:00.000Z");
    let names = ["db.rp.00001.00", "20201120T080000Z.s1.tar.gz"];
    let others = ["film.mp4", "db1/meta.00", "20201120T080000Z.s1.tar.gz/part"];
    let uploads = names.map(old).concat() + &others.map(old).concat() + &upload("meta.01", &now);
    let listed = response("200 OK", "", &format!("<R>{uploads}</R>"));
    let gone = response("204 No Content", "", "");
    let aborted = script(&[&listed, &gone, &gone]);
    aborted.store(0).abort_stale().unwrap();
    let asked = aborted.asked();
    assert_eq!(asked[0], "GET /bucket?uploads=&prefix=p%2F HTTP/1.1");
    for (asked, name) in asked[1..].iter().zip(names) {
        let delete = format!("DELETE /bucket/p/{name}?uploadId=u{name} HTTP/1.1");
        assert_eq!(*asked, delete);
    }
    assert_eq!(asked.len(), 3);
    // Those who may not look leave them to the bucket's own rule.
    let denied = script(&[&refusal("403 Forbidden", "AccessDenied")]);
    denied.store(0).abort_stale().unwrap();
}

#[test]
fn a_clock_that_is_off_is_told() {
    let date = "Date: Fri, 20 Nov 2020 08:00:00 GMT\r\n";
    let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message></Error>";
    let script = script(&[&response("403 Forbidden", date, body)]);
    let error = script.store(5).list(Folder::Top).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the clock of this machine is fast"),
        "{error:#}"
    );
}

#[test]
fn google_is_asked_for_objects_under_its_own_conditions() {
    let ok = |body: &str| response("200 OK", &format!("{ETAG}x-goog-generation: 7\r\n"), body);
    let size = (5 << 20) + 1;
    let head =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {size}\r\n{ETAG}\r\n");
    let listing = "<L><Contents><Key>p/meta.00</Key><Size>1</Size>\
                   <LastModified>2026-11-20T08:00:00.123Z</LastModified></Contents></L>";
    let script = script(&[
        &ok(""),
        &ok(listing),
        &ok("<R><UploadId>u</UploadId></R>"),
        &ok(""),
        &ok(""),
        &ok("<R><ETag>e</ETag></R>"),
        &head,
        &response("204 No Content", "", ""),
    ]);
    let store = script.gcs_store();
    write(&store, "meta.00", b"x").unwrap();
    assert_eq!(store.list(Folder::Top).unwrap()[0].name, "meta.00");
    write(&store, "f", &noise(size)).unwrap();
    store.remove("meta.00").unwrap();
    let asked = script.asked();
    assert_eq!(asked[0], "PUT /bucket/p%2Fmeta%2E00 HTTP/1.1");
    assert!(script.head(0).contains("x-goog-if-generation-match: 0"));
    assert!(!script.head(0).contains("content-md5"));
    assert!(asked[1].starts_with("GET /bucket?") && asked[1].contains("prefix=p%2F"));
    assert!(
        asked[2].starts_with("POST /bucket/p%2Ff?uploads"),
        "{asked:?}"
    );
    assert_eq!(asked[7], "DELETE /bucket/p%2Fmeta%2E00 HTTP/1.1");
}

#[test]
fn what_google_refuses_is_told_with_who_asked() {
    let script = script(&[
        &refusal("404 Not Found", "NoSuchBucket"),
        &refusal("401 Unauthorized", "AuthenticationRequired"),
        &refusal("403 Forbidden", "AccessDenied"),
        &refusal("412 Precondition Failed", "PreconditionFailed"),
    ]);
    let store = script.gcs_store();
    let no_bucket = store.list(Folder::Top).unwrap_err();
    assert_eq!(kind_of(&no_bucket), ErrorKind::NoBackup, "{no_bucket:#}");
    for status in ["401", "403"] {
        let refused = store.list(Folder::Top).unwrap_err().to_string();
        assert!(
            refused.contains(status) && refused.contains("an emulator"),
            "{refused}"
        );
    }
    let taken = write(&store, "meta.00", b"x").unwrap_err();
    assert_eq!(kind_of(&taken), ErrorKind::Refused, "{taken:#}");
}
