//! `pointsman host`.

use std::path::Path;

use pointsman_api::cluster::{HostKernel, InstalledKernel, PutHost, PutHosts};
use ureq::http::Method;

use crate::args::record::{Host, HostList, HostSet};
use crate::args::values::KernelName;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::verbs::{input, list, tell};

pub(super) fn run(context: &Context, verb: Host) -> Result<Exit, Error> {
    match verb {
        Host::List(args) => print(context, args),
        Host::Set(args) => set(context, args),
    }
}

fn print(context: &Context, args: HostList) -> Result<Exit, Error> {
    let (distro, version) = match args.kernel {
        Some(kernel) => (Some(kernel.distro), Some(kernel.version)),
        None => (args.distro, None),
    };
    let address = context
        .client()?
        .at(&["hosts"])
        .maybe("cluster", args.cluster)
        .maybe("cluster_type", args.cluster_type)
        .maybe("host", args.host)
        .maybe("distro", distro)
        .maybe("version", version)
        .list("state", &args.state)
        .list("without_state", &args.without_state)
        .maybe("below_state", args.below_state)
        .flag("current", args.current);
    list::print::<HostKernel>(context, &address, &args.paging, "no host is like that")
}

fn set(context: &Context, args: HostSet) -> Result<Exit, Error> {
    let hosts = match (args.from, args.host) {
        (Some(file), _) => read(&file)?,
        (None, Some(name)) => {
            let running = args.running.into_iter().map(|kernel| (kernel, true));
            let installed = args.installed.into_iter().map(|kernel| (kernel, false));
            let kernels = running
                .chain(installed)
                .map(
                    |(KernelName { distro, version }, current)| InstalledKernel {
                        distro,
                        version,
                        current,
                    },
                )
                .collect();
            vec![PutHost {
                cluster: name.cluster,
                host: name.host,
                kernels,
            }]
        }
        // clap sees to it that one of them is there.
        (None, None) => Vec::new(),
    };
    let client = context.client()?;
    let body = PutHosts {
        comment: args.why.comment,
        hosts,
    };
    tell(
        context,
        &client.send(&Method::POST, &client.at(&["hosts"]), &body)?,
    )
}

/// One host per line.
fn read(file: &Path) -> Result<Vec<PutHost>, Error> {
    let text = input::text(file)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|error| {
                Error::hinted(
                    format!(
                        "line {} of {} is no host: {error}",
                        at + 1,
                        input::name(file)
                    ),
                    "`pointsman host set --help` shows what a line looks like; nothing was changed",
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        let line = r#"{"cluster": "lab-1", "host": "web-1", "kernels": [{"distro": "debian-12", "version": "6.1", "current": true}]}"#;
        std::fs::write(&path, format!("{line}\n\n{line}\n")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
        std::fs::write(&path, format!("{line}\n\n{{\"cluster\": 1}}\n")).unwrap();
        let text = read(&path).unwrap_err().to_string();
        assert!(text.starts_with("line 3 of "), "{text}");
    }
}
