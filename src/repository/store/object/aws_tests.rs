//! Tests of where credentials come from.

use std::fs;

use super::*;
use crate::error::hint;

/// What is found with these variables, and these files in `~/.aws`.
fn find(
    settings: &S3Settings,
    variables: &[(&str, &str)],
    config: &str,
    credentials: &str,
) -> Result<Access> {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    fs::write(home.path().join(".aws/config"), config).unwrap();
    fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
    let path = home.path().to_str().unwrap();
    let variable = |name: &str| match name {
        "HOME" => Some(path.to_owned()),
        name => {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    };
    Access::find(settings, &Environment(&variable))
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "id"),
    ("AWS_SECRET_ACCESS_KEY", "hush"),
];
const FILE: &str = "[default]\naws_access_key_id = d\naws_secret_access_key = hush\n\
                    [ci]\naws_access_key_id=c\naws_secret_access_key=hush\n";
const CONFIG: &str = "# comment\n[default]\nregion = eu-west-1\n[profile ci]\nregion = x\n\
                      endpoint_url = http://h:1\ns3 =\n  region = no\n";

fn named(profile: &str) -> S3Settings {
    S3Settings {
        profile: Some(profile.to_owned()),
        ..S3Settings::default()
    }
}

#[test]
fn keys_come_from_a_profile_that_is_set_then_the_environment_then_the_files_then_the_cloud() {
    let none = S3Settings::default();
    let source = |settings: &S3Settings, variables: &[(&str, &str)], config, credentials| {
        let access = find(settings, variables, config, credentials).unwrap();
        assert!(!format!("{access:?}").contains("hush"));
        access.credentials.source().to_owned()
    };
    assert_eq!(source(&named("ci"), &KEYS, CONFIG, FILE), "AWS profile ci");
    let both = [KEYS[0], KEYS[1], ("AWS_PROFILE", "ci")];
    assert_eq!(
        source(&none, &both, CONFIG, FILE),
        "AWS_ACCESS_KEY_ID in the environment"
    );
    assert_eq!(source(&none, &both[2..], CONFIG, FILE), "AWS profile ci");
    assert_eq!(source(&none, &[], CONFIG, FILE), "AWS profile default");
    assert_eq!(source(&none, &[], "", ""), "the role of this instance");
    let token = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ("AWS_ROLE_ARN", "arn"),
    ];
    assert_eq!(
        source(&none, &token, "", ""),
        "the web identity in AWS_WEB_IDENTITY_TOKEN_FILE"
    );
    let container = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")];
    assert_eq!(
        source(&none, &container, "", ""),
        "the role of the container"
    );
    let process = "[profile p]\ncredential_process = true\n";
    assert_eq!(
        source(&named("p"), &[], process, ""),
        "the credential_process of AWS profile p"
    );
}

#[test]
fn region_and_endpoint_come_from_where_aws_tools_look() {
    let none = S3Settings::default();
    let access = find(&none, &[("AWS_PROFILE", "ci")], CONFIG, FILE).unwrap();
    assert_eq!(access.region.as_deref(), Some("x"));
    assert_eq!(access.endpoint.as_deref(), Some("http://h:1"));
    let variables = [
        ("AWS_PROFILE", "ci"),
        ("AWS_DEFAULT_REGION", "r"),
        ("AWS_ENDPOINT_URL", "http://all"),
        ("AWS_ENDPOINT_URL_S3", "http://s3"),
        ("SNAP_S3_CHECKSUM", "sha256"),
    ];
    let access = find(&none, &variables, CONFIG, FILE).unwrap();
    assert_eq!(access.region.as_deref(), Some("r"));
    assert_eq!(access.endpoint.as_deref(), Some("http://s3"));
    assert_eq!(access.checksum, Some(S3Checksum::Sha256));
    assert_eq!(find(&none, &[], "", "").unwrap().region, None);
}

#[test]
fn half_a_key_an_absent_profile_and_what_is_not_supported_are_refused() {
    let none = S3Settings::default();
    let refused = |settings: &S3Settings, variables: &[(&str, &str)], config: &str| {
        let error = find(settings, variables, config, "").unwrap_err();
        assert_eq!(crate::error::kind_of(&error), ErrorKind::Usage);
        error
    };
    refused(&none, &KEYS[..1], "");
    refused(&none, &KEYS[1..], "");
    refused(&none, &[("SNAP_S3_CHECKSUM", "md5")], "");
    for odd in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
    ] {
        let error = refused(&none, &[(odd, "hush\r"), KEYS[0], KEYS[1]], "");
        let said = format!("{error:#}");
        assert!(said.contains(odd) && !said.contains("hush"), "{said}");
    }
    let absent = refused(&named("nobody"), &[], CONFIG);
    assert!(absent.to_string().contains("nobody"), "{absent}");
    let sso = refused(&named("s"), &[], "[profile s]\nsso_session = x\n");
    assert!(sso.to_string().contains("sso_session"), "{sso}");
    assert!(hint(&sso).unwrap().contains("export-credentials"));
    refused(&named("ci"), &[], CONFIG);
}
