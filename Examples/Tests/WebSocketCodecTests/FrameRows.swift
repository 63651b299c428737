/// The cases of the Autobahn test suite that a server without extensions can be given, by their
/// groups: framing, pings, reserved bits, opcodes, fragmentation and closing.

enum FrameRows {
    static let all =
        framing + pings + reserved + opcodes + fragmentation + closing + closeCodes + reports

    private typealias Make = FrameBytes
    private static let hello = Make.text("Hello")
    private static let ping = Make.frame(0x89, Array("ping".utf8))

    private static func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) }
    }

    private static func letters(_ count: Int) -> [UInt8] {
        (0..<count).map { 0x61 + UInt8($0 % 26) }
    }

    /// 1.1 and 1.2: messages whose length needs each form of the header.
    static let framing = [0, 1, 125, 126, 127, 128, 65_535, 65_536].flatMap { count in
        [
            FrameRow(
                "1.1, text of \(count)", Make.frame(0x81, letters(count)),
                "text " + Transcript.shown(letters(count))),
            FrameRow(
                "1.2, binary of \(count)", Make.frame(0x82, bytes(count)),
                "binary " + Transcript.shown(bytes(count))),
        ]
    }

    /// 2: control frames.
    static let pings = [
        FrameRow("2.1, empty ping", Make.frame(0x89), "ping "),
        FrameRow("2.2, ping with text", ping, "ping ping"),
        FrameRow(
            "2.3, ping with bytes", Make.frame(0x89, [0, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0]),
            "ping " + Transcript.shown([0, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0])),
        FrameRow(
            "2.4, ping of 125", Make.frame(0x89, bytes(125)),
            "ping " + Transcript.shown(bytes(125))),
        FrameRow("2.5, ping of 126", Make.frame(0x89, bytes(126)), "failed 1002"),
        FrameRow("2.7, pong unasked", Make.frame(0x8A), "pong "),
        FrameRow("2.8, pong with payload", Make.frame(0x8A, [0x61]), "pong a"),
        FrameRow("2.9, pong, ping", Make.frame(0x8A, [0x61]) + ping, "pong a", "ping ping"),
        FrameRow(
            "2.10, ten pings", (0..<10).flatMap { Make.frame(0x89, [0x30 + $0]) },
            (0..<10).map { "ping \($0)" }),
    ]

    /// 3: reserved bits, on each kind of frame.
    static let reserved = (1...7 as ClosedRange<UInt8>).flatMap { bits in
        ([0x81, 0x82, 0x88, 0x89, 0x8A, 0x01] as [UInt8]).map { first in
            FrameRow(
                "3, bits \(bits) on \(first)",
                hello + Make.frame(first | bits << 4, [0x61, 0x62]) + hello, "text Hello",
                "failed 1002")
        }
    }

    /// 4: opcodes without a meaning, with and without a payload.
    static let opcodes = ([3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8]).flatMap { opcode in
        [
            FrameRow("4, opcode \(opcode)", Make.frame(0x80 | opcode), "failed 1002"),
            FrameRow(
                "4, opcode \(opcode) after a text",
                hello + Make.frame(0x80 | opcode, [0x61]) + ping, "text Hello", "failed 1002"),
        ]
    }

    /// 5: messages in fragments.
    static let fragmentation = [
        FrameRow("5.1, ping in two", Make.frame(0x09, [0x61]) + Make.frame(0x80), "failed 1002"),
        FrameRow("5.2, pong in two", Make.frame(0x0A, [0x61]) + Make.frame(0x80), "failed 1002"),
        FrameRow("5.3, text in two", Make.fragments(letters(6), of: 3), "text abcdef"),
        FrameRow(
            "5.3, binary in two", Make.frame(2, [1]) + Make.frame(0x80, [2]), "binary \u{1}\u{2}"),
        FrameRow(
            "5.6, a ping between two", Make.fragments(letters(6), of: 3, between: ping),
            "ping ping", "text abcdef"),
        FrameRow("5.9, continuation of nothing", Make.frame(0x80, [0x61]) + hello, "failed 1002"),
        FrameRow("5.12, fragment of nothing", Make.frame(0x00, [0x61]) + hello, "failed 1002"),
        FrameRow(
            "5.15, continuation after the last fragment",
            Make.fragments(letters(2), of: 1) + Make.frame(0x00, [0x63]) + hello, "text ab",
            "failed 1002"),
        FrameRow("5.16, continuation first", Make.frame(0x00) + Make.frame(0x80), "failed 1002"),
        FrameRow(
            "5.18, a text within a text", Make.frame(0x01, [0x61]) + hello, "failed 1002"),
        FrameRow(
            "5.18, a binary within a text", Make.frame(0x01, [0x61]) + Make.frame(0x82),
            "failed 1002"),
        FrameRow(
            "5.19, five fragments, pings between", Make.fragments(letters(5), of: 1, between: ping),
            Array(repeating: "ping ping", count: 4) + ["text abcde"]),
        FrameRow(
            "6.1, empty fragments around a text",
            Make.frame(0x01) + Make.frame(0x00, [0x61]) + Make.frame(0x80), "text a"),
        FrameRow(
            "6.1, empty in three", Make.frame(0x01) + Make.frame(0) + Make.frame(0x80), "text "),
        FrameRow(
            "two fragmented messages",
            Make.fragments(letters(4), of: 2) + Make.fragments(letters(3), of: 2), "text abcd",
            "text abc"),
    ]

    /// 7.1 to 7.5: closing.
    static let closing = [
        FrameRow("7.1.1, text, close", hello + Make.close(1000), "text Hello", "close 1000 "),
        FrameRow("7.1.2, two closes", Make.close(1000) + Make.close(1000), "close 1000 "),
        FrameRow("7.1.3, a ping after it", Make.close(1000) + ping, "close 1000 "),
        FrameRow("7.1.4, a text after it", Make.close(1000) + hello, "close 1000 "),
        FrameRow(
            "7.1.5, between fragments",
            Make.fragments(letters(2), of: 1, between: Make.close(1001)),
            "close 1001 "),
        FrameRow("garbage after it", Make.frame(0x88) + [0xFF, 0xFF, 0xFF], "close"),
        FrameRow("7.3.1, no payload", Make.frame(0x88), "close"),
        FrameRow("7.3.2, half a code", Make.frame(0x88, [3]), "failed 1002"),
        FrameRow("7.3.3, a code", Make.close(1000), "close 1000 "),
        FrameRow("7.3.4, a reason", Make.close(1000, Array("bye".utf8)), "close 1000 bye"),
        FrameRow(
            "7.3.5, the longest reason", Make.close(1000, letters(123)),
            "close 1000 " + Transcript.shown(letters(123))),
        FrameRow("7.3.6, a longer one", Make.close(1000, letters(124)), "failed 1002"),
        FrameRow("7.5.1, a bad reason", Make.close(1000, [0xCE, 0xBA, 0xE1, 0xBD]), "failed 1007"),
        FrameRow("7.5.1, a surrogate in it", Make.close(1000, [0xED, 0xA0, 0x80]), "failed 1007"),
    ]

    /// 7.7, 7.9 and 7.13: codes that may and may not be sent.
    static let closeCodes =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 3999, 4000, 4999].map {
            FrameRow("7.7, code \($0)", Make.close($0), "close \($0) ")
        }
        + [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map {
            FrameRow("7.9, code \($0)", Make.close($0), "failed 1002")
        }

    /// Faults that servers had, by their public reports, and the limits.
    static let reports = [
        FrameRow("an unmasked text", Make.frame(0x81, [0x61], key: nil) + hello, "failed 1002"),
        FrameRow("an unmasked ping", Make.frame(0x89, key: nil), "failed 1002"),
        FrameRow("an unmasked close", Make.frame(0x88, key: nil), "failed 1002"),
        FrameRow("a mask of zeros", Make.frame(0x81, [0x61], key: [0, 0, 0, 0]), "text a"),
        FrameRow(
            "a mask of the text itself", Make.frame(0x81, [0x61, 0x62], key: [0x61, 0x62, 0, 0]),
            "text ab"),
        FrameRow(
            "empty frames take nothing of the next", Make.frame(0x81) + Make.frame(0x8A) + hello,
            "text ", "pong ", "text Hello"),
        FrameRow("125 in two bytes", Make.frame(0x81, letters(125), form: .two), "failed 1002"),
        FrameRow("0 in two bytes", Make.frame(0x81, form: .two), "failed 1002"),
        FrameRow("126 in eight bytes", Make.frame(0x81, letters(126), form: .eight), "failed 1002"),
        FrameRow("65535 in eight", Make.header(0x82, 65_535, form: .eight), "failed 1002"),
        FrameRow("a ping's length in two bytes", Make.frame(0x89, form: .two), "failed 1002"),
        FrameRow("a ping's length in eight", Make.header(0x89, 1, form: .eight), "failed 1002"),
        FrameRow("the highest bit", Make.header(0x82, 1 << 63, form: .eight), "failed 1002"),
        FrameRow("all bits", Make.header(0x82, .max, form: .eight), "failed 1002"),
        FrameRow("2^63 - 1", Make.header(0x82, .max >> 1) + Make.key, "failed 1009"),
        FrameRow("a frame too big", Make.header(0x82, 70_001) + Make.key, "failed 1009"),
        FrameRow("too big, its fragment", Make.header(0x02, 70_001) + Make.key, "failed 1009"),
        FrameRow(
            "a message too big",
            Make.frame(0x02, bytes(70_000)) + Make.header(0, 30_001) + Make.key,
            "failed 1009"),
        FrameRow(
            "a message of the limit",
            Make.frame(0x02, bytes(70_000)) + Make.frame(0x80, bytes(30_000)),
            "binary " + Transcript.shown(bytes(70_000) + bytes(30_000))),
        FrameRow(
            "as many fragments as may be", Make.fragments(letters(64), of: 1),
            "text " + Transcript.shown(letters(64))),
        FrameRow(
            "one fragment too many",
            Make.frame(0x01, [0x61]) + (0..<64).flatMap { _ in Make.frame(0x00) }, "failed 1008"),
        FrameRow(
            "the count begins anew",
            Make.fragments(letters(40), of: 1)
                + Make.fragments(letters(40), of: 1),
            "text " + Transcript.shown(letters(40)), "text " + Transcript.shown(letters(40))),
        FrameRow(
            "a compressed continuation", Make.frame(1, [0x61]) + Make.frame(0xC0), "failed 1002"),
        FrameRow("an HTTP request", Array("GET / HTTP/1.1\r\n".utf8), "failed 1002"),
        FrameRow("the zero bytes after a head", [0, 0], "failed 1002"),
    ]
}
