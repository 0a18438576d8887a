//! The layout that the configuration asks for, and its text.

use std::fmt;
use std::str::FromStr;

use crate::placement::Role;
use crate::topology::parse_cpu_list;

/// The layout that the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// `auto`: one executor on one CPU, a pair on two or three, dedicated cores from there on.
    #[default]
    Auto,
    /// `single`: one executor holds every role.
    Single,
    /// `paired`: the log has an executor to itself, everything else shares another. Needs two CPUs.
    Paired,
    /// `dedicated`: replica, link and log have a core each, the rest serve. Needs four CPUs.
    Dedicated,
    /// `replica+log=2/link=3/serve=4-7`: exactly these. A group with serve alone gets an executor on each of its CPUs.
    Explicit(Vec<Group>),
}

/// Roles that share an executor, and its CPUs: one, or several for serve alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The roles, without repetition.
    pub roles: Vec<Role>,
    /// The CPUs, ascending.
    pub cpus: Vec<usize>,
}

/// A layout's text is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutParseError;

impl fmt::Display for LayoutParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("auto, single, paired, dedicated, or roles on CPUs as in replica+log=2/link=3/serve=4-7")
    }
}

impl std::error::Error for LayoutParseError {}

impl FromStr for Layout {
    type Err = LayoutParseError;

    fn from_str(text: &str) -> Result<Layout, LayoutParseError> {
        match text {
            "auto" => Ok(Layout::Auto),
            "single" => Ok(Layout::Single),
            "paired" => Ok(Layout::Paired),
            "dedicated" => Ok(Layout::Dedicated),
            _ => text.split('/').map(parse_group).collect::<Result<_, _>>().map(Layout::Explicit),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Auto => f.write_str("auto"),
            Layout::Single => f.write_str("single"),
            Layout::Paired => f.write_str("paired"),
            Layout::Dedicated => f.write_str("dedicated"),
            Layout::Explicit(groups) => {
                for (index, group) in groups.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "/" };
                    write!(f, "{separator}{}={}", joined(&group.roles, "+"), joined(&group.cpus, ","))?;
                }
                Ok(())
            }
        }
    }
}

fn parse_group(text: &str) -> Result<Group, LayoutParseError> {
    let (roles, cpus) = text.split_once('=').ok_or(LayoutParseError)?;
    let roles = roles.split('+').map(parse_role).collect::<Result<Vec<_>, _>>()?;
    let well_formed = cpus.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b',');
    let cpus = parse_cpu_list(cpus);
    if !well_formed || cpus.is_empty() {
        return Err(LayoutParseError);
    }
    Ok(Group { roles, cpus })
}

fn parse_role(text: &str) -> Result<Role, LayoutParseError> {
    Role::ALL.into_iter().find(|role| role.name() == text.trim()).ok_or(LayoutParseError)
}

/// Items with a separator between them.
pub(crate) fn joined<T: fmt::Display>(items: &[T], separator: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_text_round_trips() {
        for text in ["auto", "single", "paired", "dedicated", "replica+log=2/link=3/serve=4,5,6"] {
            assert_eq!(text.parse::<Layout>().unwrap().to_string(), text);
        }
        for text in ["", "both", "replica", "replica=", "replica=x", "replica=1,x", "boss=1", "replica=1//log=2"] {
            assert_eq!(text.parse::<Layout>(), Err(LayoutParseError), "{text:?}");
        }
    }
}
