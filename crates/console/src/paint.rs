//! Colours, or none.

/// What a piece of text is, which says how it is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The head of a column, the name of a field.
    Name,
    /// A number.
    Number,
    /// A text within code.
    Text,
    /// `nil`, `true`, `false`.
    Literal,
    /// A word of the language.
    Keyword,
    /// What matters less.
    Faint,
    /// What went wrong.
    Fault,
    /// What the server says unasked.
    Notice,
    /// The prompt.
    Prompt,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// Adds a text in its tone; the text is clean already.
    pub fn put(self, out: &mut String, tone: Tone, text: &str) {
        if !self.0 || text.is_empty() {
            out.push_str(text);
            return;
        }
        out.push_str("\x1b[");
        // The sixteen colours, which a terminal's theme makes legible on its own ground.
        out.push_str(match tone {
            Tone::Name => "1",
            Tone::Number => "36",
            Tone::Text => "32",
            Tone::Literal => "35",
            Tone::Keyword => "1;34",
            Tone::Faint => "2",
            Tone::Fault => "1;31",
            Tone::Notice => "33",
            Tone::Prompt => "1;32",
        });
        out.push('m');
        out.push_str(text);
        out.push_str("\x1b[0m");
    }

    /// A text in its tone.
    pub fn text(self, tone: Tone, text: &str) -> String {
        let mut out = String::new();
        self.put(&mut out, tone, text);
        out
    }
}
