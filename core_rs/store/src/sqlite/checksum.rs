//! The checksums of frames and rows.
//!
//! Owns what each checksum covers. Every checksum covers the place of the bytes too, so that
//! content in another frame's or row's place is noticed. Refuses to know where checksums are
//! stored.

use crc32c::{crc32c, crc32c_append};

use crate::{Family, Key, Put};

/// Tell the checksums of the columns of a row apart.
const HEAD: u8 = 1;
const BODY: u8 = 2;
const NO_BODY: u8 = 3;

/// The checksum of a frame covers its sequence number, its count and its bytes.
pub(super) fn of_frame(first_sequence: u64, count: u32, bytes: &[u8]) -> u32 {
    let place = crc32c(&first_sequence.to_le_bytes());
    let place = crc32c_append(place, &count.to_le_bytes());
    crc32c_append(place, bytes)
}

/// The checksum of all of a row but its head and body. The checksums of both columns begin with
/// it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(u32);

impl Place {
    pub(super) fn of(family: &Family, key: &Key, put: &Put) -> Self {
        // One checksum over 15 bytes costs less than three over parts of them.
        let mut fixed = [0; 15];
        fixed[..2].copy_from_slice(&family.number.to_le_bytes());
        fixed[2..6].copy_from_slice(&put.version.to_le_bytes());
        fixed[6..14].copy_from_slice(&put.at_ms.to_le_bytes());
        fixed[14] = put.listing.as_ref().map_or(0, |_| 1);
        let crc = of_key(crc32c(&fixed), key);
        Self(match &put.listing {
            None => crc,
            Some(listing) => of_text(crc32c_append(crc, &[listing.tag]), &listing.tenant),
        })
    }

    pub(super) fn head(self, head: &[u8]) -> u32 {
        crc32c_append(crc32c_append(self.0, &[HEAD]), head)
    }

    pub(super) fn body(self, body: Option<&[u8]>) -> u32 {
        match body {
            Some(body) => crc32c_append(crc32c_append(self.0, &[BODY]), body),
            None => crc32c_append(self.0, &[NO_BODY]),
        }
    }
}

fn of_key(crc: u32, key: &Key) -> u32 {
    match key {
        Key::Number(number) => crc32c_append(crc, &number.to_le_bytes()),
        Key::Ordinal(number, ordinal) => {
            let crc = crc32c_append(crc, &number.to_le_bytes());
            crc32c_append(crc, &ordinal.to_le_bytes())
        }
        Key::Name(tenant, name) => of_text(of_text(crc, tenant), name),
        Key::Digest { hour, digest } => {
            crc32c_append(crc32c_append(crc, &hour.to_le_bytes()), digest)
        }
    }
}

/// The length comes first, so that two texts after one another cannot be divided otherwise.
fn of_text(crc: u32, text: &str) -> u32 {
    let crc = crc32c_append(crc, &(text.len() as u64).to_le_bytes());
    crc32c_append(crc, text.as_bytes())
}
