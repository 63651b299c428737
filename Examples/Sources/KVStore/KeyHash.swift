// The hash of a key. Clients choose the keys. A client that could predict the hashes could send
// thousands of keys for one bucket, and each command would search all of them.
//
// SipHash-1-3 with a secret key, random for each store, prevents this, like in Swift's own Hasher.
// This code for contiguous bytes needs a third of the instructions. No way is known to make
// collisions without the key, although there are fewer rounds than the 2-4 that the authors advise
// for authentication. The hash does not hide which keys exist.

struct KeyHash: Sendable {
    private let first: UInt64
    private let second: UInt64

    init() { self.init(.random(in: .min ... .max), .random(in: .min ... .max)) }

    /// Creates a hash with a known key, for tests.
    init(_ first: UInt64, _ second: UInt64) {
        self.first = first
        self.second = second
    }

    @inline(__always)
    func callAsFunction(_ bytes: UnsafeRawBufferPointer) -> UInt {
        UInt(truncatingIfNeeded: hash(bytes, rounds: 1, lastRounds: 3))
    }

    @inline(__always)
    func hash(_ bytes: UnsafeRawBufferPointer, rounds: Int, lastRounds: Int) -> UInt64 {
        var state = SipState(first, second)
        var place = 0
        while bytes.count &- place >= 8 {
            state.take(bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self), rounds)
            place &+= 8
        }
        state.take(tail(bytes, place) | UInt64(bytes.count) << 56, rounds)
        state.finish(lastRounds)
        return state.result
    }

    /// Returns the last seven bytes or fewer as the low bytes of a word.
    @inline(__always)
    private func tail(_ bytes: UnsafeRawBufferPointer, _ place: Int) -> UInt64 {
        // The shift removes the bytes before them.
        if bytes.count >= 8 {
            let last = bytes.loadUnaligned(fromByteOffset: bytes.count &- 8, as: UInt64.self)
            return place == bytes.count
                ? 0 : UInt64(littleEndian: last) >> UInt64(8 &* (8 &- (bytes.count &- place)))
        }
        var word: UInt64 = 0
        for index in stride(from: bytes.count - 1, through: place, by: -1) {
            word = word << 8 | UInt64(bytes[index])
        }
        return word
    }
}

private struct SipState {
    private var words: (UInt64, UInt64, UInt64, UInt64)

    @inline(__always)
    init(_ first: UInt64, _ second: UInt64) {
        words = (
            first ^ 0x736F_6D65_7073_6575, second ^ 0x646F_7261_6E64_6F6D,
            first ^ 0x6C79_6765_6E65_7261, second ^ 0x7465_6462_7974_6573
        )
    }

    var result: UInt64 { words.0 ^ words.1 ^ words.2 ^ words.3 }

    @inline(__always)
    mutating func take(_ word: UInt64, _ rounds: Int) {
        words.3 ^= word
        for _ in 0..<rounds { mix() }
        words.0 ^= word
    }

    @inline(__always)
    mutating func finish(_ rounds: Int) {
        words.2 ^= 0xFF
        for _ in 0..<rounds { mix() }
    }

    @inline(__always)
    private mutating func mix() {
        words.0 &+= words.1
        words.1 = rotated(words.1, 13) ^ words.0
        words.0 = rotated(words.0, 32)
        words.2 &+= words.3
        words.3 = rotated(words.3, 16) ^ words.2
        words.0 &+= words.3
        words.3 = rotated(words.3, 21) ^ words.0
        words.2 &+= words.1
        words.1 = rotated(words.1, 17) ^ words.2
        words.2 = rotated(words.2, 32)
    }

    @inline(__always)
    private func rotated(_ word: UInt64, _ bits: UInt64) -> UInt64 {
        word &<< bits | word &>> (64 &- bits)
    }
}
