//! Credentials that a program prints: `credential_process` of an AWS profile.

use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::answer::Nonsense;

/// How long before they expire credentials are asked for anew.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// What a program gives.
#[derive(Debug)]
pub(super) struct ProcessCredentials {
    command: String,
    cached: Mutex<Option<(Arc<AwsCredential>, Option<Timestamp>)>>,
}

/// What it prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<Timestamp>,
}

impl ProcessCredentials {
    pub(super) fn new(command: String) -> Self {
        Self {
            command,
            cached: Mutex::default(),
        }
    }
}

/// Runs the program; its messages are the operator's to see, what it prints is not.
fn run(command: &str) -> Result<Printed, Nonsense> {
    let failed = |why: String| Nonsense(format!("credential_process {why}"));
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(failed(format!("failed: {}", output.status)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("printed no credentials as JSON".to_owned()))
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "S3",
        source: Box::new(error),
    }
}

#[async_trait]
impl CredentialProvider for ProcessCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cached = self.cached.lock().await;
        if let Some((credential, expires)) = &*cached
            && expires.is_none_or(|expires| Timestamp::now() + EARLY < expires)
        {
            return Ok(credential.clone());
        }
        let command = self.command.clone();
        let printed = tokio::task::spawn_blocking(move || run(&command))
            .await
            .map_err(generic)?
            .map_err(generic)?;
        let credential = Arc::new(AwsCredential {
            key_id: printed.access_key_id,
            secret_key: printed.secret_access_key,
            token: printed.session_token,
        });
        *cached = Some((credential.clone(), printed.expiration));
        Ok(credential)
    }
}
