//! A repository in object storage: Amazon S3 and what speaks its protocol, Google Cloud Storage,
//! Azure Blob Storage.
//!
//! Each file uses only files that stand before it here: url and settings say where and how;
//! answer says what a service replies, transport sends one request, trouble says what a failure
//! means. aws and aws_process find credentials; client is one for a bucket.
//! notice tells who wants to know that it is waited for, parts is memory for uploads; remote has
//! both, and asks a bucket again as long as that helps. read, upload, notes and stale are what is
//! done with objects, and store is a repository of them.

#[cfg(feature = "object-store")]
mod answer;
#[cfg(feature = "object-store")]
mod aws;
#[cfg(feature = "object-store")]
mod aws_process;
#[cfg(feature = "object-store")]
mod client;
#[cfg(feature = "object-store")]
mod notes;
#[cfg(feature = "object-store")]
mod notice;
#[cfg(feature = "object-store")]
mod parts;
#[cfg(feature = "object-store")]
mod read;
#[cfg(feature = "object-store")]
mod remote;
mod settings;
#[cfg(feature = "object-store")]
mod stale;
#[cfg(feature = "object-store")]
mod store;
#[cfg(all(test, feature = "object-store"))]
mod tests;
#[cfg(feature = "object-store")]
mod transport;
#[cfg(feature = "object-store")]
mod trouble;
#[cfg(feature = "object-store")]
mod upload;
mod url;

use std::sync::Arc;

use anyhow::Result;

pub use settings::{
    AzureSettings, GcsSettings, ObjectSettings, S3Checksum, S3Settings, TransferSettings,
};
pub use url::{ObjectUrl, Provider};

use super::{OnWait, WritableStore};
#[cfg(all(test, feature = "object-store"))]
pub(super) use tests::in_memory;

/// The repository at a URL. Nothing is asked of the storage yet. While that fails and is asked
/// again, `on_wait` is told.
///
/// # Errors
///
/// When settings and environment contradict each other, or name what cannot be read.
#[cfg(feature = "object-store")]
pub(crate) fn open(
    url: &ObjectUrl,
    settings: &ObjectSettings,
    on_wait: Option<OnWait>,
) -> Result<Arc<dyn WritableStore>> {
    let variable = |name: &str| std::env::var(name).ok();
    let client = client::Client::new(url, settings, &aws::Environment(&variable))?;
    let notice = notice::Notice::new(on_wait);
    let remote = remote::Remote::new(url.clone(), client, settings.storage.retries, notice);
    Ok(Arc::new(store::ObjectStore::new(remote, &settings.storage)))
}

/// This program has no object storage.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "object-store"))]
pub(crate) fn open(
    url: &ObjectUrl,
    _: &ObjectSettings,
    _: Option<OnWait>,
) -> Result<Arc<dyn WritableStore>> {
    let without = format!("{url}: this snap was built without object storage");
    Err(crate::error::ErrorKind::Usage
        .error(without)
        .hint("build it with the feature object-store")
        .into())
}
