//! What can be set of object storage beside what the environment says.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a repository in object storage is reached. What is not set comes from the environment
/// variables that the provider's own tools read, then from the defaults that stand here.
///
/// In a configuration, `[s3]`, `[gs]`, `[az]` and `[storage]` are tables of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ObjectSettings {
    /// Amazon S3, and what speaks its protocol.
    pub s3: S3Settings,
    /// Google Cloud Storage.
    pub gs: GcsSettings,
    /// Azure Blob Storage.
    pub az: AzureSettings,
    /// What holds for each of them.
    pub storage: TransferSettings,
}

/// Keys of `[s3]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct S3Settings {
    /// The URL of the service, `https://minio.example:9000`; http only where it says so. Else
    /// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `endpoint_url` of the AWS profile; else Amazon.
    pub endpoint: Option<String>,
    /// The region of the bucket. Else `AWS_REGION`, `AWS_DEFAULT_REGION`, `region` of the AWS
    /// profile; else us-east-1.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of a URL rather than in the name of the host. Else
    /// where an endpoint is set, and nowhere else.
    pub path_style: Option<bool>,
    /// A profile of `~/.aws/config` and `~/.aws/credentials`. It goes before the keys in the
    /// environment. Else `AWS_PROFILE`.
    pub profile: Option<String>,
    /// Whether uploads carry a checksum of S3's own (`x-amz-checksum-…`), which many that speak
    /// its protocol refuse, and buckets with Object Lock demand. Else `SNAP_S3_CHECKSUM`; else
    /// none.
    pub checksum: Option<S3Checksum>,
    /// Certificates in PEM that are trusted beside those of the system. Else `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
}

/// A checksum that S3 keeps with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum S3Checksum {
    /// No.
    None,
    /// SHA-256.
    Sha256,
}

/// Keys of `[gs]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GcsSettings {
    /// The URL of the service. Else `STORAGE_EMULATOR_HOST`; else Google.
    pub endpoint: Option<String>,
    /// The key file of a service account. Else `GOOGLE_APPLICATION_CREDENTIALS`, else what gcloud
    /// has put into the home directory, else the account of the instance.
    pub credentials: Option<PathBuf>,
}

/// Keys of `[az]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AzureSettings {
    /// The storage account. Else `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT`, or what
    /// the connection string says.
    pub account: Option<String>,
    /// The URL of the blob service. Else `AZURE_STORAGE_ENDPOINT`, or what the connection string
    /// says; else `https://ACCOUNT.blob.core.windows.net`.
    pub endpoint: Option<String>,
}

/// Keys of `[storage]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TransferSettings {
    /// The size of the parts of an upload, MiB, from 5 on. A file that is expected to be larger
    /// than 10,000 of them has larger ones.
    pub part_size: u32,
    /// How many parts of a file are on their way at once.
    pub uploads: u32,
    /// How long to try again when the storage does not answer, or says that it is busy: 20 times
    /// or four minutes with 5, and in proportion with other numbers; 0 for not at all.
    pub retries: u32,
    /// How old has to be what no set names before it is removed: longer than any run takes.
    #[serde(skip)]
    pub grace: Duration,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self {
            part_size: 8,
            uploads: 3,
            retries: 5,
            grace: Duration::from_secs(24 * 60 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_sets_some_keys_and_the_others_keep_their_defaults() {
        let text = r#"{"s3":{"endpoint":"http://127.0.0.1:8333","path-style":true,
                       "checksum":"sha256"},"storage":{"part-size":16}}"#;
        let settings: ObjectSettings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.s3.path_style, Some(true));
        assert_eq!(settings.s3.checksum, Some(S3Checksum::Sha256));
        assert_eq!(settings.s3.region, None);
        assert_eq!(settings.storage.part_size, 16);
        assert_eq!(
            settings.storage.uploads,
            TransferSettings::default().uploads
        );
        let unknown = r#"{"s3":{"secret":"x"}}"#;
        assert!(serde_json::from_str::<ObjectSettings>(unknown).is_err());
    }
}
