/// Group 6 of the Autobahn test suite: texts that are UTF-8 and texts that are not.

enum TextRows {
    /// 6.5 to 6.23: sequences of bytes, valid or not. Each is sent whole and byte by byte.
    static let all = valid.map { row($0, true) } + invalid.map { row($0, false) }
    static let long = cut + late

    private static func row(_ bytes: [UInt8], _ isValid: Bool) -> FrameRow {
        let name = bytes.map { String($0, radix: 16) }.joined(separator: " ")
        let frames = FrameBytes.frame(0x81, bytes) + FrameBytes.text("next")
        return FrameRow(
            "6, \(name)", frames,
            isValid ? ["text " + Transcript.shown(bytes), "text next"] : ["failed 1007"])
    }

    static let valid: [[UInt8]] = [
        [], Array("Hello-µ@ßöäüàá-UTF-8!!".utf8), Array("κόσμε".utf8),
        // The first and the last of each length, and those around the surrogates.
        [0x00], [0x7F], [0xC2, 0x80], [0xDF, 0xBF], [0xE0, 0xA0, 0x80], [0xEF, 0xBF, 0xBF],
        [0xED, 0x9F, 0xBF], [0xEE, 0x80, 0x80], [0xEF, 0xBF, 0xBD], [0xF0, 0x90, 0x80, 0x80],
        [0xF4, 0x8F, 0xBF, 0xBF],
        // Code points that are no characters are valid all the same.
        [0xEF, 0xBF, 0xBE], [0xF0, 0x9F, 0xBF, 0xBE], [0xF3, 0xBF, 0xBF, 0xBF],
    ]

    static let invalid: [[UInt8]] = [
        // 6.3: a surrogate after valid text.
        Array("κόσμε".utf8) + [0xED, 0xA0, 0x80] + Array("edited".utf8),
        // 6.6: texts that end within a character.
        [0xCE], [0xCE, 0xBA, 0xE1], [0xCE, 0xBA, 0xE1, 0xBD], [0xE0, 0xA0], [0xF0, 0x90, 0x80],
        // Sequences of five and six bytes, and numbers above U+10FFFF.
        [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFC, 0x84, 0x80, 0x80, 0x80, 0x80],
        [0xF7, 0xBF, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80],
        // Continuation bytes alone, and lead bytes without continuation.
        [0x80], [0xBF], [0x80, 0xBF, 0x80], [0x61, 0x80], [0xC3, 0x20], [0xE0, 0x20],
        [0xF0, 0x20], [0xE2, 0x82, 0x20], [0xC0], [0xC1], [0xFE], [0xFF], [0xFE, 0xFE, 0xFF, 0xFF],
        // Overlong forms of `/`, of zero, and the largest of each length.
        [0xC0, 0xAF], [0xE0, 0x80, 0xAF], [0xF0, 0x80, 0x80, 0xAF], [0xC0, 0x80],
        [0xE0, 0x80, 0x80], [0xF0, 0x80, 0x80, 0x80], [0xC1, 0xBF], [0xE0, 0x9F, 0xBF],
        [0xF0, 0x8F, 0xBF, 0xBF],
        // Surrogates, alone and in pairs.
        [0xED, 0xA0, 0x80], [0xED, 0xAD, 0xBF], [0xED, 0xAE, 0x80], [0xED, 0xBF, 0xBF],
        [0xED, 0xA0, 0x80, 0xED, 0xB0, 0x80],
    ]

    /// 6.2: characters cut between fragments, with a ping in each cut.
    private static let cut = [1, 2, 3].map { size in
        let text = "Hello-µ@ßöäüàá-κόσμε-𝄞!!"
        let count = (text.utf8.count - 1) / size
        return FrameRow(
            "6.2, fragments of \(size)",
            FrameBytes.fragments(
                Array(text.utf8), of: size, between: FrameBytes.frame(0x89, [0x70])),
            Array(repeating: "ping p", count: count) + ["text " + text])
    }

    /// 6.4: an invalid byte is found when it arrives, without the rest of the message.
    private static let late = [
        FrameRow(
            "6.4.1, in the second fragment",
            FrameBytes.frame(0x01, Array("κόσμε".utf8)) + FrameBytes.frame(0x00, [0xF4, 0x90]),
            "failed 1007"),
        FrameRow(
            "6.4.3, within a frame",
            FrameBytes.header(0x81, 100) + FrameBytes.key
                + zip([0x61, 0xED, 0xA0], FrameBytes.key).map { $0 ^ $1 }, "failed 1007"),
        FrameRow(
            "a character that the next fragment does not continue",
            FrameBytes.frame(0x01, [0xE2, 0x82]) + FrameBytes.frame(0x80, [0x61]), "failed 1007"),
        FrameRow(
            "a text that ends within a character, in an empty fragment",
            FrameBytes.frame(0x01, [0xE2, 0x82]) + FrameBytes.frame(0x80), "failed 1007"),
        FrameRow(
            "binary fragments are not checked",
            FrameBytes.frame(0x02, [0xE2, 0x82]) + FrameBytes.frame(0x80, [0xFF]),
            "binary " + Transcript.shown([0xE2, 0x82, 0xFF])),
    ]
}
