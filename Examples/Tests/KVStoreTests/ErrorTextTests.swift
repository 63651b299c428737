/// A client's bytes in an error: text on one line, for any bytes.
import KVStore
import RESPCodec
import Testing

@Suite struct ErrorTextTests {
    /// Inputs, each with the text that an error shows. Redis shows bytes that are no text
    /// unchanged.
    private static let shown: [([UInt8], String)] = [
        (Array("plain é €".utf8), "plain é €"),
        (Array("a\r\nb".utf8), "a  b"),
        ([0x61, 0xFF, 0x62], #"a\xffb"#),
        // The first byte of two, alone; a surrogate; an overlong form.
        ([0xC3], #"\xc3"#), ([0xED, 0xA0, 0x80], #"\xed\xa0\x80"#), ([0xC0, 0x80], #"\xc0\x80"#),
        ([0x1B, 0x5B, 0x41], #"\x1b[A"#), ([0x7F], #"\x7f"#), ([0xC2, 0x9B], #"\xc2\x9b"#),
        ([0x61, 0x00, 0x62], "a"),
        ([UInt8](repeating: 0x61, count: 300), String(repeating: "a", count: 128)),
    ]

    private func error(_ client: Dialogue, _ words: [[UInt8]]) -> [UInt8] {
        client.bytes(of: words)
    }

    private func check(_ words: [[UInt8]], _ expected: String) {
        let reply = error(Dialogue(), words)
        #expect(reply == Array(expected.utf8), "\(String(decoding: reply, as: UTF8.self))")
    }

    @Test(
        "every error that quotes an argument escapes it and shows at most 128 bytes",
        arguments: shown.indices)
    func everyErrorThatShowsWhatCame(_ index: Int) {
        let (bytes, text) = Self.shown[index]
        let word = { (text: String) in Array(text.utf8) }
        // The name of an unknown command is shown in the same way.
        check(
            [word("x") + bytes],
            "-ERR unknown command 'x\(bytes.count > 128 ? String(text.dropLast()) : text)', with "
                + "args beginning with: \r\n")
        check(
            [word("nosuch"), bytes],
            "-ERR unknown command 'nosuch', with args beginning with: '\(text)' \r\n")
        check(
            [word("CLIENT"), bytes],
            "-ERR unknown subcommand '\(text)'. Try CLIENT HELP.\r\n")
        check([word("CONFIG"), bytes], "-ERR unknown subcommand '\(text)'. Try CONFIG HELP.\r\n")
        check([word("EXPIRE"), word("a"), word("1"), bytes], "-ERR Unsupported option \(text)\r\n")
        check(
            [word("HELLO"), word("3"), bytes], "-ERR Syntax error in HELLO option '\(text)'\r\n")
        check(
            [word("CLIENT"), word("LIST"), word("TYPE"), bytes],
            "-ERR Unknown client type '\(text)'\r\n")
    }

    /// An error shows 128 bytes of all arguments together, with their quotes.
    @Test("an error shows at most 128 bytes of all arguments together")
    func longArgumentsAreCut() {
        let word = { (letter: UInt8, count: Int) in [UInt8](repeating: letter, count: count) }
        check(
            [Array("foo".utf8), word(0x79, 59), word(0x7A, 100), word(0x77, 10)],
            "-ERR unknown command 'foo', with args beginning with: "
                + "'\(String(repeating: "y", count: 59))' '\(String(repeating: "z", count: 66))' "
                + "\r\n")
    }

    @Test(
        "the error for a byte other than the bulk marker shows that byte",
        arguments: [
            (UInt8(0xFF), #"\xff"#), (0x00, #"\x00"#), (0x0D, " "), (0x7F, #"\x7f"#), (0x41, "A"),
        ])
    func aByteThatIsNoBulk(_ byte: UInt8, _ shown: String) {
        #expect(
            ProtocolError.noBulk(byte).text == "ERR Protocol error: expected '$', got '\(shown)'")
    }
}
