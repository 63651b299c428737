/// Bytes that identify their stream and position, so that lost, swapped or reordered bytes are
/// detected.
import Glibc

/// A seeded generator (SplitMix64), so that a failing run can be repeated.
struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mix(state)
    }

    static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Small sizes are as likely as large ones: uniform in the number of digits.
    mutating func size(_ range: ClosedRange<Int>) -> Int {
        let low = Double(range.lowerBound)
        let high = Double(range.upperBound)
        let value = Glibc.exp(Double.random(in: Glibc.log(low)...Glibc.log(high), using: &self))
        return min(max(Int(value.rounded()), range.lowerBound), range.upperBound)
    }
}

/// The endless byte sequence of one stream. Each block starts with 8 bytes made of stream and block
/// number; the rest is noise, rotated by them. Made and compared by memcpy and memcmp: debug builds
/// move 64 MiB through it.
struct Pattern: Sendable {
    let stream: UInt64

    private static let blockSize = 1024
    private static let noise: [UInt8] = {
        var random = SeededRandom(0xC0FFEE)
        return (0..<2 * blockSize).map { _ in UInt8.random(in: 0...255, using: &random) }
    }()

    init(stream: Int) { self.stream = UInt64(stream) }

    func fill(_ buffer: UnsafeMutableRawBufferPointer, from position: Int) {
        Self.noise.withUnsafeBytes { noise in
            var done = 0
            while done < buffer.count {
                let (block, offset) = (position + done).quotientAndRemainder(
                    dividingBy: Self.blockSize)
                let count = min(Self.blockSize - offset, buffer.count - done)
                let target = buffer.baseAddress! + done
                let stamp = SeededRandom.mix(stream &<< 40 &+ UInt64(block) &+ 1)
                let turn = Int(stamp % UInt64(Self.blockSize))
                memcpy(target, noise.baseAddress! + turn + offset, count)
                for index in offset..<min(max(8, offset), offset + count) {
                    let byte = UInt8(truncatingIfNeeded: stamp >> (8 * UInt64(index)))
                    target.storeBytes(of: byte, toByteOffset: index - offset, as: UInt8.self)
                }
                done += count
            }
        }
    }

    func bytes(_ count: Int, from position: Int = 0) -> [UInt8] {
        // The thread sanitizer sees every empty array that is made this way write to the same
        // place.
        guard count > 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            fill(UnsafeMutableRawBufferPointer(buffer), from: position)
            initialized = count
        }
    }

    /// Throws at the first byte of `bytes` that differs from the pattern at `position`.
    func verify(_ bytes: UnsafeRawBufferPointer, at position: Int) throws {
        guard bytes.count > 0 else { return }
        let expected = self.bytes(bytes.count, from: position)
        try expected.withUnsafeBytes { expected in
            guard memcmp(expected.baseAddress!, bytes.baseAddress!, bytes.count) != 0 else {
                return
            }
            let place = (0..<bytes.count).first { expected[$0] != bytes[$0] } ?? 0
            throw WrongBytes(stream: stream, position: position + place)
        }
    }

    func verify(_ bytes: [UInt8], at position: Int = 0) throws {
        try bytes.withUnsafeBytes { try verify($0, at: position) }
    }
}

/// A byte that differs from the pattern.
struct WrongBytes: Error, CustomStringConvertible {
    let stream: UInt64
    let position: Int

    var description: String { "stream \(stream) differs from what was sent at byte \(position)" }
}
