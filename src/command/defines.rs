//! `-Dname=value` and other things that start scripts write for a JVM.

use clap::Args;

use crate::config::Define;

#[derive(Debug, Default, Args)]
pub(super) struct Defines {
    /// Sets a Java system property, as start scripts for ZooKeeper do: -Dzookeeper.snapCount=50000,
    /// -Djute.maxbuffer=4194304, and settings of our own: -Dringkeeper.layout=single. A line of zoo.cfg beats it.
    #[arg(short = 'D', value_name = "NAME=VALUE", allow_hyphen_values = true)]
    define: Vec<String>,
    /// Options of the JVM itself (-Xmx1g, -XX:+UseG1GC), so that existing scripts carry over; they do nothing.
    #[arg(short = 'X', hide = true, allow_hyphen_values = true)]
    jvm: Vec<String>,
}

impl Defines {
    /// The properties, in the order of the command line.
    pub fn properties(&self) -> Vec<Define> {
        self.define.iter().map(|text| Define::parse(text)).collect()
    }

    /// What is to be said about options that do nothing.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.jvm.iter().map(|text| format!("-X{text}: has no effect here: there is no JVM"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        defines: Defines,
        path: Option<String>,
    }

    #[test]
    fn properties_are_read_as_java_writes_them() {
        let words = ["x", "-Dzookeeper.a=1=2", "-Dbare", "zoo.cfg", "-Xmx1g", "-XX:+UseG1GC", "-D", "spaced=-1"];
        let line = Line::parse_from(words);
        let define = |name: &str, value: &str| Define { name: name.to_owned(), value: value.to_owned() };
        let expected = [define("zookeeper.a", "1=2"), define("bare", ""), define("spaced", "-1")];
        assert_eq!(line.defines.properties(), expected);
        assert_eq!(line.defines.warnings().count(), 2);
        assert_eq!(line.path.as_deref(), Some("zoo.cfg"));
    }
}
