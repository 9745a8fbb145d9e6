//! What every verb is given: where to print, and how to reach the server.

use std::path::{Path, PathBuf};

use crate::args::Global;
use crate::client::Client;
use crate::client::endpoint::Endpoint;
use crate::error::Error;
use crate::output::Output;

pub(crate) struct Context {
    pub(crate) out: Output,
    url: Option<String>,
    token_file: Option<PathBuf>,
    data_dir: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Context {
        Context {
            out: Output::new(global),
            url: global.url.clone(),
            token_file: global.token_file.clone(),
            data_dir: global.data_dir.clone(),
        }
    }

    /// Where the server keeps its files; a client finds its address and token there.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Error> {
        match &self.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => pointsman_host::postgres::default_data_dir().map_err(|error| {
                Error::hinted(
                    error.to_string(),
                    "name a directory with --data-dir or POINTSMAN_DATA_DIR",
                )
            }),
        }
    }

    /// Whether a client without any options would look there.
    pub(crate) fn is_default_data_dir(&self, dir: &Path) -> bool {
        pointsman_host::postgres::default_data_dir().is_ok_and(|default| default == dir)
    }

    /// A client of the server that the options, the environment or the data directory name.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let endpoint = Endpoint::find(
            self.url.as_deref(),
            self.token_file.as_deref(),
            &self.data_dir()?,
        )?;
        Ok(Client::new(endpoint))
    }
}
