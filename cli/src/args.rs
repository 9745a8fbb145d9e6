//! The command line, and nothing but: what each verb does with it is in `verbs`.

pub(crate) mod demo;
pub(crate) mod journal;
pub(crate) mod kernel;
pub(crate) mod merge;
pub(crate) mod note;
pub(crate) mod policy;
pub(crate) mod record;
pub(crate) mod server;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::exit::Exit;

const AFTER_HELP: &str = "\
Examples:
  pointsman up                                  start everything on this machine
  pointsman demo merge                          see pull requests tested and landed, on a throwaway server
  pointsman kernel list --state seen --like '6.1.%'
  pointsman kernel report debian-12/6.1.0-49-amd64 --purpose build --verdict pass
  pointsman event list --follow                 watch the record change
  pointsman kernel list --all --json | jq -r .version

Environment:
  POINTSMAN_URL         where the server is
  POINTSMAN_TOKEN_FILE  a file that holds the token
  POINTSMAN_TOKEN       the token itself
  POINTSMAN_DATA_DIR    where `pointsman up` keeps its data; its own address and token are found there
  DATABASE_URL          for `up`, `serve`, `migrate`: a PostgreSQL of yours instead of the embedded one
  NO_COLOR              no colours

";

/// Keeps the record of what has been tested, and decides what to test and merge next.
#[derive(Parser, Debug)]
#[command(
    name = "pointsman",
    version,
    after_help = const_str(),
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

fn const_str() -> String {
    format!("{AFTER_HELP}{}", Exit::HELP)
}

/// Options of every verb.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the server is [default: that of the data directory, else http://127.0.0.1:8650]
    #[arg(
        long,
        global = true,
        env = "POINTSMAN_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) url: Option<String>,
    /// The file that holds the token [env: POINTSMAN_TOKEN_FILE=] [default: that of the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Where the server keeps its data
    #[arg(
        long,
        global = true,
        env = "POINTSMAN_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// Print JSON: one document, or one per line for a list
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no messages, only data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more about errors; for a server, log more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What there is to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    Up(server::Up),
    Serve(server::Serve),
    Migrate(server::Migrate),
    Openapi(server::Openapi),
    #[command(subcommand)]
    Token(server::Token),
    Whoami(server::Whoami),
    #[command(subcommand)]
    Distro(record::Distro),
    #[command(subcommand)]
    State(record::State),
    #[command(subcommand)]
    Kernel(Box<kernel::Kernel>),
    #[command(subcommand)]
    Run(record::Run),
    #[command(subcommand)]
    Ignore(record::Ignore),
    #[command(subcommand)]
    Cluster(record::Cluster),
    #[command(subcommand)]
    Host(record::Host),
    #[command(subcommand)]
    Generation(journal::Generation),
    #[command(subcommand)]
    Event(journal::Event),
    #[command(subcommand)]
    Plugin(policy::Plugin),
    #[command(subcommand)]
    Pipeline(policy::Pipeline),
    #[command(subcommand)]
    Repo(merge::Repo),
    #[command(subcommand)]
    Pr(merge::Pr),
    #[command(subcommand)]
    Lane(merge::Lane),
    #[command(subcommand)]
    Note(note::Note),
    #[command(subcommand)]
    Decision(policy::Decision),
    #[command(subcommand)]
    Demo(demo::Demo),
    Export(journal::Export),
    Import(journal::Import),
    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  pointsman completions bash > ~/.local/share/bash-completion/completions/pointsman
  pointsman completions zsh  > ~/.zfunc/_pointsman
  pointsman completions fish > ~/.config/fish/completions/pointsman.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Compiles one plugin: what the server starts as a limited child process
    #[command(name = "__compile-plugin", hide = true)]
    CompilePlugin,
    /// Tells the server that somebody pushed: what the hook of a repository runs
    #[command(name = "__pushed", hide = true)]
    Pushed {
        /// The server's socket
        bell: PathBuf,
        /// The repository
        repository: String,
    },
}

/// The reason for a change.
#[derive(Args, Debug, Default)]
pub(crate) struct Why {
    /// Why: the comment of the change in the record
    #[arg(short = 'm', long = "comment", value_name = "TEXT")]
    pub(crate) comment: Option<String>,
}

/// How much of a list.
#[derive(Args, Debug)]
pub(crate) struct Paging {
    /// Rows at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// All rows, however many
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub(crate) all: bool,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_teaches_by_example() {
        fn check(command: &clap::Command, path: &str) {
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                let path = format!("{path} {}", verb.get_name());
                if verb.get_name() == "help" {
                    continue;
                }
                assert!(verb.get_about().is_some(), "{path} says what it does");
                if verb.has_subcommands() {
                    check(verb, &path);
                    continue;
                }
                let help = verb
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    help.contains("Example") && help.contains(&path),
                    "{path} shows no example"
                );
            }
        }
        check(&Cli::command(), "pointsman");
    }

    /// Every example of every help text parses.
    #[test]
    fn examples_are_true() {
        fn collect(command: &clap::Command, found: &mut Vec<String>) {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let lines = help
                .lines()
                .skip_while(|line| !line.starts_with("Example"))
                .skip(1);
            let lines = lines.map_while(|line| line.strip_prefix("  "));
            // A pipe may have the command at several places.
            found.extend(lines.flat_map(|line| line.split(" | ")).map(str::to_owned));
            for verb in command.get_subcommands() {
                collect(verb, found);
            }
        }
        let mut found = Vec::new();
        collect(&Cli::command(), &mut found);
        let mut tried = 0;
        for line in found {
            // What a shell would take away: redirections; and what explains the example.
            let line = line.split(" > ").next().unwrap_or_default();
            let line = line.split("  ").next().unwrap_or_default();
            // What comes before the command is its environment.
            let words: Vec<String> = words(line)
                .into_iter()
                .skip_while(|word| word != "pointsman")
                .collect();
            if words.is_empty() {
                continue;
            }
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{words:?}: {error}");
            }
            tried += 1;
        }
        assert!(tried > 50, "only {tried} examples");
    }

    /// Splits as a shell does, for what examples use: spaces, single quotes, double quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in line.trim().chars() {
            let Some(word) = words.last_mut() else {
                continue;
            };
            match (quote, c) {
                (None, '\'' | '"') => quote = Some(c),
                (Some(q), c) if q == c => quote = None,
                (None, ' ') if word.is_empty() => {}
                (None, ' ') => words.push(String::new()),
                (_, c) => word.push(c),
            }
        }
        words
    }

    #[test]
    fn secrets_are_no_arguments() {
        for args in [
            &["pointsman", "whoami", "--token", "x"][..],
            &["pointsman", "serve", "--database-url", "postgres://u:p@h/d"],
        ] {
            assert!(Cli::try_parse_from(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn global_options_go_anywhere() {
        for args in [
            &["pointsman", "--json", "kernel", "list"][..],
            &["pointsman", "kernel", "--json", "list"],
            &["pointsman", "kernel", "list", "--json"],
        ] {
            assert!(Cli::try_parse_from(args).unwrap().global.json, "{args:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            "kernel list --ignored --not-ignored",
            "kernel list --installed --not-installed",
            "kernel list --all --limit 5",
            "kernel list --limit 0",
            "kernel list --csv --json",
            "kernel set debian-12/6.1 debian-12/6.2 --state built --if-generation 4",
            "kernel set --state built",
            "kernel add",
            "kernel add debian-12",
            "kernel stale --over soon",
            "ignore add --reason none",
            "event list --follow --newest",
            "host set web-1 --running debian-12/6.1",
            "pr create driver fix Title --permission read",
            "pr create driver fix Title --author eve --permission owner",
            "up --once --quiet --verbose",
        ] {
            let line = format!("pointsman {args}");
            let parsed = Cli::try_parse_from(words(&line));
            // What clap cannot see, the verb refuses; here only clap is asked.
            let seen_by_verb = args.contains("--if-generation") || args.contains("--csv --json");
            assert!(parsed.is_err() || seen_by_verb, "{args}");
        }
    }
}
