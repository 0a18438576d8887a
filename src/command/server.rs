//! `server`: configuration, host checks, plan, and then the server itself, in the foreground.
//!
//! Invariant  no executor starts before the configuration is whole and no finding about the host stops us.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tuning::host::{self, Finding, Needs, Severity, Subject};
use tuning::{Machine, Plan, Wishes};

use super::defines::Defines;
use super::exit::Exit;
use crate::config::{self, Config, LoadError, Loaded, Remark};
use crate::server::start::{self, RunError};

/// Runs a server in the foreground until SIGTERM or SIGINT, with its log on standard error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ringkeeper server
      serves on port 2181, with its data in ./ringkeeper-data
  ringkeeper server -Djute.maxbuffer=4194304 /etc/zookeeper/zoo.cfg
      serves as an existing ZooKeeper configuration says")]
pub(super) struct Arguments {
    #[command(flatten)]
    defines: Defines,
    /// A ZooKeeper configuration.
    #[arg(value_name = "zoo.cfg")]
    path: Option<PathBuf>,
}

/// Runs the server; what stops it is in the log.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    arguments.defines.warnings().for_each(|warning| tracing::warn!("{warning}"));
    let loaded = config::load(arguments.path.as_deref(), &arguments.defines.properties());
    let planned = loaded.and_then(|loaded| Ok((plan(&loaded)?, loaded)));
    let (plan, Loaded { config, warnings, .. }) = match planned {
        Ok(planned) => planned,
        Err(LoadError { problems, warnings }) => {
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
            return Exit::Configuration.into();
        }
    };
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Err(exit) = check_host(&config, &plan) {
        return exit.into();
    }
    serve(config, &plan)
}

/// The plan for this machine. A layout that cannot be had here is wrong like any other setting.
pub(super) fn plan(loaded: &Loaded) -> Result<Plan, LoadError> {
    let local = &loaded.config.local;
    let has_peers = loaded.config.membership.is_some();
    let wishes = Wishes { has_peers, layout: local.layout.clone(), spin_us: local.spin_us };
    tuning::plan(&Machine::read(), &wishes).map_err(|error| {
        let setting = loaded.effective.iter().find(|setting| setting.key == "ringkeeper.layout");
        let setting = setting.expect("the layout is an effective setting with a default");
        let problem = Remark::new(&setting.origin, &setting.key, error.to_string());
        LoadError { problems: vec![problem], warnings: loaded.warnings.clone() }
    })
}

/// Says what the host lacks; the exit code if that stops us.
fn check_host(config: &Config, plan: &Plan) -> Result<(), Exit> {
    let local = &config.local;
    let needs = Needs {
        executors: plan.executors.len(),
        connections_max: Some(local.max_cnxns).filter(|count| *count > 0),
        directories: vec![local.data_dir.clone(), local.data_log_dir.clone()],
        create_directories: local.storage.create_directories,
    };
    let mut findings = host::check(&needs);
    findings.dedup();
    for finding in &findings {
        match finding.severity {
            Severity::Stops => tracing::error!("{finding}"),
            Severity::Warns => tracing::warn!("{finding}"),
        }
    }
    exit_for(&findings).map_or(Ok(()), Err)
}

fn exit_for(findings: &[Finding]) -> Option<Exit> {
    let mut stopping = findings.iter().filter(|finding| finding.severity == Severity::Stops).peekable();
    stopping.peek()?;
    let only_directories = stopping.all(|finding| finding.subject == Subject::Directory);
    Some(if only_directories { Exit::DataDirectory } else { Exit::Unexpected })
}

fn serve(config: Config, plan: &Plan) -> ExitCode {
    plan.to_string().lines().for_each(|line| tracing::info!("layout: {}", line.trim_start()));
    let greeting = config.local.file.is_none().then(|| greeting(&config, plan));
    let error = match start::run(config, plan, greeting) {
        Ok(()) => return Exit::Success.into(),
        Err(error) => error,
    };
    tracing::error!("{error}");
    match error {
        RunError::DataDirectory(_) => Exit::DataDirectory.into(),
        _ => Exit::Unexpected.into(),
    }
}

/// The one screen for somebody who started without a configuration.
fn greeting(config: &Config, plan: &Plan) -> String {
    let local = &config.local;
    let port = local.client_port;
    let (listens, host) = match local.client_address {
        None => (format!("port {port}, every address"), "127.0.0.1".to_owned()),
        Some(address) if address.is_ipv6() => (format!("[{address}]:{port}"), format!("[{address}]")),
        Some(address) => (format!("{address}:{port}"), address.to_string()),
    };
    format!(
        "ringkeeper {version}, standalone\n  \
         listens   {listens}\n  \
         data      {data}\n  \
         layout    {layout}\n  \
         try next  zkCli.sh -server {host}:{port}    or    echo srvr | nc {bare} {port}",
        version = env!("CARGO_PKG_VERSION"),
        data = local.data_dir.display(),
        layout = plan.to_string().replace('\n', "\n          "),
        bare = host.trim_matches(['[', ']']),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, subject: Subject) -> Finding {
        Finding { severity, subject, wrong: String::new(), mend: String::new() }
    }

    #[test]
    fn only_what_stops_us_ends_the_process_and_directories_have_their_own_code() {
        let warned = finding(Severity::Warns, Subject::Descriptors);
        let no_directory = finding(Severity::Stops, Subject::Directory);
        let no_ring = finding(Severity::Stops, Subject::IoUring);
        assert_eq!(exit_for(&[]), None);
        assert_eq!(exit_for(std::slice::from_ref(&warned)), None);
        assert_eq!(exit_for(&[warned, no_directory.clone()]), Some(Exit::DataDirectory));
        assert_eq!(exit_for(&[no_directory, no_ring]), Some(Exit::Unexpected));
    }

    #[test]
    fn the_greeting_is_one_screen_with_the_line_to_try_next() {
        let loaded = config::load(None, &[]).unwrap();
        let plan = tuning::plan(&Machine::uniform(64), &Wishes::default()).unwrap();
        let text = greeting(&loaded.config, &plan);
        assert!(text.lines().count() <= 12, "{text}");
        for part in ["port 2181", "ringkeeper-data", "64 CPUs", "echo srvr | nc 127.0.0.1 2181"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn an_impossible_layout_is_a_wrong_setting() {
        let define = config::Define::parse("-Dringkeeper.layout=replica+link+log+serve=1023".trim_start_matches("-D"));
        let error = plan(&config::load(None, &[define]).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("-Dringkeeper.layout: CPU 1023 does not exist"), "{error}");
    }
}
