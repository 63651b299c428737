import Glibc

/// A key that a request lends or that a table owns. The same bytes are the same key, so a look-up
/// allocates no memory. Only owned keys may be stored.
enum Bytes: Hashable {
    case owned([UInt8])
    case lent(UnsafeRawBufferPointer)

    /// Copies the bytes into a key that may be stored.
    init(copying bytes: UnsafeRawBufferPointer) { self = .owned([UInt8](bytes)) }

    @inline(__always)
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        switch self {
        case .owned(let array): array.withUnsafeBytes(body)
        case .lent(let bytes): body(bytes)
        }
    }

    static func == (one: Bytes, other: Bytes) -> Bool {
        one.withBytes { one in other.withBytes { areEqual(one, $0) } }
    }

    func hash(into hasher: inout Hasher) { withBytes { hasher.combine(bytes: $0) } }
}

@inline(__always)
func areEqual(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
    guard one.count == other.count else { return false }
    guard let first = one.baseAddress, let second = other.baseAddress else { return true }
    return memcmp(first, second, one.count) == 0
}

/// Returns whether the bytes equal `word`, which is in capitals, ignoring the case of ASCII
/// letters.
func isWord(_ bytes: UnsafeRawBufferPointer, _ word: StaticString) -> Bool {
    guard bytes.count == word.utf8CodeUnitCount else { return false }
    for index in 0..<bytes.count where uppercase(bytes[index]) != word.utf8Start[index] {
        return false
    }
    return true
}

@inline(__always)
func uppercase(_ byte: UInt8) -> UInt8 { 0x61...0x7A ~= byte ? byte - 0x20 : byte }

func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
