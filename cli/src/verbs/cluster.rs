//! `pointsman cluster`.

use pointsman_api::cluster::{Cluster as Row, PutCluster, PutClusters};
use ureq::http::Method;

use crate::args::record::Cluster;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::{list, tell};

pub(super) fn run(context: &Context, verb: Cluster) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Cluster::List(paging) => {
            let nothing = "no clusters: `pointsman cluster add` adds one";
            list::print::<Row>(context, &client.at(&["clusters"]), &paging, nothing)
        }
        Cluster::Add { name, kind, why } => {
            let body = PutClusters {
                comment: why.comment,
                clusters: vec![PutCluster { name, kind }],
            };
            tell(
                context,
                &client.send(&Method::POST, &client.at(&["clusters"]), &body)?,
            )
        }
        Cluster::Delete { name, why } => {
            let address = client
                .at(&["clusters", &name])
                .maybe("comment", why.comment);
            tell(context, &client.delete(&address)?)
        }
    }
}
