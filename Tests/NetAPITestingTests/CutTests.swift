/// Tests of bytes, of their cuts, and of the bugs that cuts find.
import NetAPI
import NetAPITesting
import Testing

@Suite struct CutTests {
    @Test("every cut has all bytes, none is missing and none comes twice")
    func everyCutOfBytes() {
        let cuts = everyCut(of: "abcd")
        #expect(
            cuts.map(\.description) == [
                #""abcd""#, #""a" | "bcd""#, #""ab" | "cd""#, #""abc" | "d""#,
                #""a" | "b" | "c" | "d""#,
            ])
        let threes = everyCut(of: "abcd", pieces: 3)
        #expect(threes.count == 8 && Set(threes).count == 8)
        #expect(threes.allSatisfy { $0.bytes == "abcd" })
        #expect(everyCut(of: "").count == 1 && everyCut(of: "a").count == 1)
        #expect(everyCut(of: "ab").count == 2 && everyCut(of: "ab", pieces: 1).count == 2)
        #expect(everyCut(of: [1, 2, 3] as [UInt8], pieces: 3).count == 4)
    }

    @Test("bytes compare with text and arrays, and are shown with escapes")
    func bytes() {
        let bytes: TestBytes = "a\r\n\"\u{1}é"
        #expect(bytes.description == #""a\r\n\"\x01\xc3\xa9""#)
        #expect(bytes == "a\r\n\"\u{1}é" && bytes != "a")
        #expect(bytes == Array("a\r\n\"\u{1}é".utf8))
        let (text, array) = ("a", [97 as UInt8])
        #expect(bytes != text && bytes != array && !(TestBytes("a") != text))
        #expect(TestBytes("a") == text && [97] as TestBytes == [97 as UInt8])
        #expect("x\(1)" as TestBytes == "x1" && bytes.contains("\r\n") && !bytes.contains("b"))
        #expect(("a\r\nb\n\nc" as TestBytes).lines == ["a", "b", "", "c"])
        #expect(("a\n" as TestBytes).lines == ["a"] && ("" as TestBytes).lines.isEmpty)
        #expect(TestBytes(repeating: 97, count: 1001).description.hasSuffix("…\" (1001 bytes)"))
    }

    @Test("a correct handler answers every cut alike", arguments: [1, 2])
    func correct(_ loops: Int) throws {
        let server = try TestServer(RepeatingHandler(), options: options(loops: loops))
        for cut in everyCut(of: "one\r\ntwo\r\n", pieces: 3) {
            #expect(try server.reply(to: cut) == "+one\r\n+two\r\n", "\(cut)")
        }
    }

    @Test("cuts find a handler that answers one line for each piece")
    func single() throws {
        let server = try TestServer(SingleHandler())
        let wrong = try everyCut(of: "one\r\ntwo\r\n").filter {
            try server.reply(to: $0) != "+one\r\n+two\r\n"
        }
        // The whole, and each cut that leaves no line behind the first piece's.
        #expect(wrong.contains { $0.count == 1 } && !wrong.contains { $0.count == 10 })
    }

    @Test("cuts find a handler that drops the rest of a piece")
    func dropping() throws {
        let server = try TestServer(DroppingHandler())
        let wrong = try everyCut(of: "one\r\n").filter {
            try server.reply(to: $0) != "+one\r\n"
        }
        #expect(wrong.count == everyCut(of: "one\r\n").count - 1)
    }
}
