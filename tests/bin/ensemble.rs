//! Runs scenarios on ensembles of any kinds:
//! `ensemble [--kinds K,K,K] [--test NAME] [--other KIND] [--observers N] [--seed N] [--rounds N] [--ringkeeper PATH]`.
//!
//! Kinds are `zookeeper395`, `zookeeper380` and `ringkeeper`, which is at the path given behind `--ringkeeper`. Without
//! `--test` all scenarios run; `--other` is what `rolling` replaces members by. The suite runs a part of this.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use support::scenario::{self, Run};
use support::server::Kind;

fn main() -> ExitCode {
    match parse(env::args().skip(1)) {
        Ok(plan) => plan.run(),
        Err(problem) => {
            eprintln!("{problem}; see the head of tests/bin/ensemble.rs");
            ExitCode::from(2)
        }
    }
}

struct Plan {
    run: Run,
    rounds: u64,
    tests: Vec<&'static str>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let (mut kinds, mut other) = ("zookeeper395,zookeeper395,zookeeper395".to_owned(), None);
    let (mut ringkeeper, mut tests) = (PathBuf::from("ringkeeper"), Vec::new());
    let (mut observers, mut seed, mut rounds) = (0, 1, 1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--kinds" => kinds = value,
            "--other" => other = Some(value),
            "--ringkeeper" => ringkeeper = PathBuf::from(value),
            "--observers" => observers = number()? as usize,
            "--seed" => seed = number()?,
            "--rounds" => rounds = number()?,
            "--test" => {
                let known = scenario::ALL.iter().find(|(known, _)| *known == value);
                tests.push(known.ok_or_else(|| format!("no scenario is called {value}"))?.0);
            }
            _ => return Err(format!("unknown: {name}")),
        }
    }
    let kinds = Kind::parse_list(&kinds, &ringkeeper)?;
    let mut run = Run::new(&kinds, seed);
    run.observers = observers;
    if let Some(other) = other {
        run.other = Kind::parse(&other, || ringkeeper)?;
    }
    if tests.is_empty() {
        tests = scenario::ALL.iter().map(|(name, _)| *name).collect();
    }
    Ok(Plan { run, rounds, tests })
}

impl Plan {
    fn run(mut self) -> ExitCode {
        let kinds: Vec<String> = self.run.kinds.iter().map(Kind::to_string).collect();
        for _ in 0..self.rounds {
            for name in &self.tests {
                println!("{name}, {}, seed {}", kinds.join(","), self.run.seed);
                let begin = Instant::now();
                scenario::named(name).expect("checked when it was read")(&self.run);
                println!("{name}: {:.1} s", begin.elapsed().as_secs_f64());
            }
            self.run.seed += 1;
        }
        ExitCode::SUCCESS
    }
}
