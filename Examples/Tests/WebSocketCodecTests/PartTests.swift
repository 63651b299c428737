/// The parts of the codec alone: masks, UTF-8, and the frames that it writes.
import TestSupport
import Testing

@testable import WebSocketCodec

@Suite struct PartTests {
    @Test("a mask is removed at every place, in pieces of every size")
    func masks() {
        let key: [UInt8] = [1, 0x20, 0xFF, 0]
        let plain = (0..<40).map { UInt8($0 * 5) }
        let masked = plain.enumerated().map { $1 ^ key[$0 % 4] }
        for first in 0...20 {
            for second in first...40 {
                var bytes = masked
                var mask = Mask(0x00FF_2001)
                bytes.withUnsafeMutableBytes { all in
                    for range in [0..<first, first..<second, second..<40] {
                        mask.remove(from: UnsafeMutableRawBufferPointer(rebasing: all[range]))
                    }
                }
                guard bytes == plain else {
                    Issue.record("wrong with pieces up to \(first) and \(second)")
                    return
                }
            }
        }
    }

    private func isText(_ bytes: [UInt8], cut: Int = 0) -> Bool {
        var validator = TextValidator()
        return bytes.withUnsafeBytes { all in
            validator.accept(UnsafeRawBufferPointer(rebasing: all[..<cut]))
                && validator.accept(UnsafeRawBufferPointer(rebasing: all[cut...]))
        } && validator.isComplete
    }

    @Test("the validator accepts the two-byte and three-byte texts that the standard library does")
    func allShortTexts() {
        for first in 0...255 as ClosedRange<UInt8> {
            for second in 0...255 as ClosedRange<UInt8> {
                let pair = [first, second]
                let isValid = String(validating: pair, as: UTF8.self) != nil
                guard isText(pair) == isValid, isText(pair, cut: 1) == isValid else {
                    Issue.record("\(pair)")
                    return
                }
                guard first >= 0xE0 else { continue }
                for third in [0x00, 0x7F, 0x80, 0xBF, 0xC0] as [UInt8] {
                    let three = pair + [third]
                    guard isText(three) == (String(validating: three, as: UTF8.self) != nil)
                    else {
                        Issue.record("\(three)")
                        return
                    }
                }
            }
        }
    }

    @Test("the validator agrees with the standard library on texts with one changed byte")
    func changedTexts() {
        let text = Array("Hello, wörld: κόσμε, 𝄞 and € in a longer text".utf8)
        for seed in 1...3000 {
            var random = SplitMix64(seed: UInt64(seed))
            var bytes = text
            let place = Int.random(in: 0..<bytes.count, using: &random)
            bytes[place] = UInt8.random(in: 0...255, using: &random)
            let cut = Int.random(in: 0...bytes.count, using: &random)
            let isValid = String(validating: bytes, as: UTF8.self) != nil
            guard isText(bytes, cut: cut) == isValid else {
                Issue.record("seed \(seed)")
                return
            }
        }
    }

    @Test("written frames have the bytes of RFC 6455, 5.7")
    func written() {
        #expect(FrameWriter.frame(.text, "Hello".utf8) == [0x81, 5] + Array("Hello".utf8))
        #expect(
            FrameWriter.frame(.text, "Hello".utf8, maskingKey: 0x3D21_FA37)
                == [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
        #expect(FrameWriter.frame(.text, "Hel".utf8, isFinal: false).prefix(2) == [1, 3])
        let zeros = [UInt8](repeating: 0, count: 65_536)
        #expect(FrameWriter.frame(.binary, zeros[..<256]).prefix(4) == [0x82, 126, 1, 0])
        #expect(
            FrameWriter.frame(.binary, zeros).prefix(10) == [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0])
        #expect(FrameWriter.close(.normal, "bye") == [0x88, 5, 3, 0xE8] + Array("bye".utf8))
        #expect(FrameWriter.close(nil) == [0x88, 0])
    }

    @Test("a reader reads back each frame that is written, at every length where its form changes")
    func roundTrip() {
        for length in [0, 1, 124, 125, 126, 127, 65_535, 65_536] {
            let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
            let expected = ["binary " + Transcript.shown(payload)]
            let masked = FrameWriter.frame(.binary, payload, maskingKey: 0x1234_5678)
            #expect(masked == FrameBytes.frame(0x82, payload, key: [0x78, 0x56, 0x34, 0x12]))
            #expect(Transcript.of(masked) == expected)
            let plain = FrameWriter.frame(.binary, payload)
            #expect(Transcript.of(plain, from: .server) == expected)
        }
    }
}
