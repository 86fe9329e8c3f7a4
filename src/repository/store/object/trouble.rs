//! What went wrong with a request, and what follows: try again, go elsewhere, or tell the operator.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use super::answer::{Answer, Nonsense};
use super::transport::is_metadata_host;
use super::url::ObjectUrl;
use crate::error::{Error, ErrorKind};
use crate::web::Unanswered;

/// The difference of two clocks up to which a request that came late is the reason.
const LATE: i64 = 300;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object.
    NotFound,
    NoBucket,
    /// There is an object of this name already, or it is another than before.
    Precondition,
    /// The object ends before what was asked for.
    PastTheEnd,
    /// The storage forbids it, with these credentials or altogether.
    Denied,
    /// Busy, or broken for a while.
    Busy {
        retry_after: Option<Duration>,
    },
    /// What arrived is not what was sent.
    Damaged,
    /// No answer came.
    Unreached,
    /// The certificate of who was asked is not trusted.
    Untrusted,
    /// The bucket is in this region.
    Elsewhere(String),
    /// The clocks are so many seconds apart; positive where the service's is ahead.
    Clock(i64),
    /// There is nobody to give credentials.
    NoCredentials,
    /// The credentials, or what new ones are asked for with, do not count any more.
    Expired,
    /// Whatever else.
    Other,
}

/// A request that failed.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub kind: Kind,
    /// What is known about it, in words.
    pub why: String,
}

impl Trouble {
    /// What an error of `object_store` means.
    pub(super) fn of(error: &object_store::Error) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        let mut last = String::new();
        while let Some(error) = cause {
            if let Some(answer) = error.downcast_ref::<Answer>() {
                return Self::of_answer(answer);
            }
            if let Some(unanswered) = error.downcast_ref::<Unanswered>() {
                return Self::of_silence(unanswered);
            }
            if let Some(nonsense) = error.downcast_ref::<Nonsense>() {
                return Self::other(nonsense);
            }
            last = error.to_string();
            cause = error.source();
        }
        let kind = match error {
            object_store::Error::NotFound { .. } => Kind::NotFound,
            object_store::Error::AlreadyExists { .. }
            | object_store::Error::Precondition { .. } => Kind::Precondition,
            object_store::Error::PermissionDenied { .. } => Kind::Denied,
            _ => Kind::Other,
        };
        Self { kind, why: last }
    }

    pub(super) fn other(why: impl ToString) -> Self {
        Self {
            kind: Kind::Other,
            why: why.to_string(),
        }
    }

    fn of_silence(unanswered: &Unanswered) -> Self {
        let kind = match unanswered {
            _ if is_metadata_host(&unanswered.host) => Kind::NoCredentials,
            Unanswered { may_pass: true, .. } => Kind::Unreached,
            Unanswered {
                is_untrusted: true, ..
            } => Kind::Untrusted,
            Unanswered { .. } => Kind::Other,
        };
        Self {
            kind,
            why: unanswered.to_string(),
        }
    }

    fn of_answer(answer: &Answer) -> Self {
        Self {
            kind: kind_of_answer(answer),
            why: answer.to_string(),
        }
    }

    /// Whether the same request may do better.
    pub(super) fn may_pass(&self) -> bool {
        match self.kind {
            Kind::Busy { .. } | Kind::Damaged | Kind::Unreached => true,
            // Signed long before it was sent.
            Kind::Clock(apart) => apart.abs() < LATE,
            _ => false,
        }
    }

    /// What the operator is told: which address, what, and what to do. `source` says where the
    /// credentials came from.
    pub(super) fn told(&self, place: &str, url: &ObjectUrl, source: &str) -> Error {
        let why = &self.why;
        let word = url.provider().bucket_word();
        let bucket = url.bucket();
        match &self.kind {
            Kind::NotFound => ErrorKind::Failed.error(format!("{place} does not exist")),
            Kind::NoBucket => {
                ErrorKind::NoBackup.error(format!("there is no {word} {bucket} ({why})"))
            }
            Kind::Precondition => ErrorKind::Refused.error(format!(
                "{place} is there already, or was changed meanwhile ({why})"
            )),
            Kind::Denied => ErrorKind::Failed.error(format!(
                "{place}: refused ({why}); the credentials came from {source}"
            )),
            Kind::Busy { .. } => ErrorKind::Unreachable
                .error(format!("{place}: the storage is busy or failing ({why})")),
            Kind::Unreached => ErrorKind::Unreachable.error(format!("{place}: cannot reach {why}")),
            Kind::Untrusted => ErrorKind::Failed.error(format!("{place}: {why}")).hint(
                "a certificate of your own is trusted from AWS_CA_BUNDLE, or from the system's",
            ),
            Kind::Elsewhere(region) => ErrorKind::Failed
                .error(format!("{word} {bucket} is in region {region} ({why})"))
                .hint(format!("set AWS_REGION={region}, or region in the profile")),
            Kind::Clock(apart) => {
                let (way, by) = match *apart {
                    apart if apart > 0 => ("slow", apart),
                    apart => ("fast", -apart),
                };
                ErrorKind::Failed
                    .error(format!(
                        "{place}: the clock of this machine is {way} by {by} s, so its \
                         signatures do not count ({why})"
                    ))
                    .hint("set the clock, with chrony or NTP")
            }
            Kind::Expired => ErrorKind::Failed
                .error(format!(
                    "{place}: the credentials have expired ({why}); they came from {source}"
                ))
                .hint("renew them, and run snap again; a role is renewed while a run goes on"),
            Kind::NoCredentials => ErrorKind::Failed
                .error(format!("no credentials for {url}: {source}, and {why}"))
                .hint(credentials_hint(url)),
            Kind::PastTheEnd | Kind::Damaged | Kind::Other => {
                let error = ErrorKind::Failed.error(format!("{place}: {why}"));
                match hint_of(why) {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
        }
    }

    /// The same for those who want an error of the system's.
    pub(super) fn io(&self, place: &str, url: &ObjectUrl, source: &str) -> io::Error {
        let kind = match self.kind {
            Kind::NotFound => io::ErrorKind::NotFound,
            Kind::Precondition => io::ErrorKind::AlreadyExists,
            Kind::Denied => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self.told(place, url, source))
    }
}

fn kind_of_answer(answer: &Answer) -> Kind {
    let code = answer.code.as_str();
    let busy = || Kind::Busy {
        retry_after: answer.retry_after,
    };
    match (answer.status, code) {
        _ if is_metadata_host(&answer.host) => Kind::NoCredentials,
        (_, "RequestTimeTooSkewed") => Kind::Clock(answer.clock_ahead.unwrap_or_default()),
        (_, "NoSuchBucket" | "ContainerNotFound") => Kind::NoBucket,
        (
            _,
            "SlowDown"
            | "RequestTimeout"
            | "InternalError"
            | "ServerBusy"
            | "OperationTimedOut"
            | "RequestTimeoutException"
            | "ServiceUnavailable"
            | "OperationAborted"
            | "ConditionalRequestConflict",
        ) => busy(),
        (_, "BadDigest" | "XAmzContentSHA256Mismatch") => Kind::Damaged,
        (
            _,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidIdentityToken"
            | "TokenRefreshRequired",
        ) => Kind::Expired,
        (301 | 307 | 400, _) if answer.region.is_some() => {
            Kind::Elsewhere(answer.region.clone().unwrap_or_default())
        }
        (_, "BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold") => Kind::Denied,
        (404, _) => Kind::NotFound,
        (409 | 412, _) => Kind::Precondition,
        (416, _) => Kind::PastTheEnd,
        (401 | 403, _) => Kind::Denied,
        (408 | 429 | 500 | 502 | 503 | 504, _) => busy(),
        _ => Kind::Other,
    }
}

fn credentials_hint(url: &ObjectUrl) -> &'static str {
    match url.provider() {
        super::Provider::S3 => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        super::Provider::Gcs => "set GOOGLE_APPLICATION_CREDENTIALS to a key file",
        super::Provider::Azure => {
            "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or \
             AZURE_STORAGE_CONNECTION_STRING"
        }
    }
}

/// What an upload that was damaged again and again says.
const DAMAGED: &str =
    "what arrived is not what was sent: something on the way, or the storage, is faulty";

/// What helps against what a service says.
fn hint_of(why: &str) -> Option<&'static str> {
    let rules = [
        ("BadDigest", DAMAGED),
        ("XAmzContentSHA256Mismatch", DAMAGED),
        (
            "Content-MD5",
            "a bucket with Object Lock demands checksums: set SNAP_S3_CHECKSUM=sha256",
        ),
        (
            "x-amz-checksum",
            "the storage does not know S3's checksums: unset SNAP_S3_CHECKSUM",
        ),
        (
            "same length",
            "the storage wants parts of one size: set part-size to at least the size of the \
             largest shard / 8000",
        ),
    ];
    let fitting = rules.iter().find(|(said, _)| why.contains(said));
    fitting.map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, code: &str) -> Kind {
        kind_of_answer(&Answer {
            status,
            code: code.to_owned(),
            ..Answer::default()
        })
    }

    #[test]
    fn what_may_pass_is_tried_again_and_a_refusal_is_not() {
        let passes = |status, code| {
            let trouble = Trouble {
                kind: kind(status, code),
                why: String::new(),
            };
            trouble.may_pass()
        };
        for (status, code) in [
            (503, "SlowDown"),
            (400, "RequestTimeout"),
            (500, ""),
            (429, ""),
            (502, ""),
            (409, "OperationAborted"),
            (400, "BadDigest"),
        ] {
            assert!(passes(status, code), "{status} {code}");
        }
        for (status, code) in [
            (403, "SignatureDoesNotMatch"),
            (401, ""),
            (404, ""),
            (404, "NoSuchBucket"),
            (400, "InvalidRequest"),
            (501, "NotImplemented"),
        ] {
            assert!(!passes(status, code), "{status} {code}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_by_how_much() {
        let url: ObjectUrl = "s3://b".parse().unwrap();
        let trouble = Trouble::of_answer(&Answer {
            status: 403,
            code: "RequestTimeTooSkewed".to_owned(),
            clock_ahead: Some(1500),
            ..Answer::default()
        });
        assert!(!trouble.may_pass());
        let told = trouble.told("s3://b/meta.00", &url, "x");
        assert!(told.message.contains("slow by 1500 s"), "{told}");
        // It was only late.
        let late = Trouble {
            kind: Kind::Clock(2),
            ..trouble
        };
        assert!(late.may_pass());
    }
}
