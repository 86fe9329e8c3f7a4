//! What clap knows of flags, and which known name was meant by one that there is not.

use std::any::TypeId;
use std::ffi::OsStr;

use clap::{Arg, ArgAction, Command};

use super::values::MayBeEmpty;

/// How like a known name an unknown one must be for the known one to be offered, from 0 to 1.
const ALIKE: f64 = 0.75;

/// The flag of that name: a long one, another name of it, or a letter.
pub(crate) fn find(command: &Command, name: impl AsRef<OsStr>) -> Option<&Arg> {
    let name = name.as_ref().to_str()?;
    command.get_arguments().find(|arg| {
        let letter = arg.get_short().map(String::from);
        let others = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || others.contains(&name) || letter.as_deref() == Some(name)
    })
}

/// The name of a flag, or the id of an argument.
pub(crate) fn long(flag: &Arg) -> &str {
    flag.get_long().unwrap_or_else(|| flag.get_id().as_str())
}

/// Whether the flag is always followed by a value. Our booleans take one only behind `=`.
pub(crate) fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// Whether an empty value says something: no configuration, no command.
pub(crate) fn may_be_empty(flag: &Arg) -> bool {
    flag.get_value_parser().type_id() == TypeId::of::<MayBeEmpty>()
}

/// Whether a flag asks for help or the version.
pub(crate) fn is_help(flag: &Arg) -> bool {
    matches!(
        flag.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

/// Whether two flags or arguments of a command cannot go together, whichever of them says so.
pub(crate) fn conflict(command: &Command, a: &Arg, b: &Arg) -> bool {
    let says_so = |a: &Arg, b: &Arg| {
        let others = command.get_arg_conflicts_with(a);
        others.iter().any(|other| other.get_id() == b.get_id())
    };
    says_so(a, b) || says_so(b, a)
}

/// What Go's `strconv.ParseBool` takes for true and false.
pub(crate) fn go_bool(text: &OsStr) -> Option<&'static str> {
    match text.to_str()? {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some("true"),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some("false"),
        _ => None,
    }
}

/// The known name that was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known = known.into_iter();
    let likeness = known.map(|known| (strsim::jaro(name, known), known));
    let best = likeness.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > ALIKE)
        .map(|(_, known)| known)
}

/// What was meant perhaps, and what there is.
pub(crate) fn advice(name: &str, known: &[&str]) -> String {
    let meant = nearest(name, known.iter().copied());
    let meant = meant.map(|known| format!("did you mean '{known}'? "));
    let (meant, known) = (meant.unwrap_or_default(), known.join(", "));
    format!("{meant}there are: {known}")
}

/// What stands for the value of a flag, or for an argument: `NAME`, `PATH`.
pub(crate) fn value_name(arg: &Arg) -> &str {
    let names = arg.get_value_names().unwrap_or_default();
    names
        .first()
        .map_or(arg.get_id().as_str(), |name| name.as_str())
}

/// Whether a flag adds to itself when it is given again.
pub(crate) fn is_repeatable(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append)
}
