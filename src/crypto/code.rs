//! The code: an invitation short enough to be said aloud, `7-lantern-paprika-walrus` (PROTOCOL.md section 9).
//!
//! The number finds the inviter at its switchboard, the words are the password of one exchange ([`super::pairing`]). Whoever types a code
//! heard it or copied it from a screen, so it is read with forgiveness, and a word that isn't one is answered with the nearest that is.

use std::{fmt, str::FromStr, sync::LazyLock};

use zeroize::Zeroizing;

use super::Random;

/// Words in a code. Protocol: 31 bits, of which one guess tests one.
pub const WORDS: usize = 3;
/// The largest slot. Protocol; seven digits are what people still copy without a mistake.
pub const MAX_SLOT: u32 = 9_999_999;

/// The words, in ascending order. Any two differ in at least three letters, and in their first three.
static LIST: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("words.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// Why a text isn't a code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// It hasn't the form.
    #[error("this is not a code: a code is a number and {WORDS} words, as in 7-lantern-paprika-walrus")]
    NotACode,
    /// It has the form, but no code has this word; the rest may be right.
    #[error("codes have no word {word:?}{}", .nearest.map(|word| format!(": did you mean {word:?}?")).unwrap_or_default())]
    UnknownWord { word: String, nearest: Option<&'static str> },
}

/// A slot and the words that open it.
///
/// [`Display`](fmt::Display) gives the code with its words; `Debug` doesn't show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    slot: u32,
    /// Places in the list.
    words: Zeroizing<[u16; WORDS]>,
}

impl Code {
    /// Draws words for a slot.
    pub fn new(slot: u32, random: &mut Random) -> Self {
        Self { slot, words: Zeroizing::new(std::array::from_fn(|_| draw(LIST.len() as u16, random))) }
    }

    /// Returns the number under which the inviter is found.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Returns the same words under another number.
    #[must_use]
    pub fn with_slot(self, slot: u32) -> Self {
        Self { slot, ..self }
    }

    /// Returns the words, joined by hyphens: what both sides put into the exchange.
    pub(super) fn password(&self) -> Zeroizing<String> {
        Zeroizing::new(self.words.map(|word| LIST[usize::from(word)]).join("-"))
    }
}

/// Draws a number below `bound`, each with the same probability.
fn draw(bound: u16, random: &mut Random) -> u16 {
    let fair = u16::MAX - u16::MAX % bound;
    loop {
        let number = u16::from_be_bytes(random.array());
        if number < fair {
            return number % bound;
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.slot, *self.password())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Code").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// Reads a code as people write it: in any case, with blanks, hyphens or both between its parts, with leading zeros.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let text = Zeroizing::new(text.to_lowercase());
        let mut parts = text.split(|c: char| c == '-' || c.is_whitespace()).filter(|part| !part.is_empty()).peekable();
        let number = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit())).ok_or(CodeError::NotACode)?;
        let slot = number.parse().ok().filter(|slot| (1..=MAX_SLOT).contains(slot)).ok_or(CodeError::NotACode)?;
        let mut found = Vec::new();
        while let Some(part) = parts.next() {
            // One word has a hyphen itself, and its halves are none.
            let is_half = part == "yo" && parts.next_if_eq(&"yo").is_some();
            found.push(if is_half { "yo-yo" } else { part });
        }
        let found: [&str; WORDS] = found.try_into().map_err(|_| CodeError::NotACode)?;
        let mut words = Zeroizing::new([0; WORDS]);
        for (place, word) in words.iter_mut().zip(found) {
            *place = place_of(word)?;
        }
        Ok(Self { slot, words })
    }
}

/// Finds a word in the list.
fn place_of(word: &str) -> Result<u16, CodeError> {
    LIST.binary_search(&word).map(|place| place as u16).map_err(|_| {
        // Beyond half of its letters nothing of the word is left.
        let nearest = LIST.iter().map(|known| (distance(word, known), *known)).min();
        let nearest = nearest.filter(|(distance, _)| *distance <= word.chars().count() / 2).map(|(_, known)| known);
        CodeError::UnknownWord { word: word.to_owned(), nearest }
    })
}

/// Counts the letters to insert, remove or replace between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, of_a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, of_b) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(of_a != of_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::signature;

    const CODE: &str = "7-lantern-yo-yo-walrus";

    fn parse(text: &str) -> Result<String, CodeError> {
        text.parse::<Code>().map(|code| code.to_string())
    }

    #[test]
    fn the_list_is_the_one_that_was_published() {
        let dice =
            |place: usize| [216, 36, 6, 1].map(|unit| char::from(b'1' + (place / unit % 6) as u8)).iter().collect::<String>();
        let published: Vec<String> = LIST.iter().enumerate().map(|(place, word)| format!("{}\t{word}\n", dice(place))).collect();
        let hash = data_encoding::HEXLOWER.encode(&signature::hash(&[published.concat().as_bytes()]));
        assert_eq!(hash, "22b45c52e0bd0bbf03aa522240b111eb4c7c0c1d86c4e518e1be2a7eb2a625e4");
    }

    #[test]
    fn the_list_is_in_order_and_its_words_are_far_apart() {
        assert_eq!(LIST.len(), 1_296);
        assert!(LIST.is_sorted());
        for (place, word) in LIST.iter().enumerate() {
            assert!(LIST[place + 1..].iter().all(|other| distance(word, other) >= 3), "{word}");
        }
    }

    #[test]
    fn a_code_survives_its_text() {
        for slot in [1, 7, MAX_SLOT] {
            let code = Code::new(slot, &mut Random::from_seed([9; 32]));
            assert_eq!(code.to_string().parse::<Code>().as_ref(), Ok(&code));
        }
        assert_eq!(parse(CODE).as_deref(), Ok(CODE));
    }

    #[test]
    fn every_word_can_be_read_and_every_word_can_be_drawn() {
        let mut random = Random::from_seed([1; 32]);
        let mut drawn = vec![0; LIST.len()];
        for _ in 0..20_000 {
            Code::new(1, &mut random).words.iter().for_each(|word| drawn[usize::from(*word)] += 1);
        }
        // 46 of each on average.
        assert!(drawn.iter().all(|times| (15..100).contains(times)));
        for word in LIST.iter() {
            let text = format!("12-{word}-{word}-{word}");
            assert_eq!(parse(&text), Ok(text));
        }
    }

    #[test]
    fn case_blanks_and_other_separators_are_forgiven() {
        for text in [
            "7 Lantern Yo-Yo Walrus",
            "  7-LANTERN - yo yo - walrus\n",
            "07--lantern-yo-yo-walrus-",
            "7\tlantern\u{a0}yo-yo walrus",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(CODE), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let no_codes = [
            "",
            "-",
            "7",
            "lantern-yo-yo-walrus",
            "7-lantern-walrus",
            "7-lantern-yo-yo-walrus-acid",
            "0-acid-acid-acid",
            "10000000-acid-acid-acid",
            "99999999999999999999-acid-acid-acid",
            "-7-",
            "7.5-acid-acid-acid",
            "+7-acid-acid-acid",
            "a2alt_aeaq",
        ];
        for text in no_codes {
            assert_eq!(parse(text), Err(CodeError::NotACode), "{text:?}");
        }
    }

    #[test]
    fn a_word_that_is_none_is_answered_with_the_nearest() {
        let unknown = |word: &str, nearest| Err(CodeError::UnknownWord { word: word.to_owned(), nearest });
        assert_eq!(parse("7-lantern-yoyo-walrus"), unknown("yoyo", Some("yo-yo")));
        assert_eq!(parse("7-Lanturn-acid-walrus"), unknown("lanturn", Some("lantern")));
        assert_eq!(parse("7-lantern-acid-wallruss"), unknown("wallruss", Some("walrus")));
        assert_eq!(parse("7-lantern-xqzzqx-walrus"), unknown("xqzzqx", None));
        let text = parse("7-lanturn-acid-walrus").expect_err("a wrong word").to_string();
        assert!(text.contains("did you mean \"lantern\"?"), "{text}");
    }

    #[test]
    fn debug_shows_the_slot_and_no_word() {
        let shown = format!("{:?}", CODE.parse::<Code>());
        assert!(shown.contains("slot: 7") && !shown.contains("lantern") && !shown.contains("words"), "{shown}");
    }
}
