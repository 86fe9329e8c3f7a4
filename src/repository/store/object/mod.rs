//! A repository in object storage: Amazon S3 and what speaks its protocol, Google Cloud Storage,
//! Azure Blob Storage.

mod settings;
mod url;

pub use settings::{
    AzureSettings, GcsSettings, ObjectSettings, S3Checksum, S3Settings, TransferSettings,
};
pub use url::{ObjectUrl, Provider};
