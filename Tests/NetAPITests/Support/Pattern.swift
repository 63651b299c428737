/// Bytes that identify their stream and position, so that lost, swapped or reordered bytes are
/// detected.
import Glibc
import MillraceTestSupport

/// The endless byte sequence of one stream. Each block starts with 8 bytes made of stream and block
/// number; the rest is noise, rotated by them. Made and compared by memcpy and memcmp: debug builds
/// move 64 MiB through it.
struct Pattern: Sendable {
    let stream: UInt64

    private static let blockSize = 1024
    private static let noise: [UInt8] = {
        var random = SplitMix64(seed: 0xC0FFEE)
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
                let stamp = SplitMix64.mix(stream &<< 40 &+ UInt64(block) &+ 1)
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
