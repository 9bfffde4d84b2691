//! How much is kept: `transship.store`.

use std::path::PathBuf;

use bytesize::ByteSize;

use super::read::{Reader, Spot};
use crate::store::{Amount, Durability, Options};

/// Returns the store's options, without its root and the lifetime of blobs, which stand elsewhere.
pub(super) fn read(reader: &mut Reader, root: &Spot<'_>) -> Option<Options> {
    let section = root.find("transship.store");
    let bytes_max = amount(reader, &section.find("bytes_max"));
    let high = section.find("high_watermark");
    let low = section.find("low_watermark");
    let high_watermark = percent(reader, &high);
    let low_watermark = percent(reader, &low);
    let free_min = amount(reader, &section.find("free_min"));
    let durability = reader.choice(&section.find("durability"));
    let scrub_every = reader.duration(&section.find("scrub"));
    let rate = section.find("scrub_rate");
    let scrub_rate = reader.parsed(&rate, "a size above zero such as 32MiB", |text| {
        bytes(text).filter(|&rate| rate > 0)
    });
    if let (Some(high_watermark), Some(low_watermark)) = (high_watermark, low_watermark)
        && low_watermark > high_watermark
    {
        let text =
            format!("{low_watermark}% lies above high_watermark, which is {high_watermark}%");
        reader.report.problem(&low.origin(), &low.shown, text);
    }
    Some(Options {
        bytes_max: bytes_max?,
        high_watermark: high_watermark?,
        low_watermark: low_watermark?,
        free_min: free_min?,
        durability: match durability?.as_str() {
            "none" => Durability::None,
            "each" => Durability::Each,
            _ => Durability::Group,
        },
        scrub_every: scrub_every?.filter(|every| !every.is_zero()),
        scrub_bytes_per_second: scrub_rate??,
        ..Options::new(PathBuf::new())
    })
}

fn amount(reader: &mut Reader, spot: &Spot<'_>) -> Option<Amount> {
    let want = "a size such as 500GiB, or a share of the file system such as 90%";
    reader
        .parsed(spot, want, |text| {
            let share = share(text).map(Amount::Percent);
            share.or_else(|| bytes(text).map(Amount::Bytes))
        })
        .flatten()
}

fn percent(reader: &mut Reader, spot: &Spot<'_>) -> Option<u8> {
    let want = "per cent from 1% to 100%";
    reader
        .parsed(spot, want, |text| share(text).filter(|&share| share > 0))
        .flatten()
}

/// Returns the number before a per cent sign, 0 to 100.
fn share(text: &str) -> Option<u8> {
    let number = text.strip_suffix('%')?.trim_end();
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|share| digits && *share <= 100)
}

/// Returns a size with its unit. A bare number is refused: nobody counts a disk in single bytes, and what was
/// meant cannot be known.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    let size: Option<ByteSize> = text.parse().ok();
    size.filter(|_| has_unit || text == "0")
        .map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_shares_a_per_cent_sign() {
        assert_eq!(bytes("10GiB"), Some(10 << 30));
        assert_eq!(bytes("1.5 TB"), Some(1_500_000_000_000));
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("0"), Some(0));
        for bad in [
            "",
            "10",
            "GiB",
            "-1GiB",
            "10 apples",
            "1e3B%",
            "NaNGiB",
            "infGiB",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(share("90%"), Some(90));
        assert_eq!(share("100 %"), Some(100));
        for bad in ["%", "90", "101%", "-1%", "+5%", "1.5%"] {
            assert_eq!(share(bad), None, "{bad}");
        }
    }
}
