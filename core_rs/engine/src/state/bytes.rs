//! Bytes: numbers and texts in as few bytes as they need.
//!
//! Owns the form of single values in memory. Refuses to know what they mean.

/// Writes a number: seven bits in each byte, the lowest first.
pub(super) fn put_uint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Takes a number from the front.
pub(super) fn take_uint(from: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = from.split_off_first().expect("a whole number");
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}

/// Writes bytes. Its flags become the first two bytes, so that an absent value takes one bit. There
/// are 16 at most: in builds of tests, one more overflows.
#[derive(Default)]
pub(super) struct Writer {
    flags: u16,
    next_flag: u16,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn flag(&mut self, is_set: bool) {
        self.flags |= u16::from(is_set) << self.next_flag;
        self.next_flag += 1;
    }

    pub(super) fn some(&mut self, number: Option<u64>) {
        self.flag(number.is_some());
        if let Some(number) = number {
            self.uint(number);
        }
    }

    /// Writes a number that is mostly zero.
    pub(super) fn some_but_zero(&mut self, number: u64) {
        self.some((number != 0).then_some(number));
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn uint(&mut self, number: u64) {
        put_uint(&mut self.bytes, number);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.uint(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.splice(..0, self.flags.to_le_bytes());
        self.bytes
    }
}

/// Reads what a [`Writer`] wrote, in the same order.
pub(super) struct Reader<'a> {
    flags: u16,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self { flags: 0, bytes };
        reader.flags = u16::from_le_bytes(reader.array());
        reader
    }

    pub(super) fn flag(&mut self) -> bool {
        let is_set = self.flags & 1 != 0;
        self.flags >>= 1;
        is_set
    }

    pub(super) fn some(&mut self) -> Option<u64> {
        self.flag().then(|| self.uint())
    }

    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        taken
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("as long as asked for")
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(super) fn uint(&mut self) -> u64 {
        take_uint(&mut self.bytes)
    }

    pub(super) fn text(&mut self) -> Box<str> {
        let length = usize::try_from(self.uint()).unwrap_or(usize::MAX);
        let text = std::str::from_utf8(self.take(length));
        text.expect("it was a text").into()
    }
}
