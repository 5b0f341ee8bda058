//! Guesses what somebody meant who wrote a name wrong.

/// How alike two names must be, from 0 to 1, for one to be taken for the other.
const ALIKE: f64 = 0.6;

/// Says which of these names was meant, if one is near enough.
pub(crate) fn suggest<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(written, name);
    names
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!("did you mean `{name}`?"))
}
