//! In place of the HTTP API, in a program that was built without.

use std::convert::Infallible;

use anyhow::Result;

use super::{HttpOptions, HttpUrl, Series, Written};
use crate::cancel::Cancel;
use crate::error::ErrorKind;

/// influxd's HTTP API, of which this program has none.
#[derive(Debug)]
pub struct HttpApi(Infallible);

impl HttpApi {
    /// This program has no HTTP.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn new(options: &HttpOptions, _: Cancel) -> Result<Self> {
        Err(ErrorKind::Usage
            .error(format!("{}: this snap was built without HTTP", options.url))
            .hint("build it with the feature http")
            .into())
    }

    /// Where it is.
    pub fn url(&self) -> &HttpUrl {
        match self.0 {}
    }

    /// The version of the server.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn version(&self) -> Result<String> {
        match self.0 {}
    }

    /// Asks a question.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn query(&self, _: &str) -> Result<Vec<Series>> {
        match self.0 {}
    }

    /// Has a statement done.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn statement(&self, _: &str) -> Result<()> {
        match self.0 {}
    }

    /// Writes points.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn write(&self, _: &str, _: &str, _: &[u8]) -> Result<Written> {
        match self.0 {}
    }
}
