//! Reads the fields of a protobuf message one by one, without copying.
//!
//! Owns the protobuf wire format. Refuses to know any message. Groups are refused, since no current
//! encoder writes them.

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire<'a> {
    /// An integer, a flag or an enum value.
    Varint(u64),
    /// A number of eight bytes.
    Fixed64(u64),
    /// Text, bytes or an encoded message.
    Bytes(&'a [u8]),
    /// A number of four bytes.
    Fixed32(u32),
}

impl<'a> Wire<'a> {
    /// The integer value; 0 for text, bytes and messages.
    pub(crate) const fn uint(self) -> u64 {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => value,
            Self::Fixed32(value) => value as u64,
            Self::Bytes(_) => 0,
        }
    }

    /// The bytes of text, bytes or a message; empty for numbers.
    pub(crate) const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(value) => value,
            _ => &[],
        }
    }
}

/// The bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("not protobuf")
    }
}

/// The fields of a message in the order they were written. The iteration stops after the first
/// malformed field.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Starts at the first field of an encoded message.
    pub(crate) const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u32, Wire<'a>)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(*self.array()?)),
            2 => Wire::Bytes(self.length_delimited()?),
            5 => Wire::Fixed32(u32::from_le_bytes(*self.array()?)),
            _ => return None,
        };
        (key >> 3 != 0).then_some((key >> 3, wire))
    }

    /// Reads an integer without a field key.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7F);
            // The tenth byte of a varint has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a length and as many bytes, without a field key.
    pub(crate) fn length_delimited(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    /// The bytes that have not been read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(array)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Malformed);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_field_is_read() {
        let bytes = [
            0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1A, 1, 9, 0x25, 2, 0, 0, 0,
        ];
        let fields: Vec<_> = Fields::of(&bytes).map(Result::unwrap).collect();
        let expected = vec![
            (1, Wire::Varint(150)),
            (2, Wire::Fixed64(1)),
            (3, Wire::Bytes(&[9])),
            (4, Wire::Fixed32(2)),
        ];
        assert_eq!(expected, fields);
    }

    #[test]
    fn a_malformed_field_ends_the_reading() {
        for bytes in [
            &[0x08][..],
            &[0x0B],
            &[0x0A, 2, 1],
            &[0x00, 1],
            &[0x08; 1],
            &[0x09, 1],
        ] {
            let fields: Vec<_> = Fields::of(bytes).collect();
            assert_eq!(vec![Err(Malformed)], fields, "{bytes:?}");
        }
        assert_eq!(None, Fields::of(&[0xFF; 11]).varint());
    }

    proptest! {
        #[test]
        fn the_reading_of_any_bytes_ends(bytes: Vec<u8>) {
            prop_assert!(Fields::of(&bytes).count() <= bytes.len());
        }
    }
}
