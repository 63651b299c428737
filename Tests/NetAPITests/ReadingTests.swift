/// Tests that every way of reading gives the same result for any split of the input: whole, byte by
/// byte, at any place.
import NetAPI
import Testing

@Suite struct ReadingTests {
    @Test(
        "every read call returns the same bytes for any split of the input",
        arguments: takingApart)
    func piecesAreTakenApart(_ codec: Codec) async {
        await sideBySide(Setup.all) { setup in
            try withServer(setup, TestHandler(traffic: codec.traffic)) { try codec.check($0) }
        }
    }

    @Test("lines and delimiters are found for any split of the input", arguments: Setup.all, lines)
    func linesAndDelimitersAreFound(_ setup: Setup, _ codec: Codec) throws {
        try withServer(setup, TestHandler(traffic: codec.traffic)) { try codec.check($0) }
    }

    static let alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

    /// Calls that read or inspect bytes.
    static let takingApart: [Codec] = [
        Codec("next()", alphabet, gives: alphabet) { connection in
            connection.write(connection.next())
            return .none
        },
        Codec("next(count)", alphabet, gives: "abcde|fghij|klmno|pqrst|uvwxy|z0123|45678|") {
            while let five = $0.next(5) {
                $0.write(five)
                $0.write("|")
            }
            return .none
        },
        Codec("bytes and discard", alphabet, gives: "[7]abc[7]hij[7]opq[7]vwx[7]234") {
            connection in
            while connection.buffered >= 7 {
                let all = connection.bytes
                connection.write("[7]")
                connection.write(all.extracting(0..<3))
                #expect(all.byteCount == connection.buffered)
                #expect(connection.discard(7) == 7)
            }
            return .none
        },
        Codec("peek", alphabet, gives: "ab ab abc cd cd cde ef ef efg ") { connection in
            for _ in 0..<3 where connection.buffered >= 3 && connection[peeks] < 3 {
                connection[peeks] += 1
                for count in [2, 2, 3] {
                    if let found = connection.peek(count) { connection.write(found) }
                    connection.write(" ")
                }
                let isTooMuch = connection.peek(connection.buffered + 1) == nil
                #expect(isTooMuch)
                connection.discard(2)
            }
            return .none
        },
        Codec("readPair", alphabet, gives: alphabet) { connection in
            let pair = connection.readPair
            #expect(pair.head.byteCount + pair.tail.byteCount == connection.buffered)
            guard connection.buffered == 36 else { return .none }
            connection.write(pair.head)
            connection.write(pair.tail)
            connection.discardAll()
            return .none
        },
        Codec("read(into:)", alphabet, gives: alphabet) { connection in
            var room = [UInt8](repeating: 0, count: 7)
            while true {
                var span = room.mutableSpan
                var bytes = span.mutableBytes
                let count = connection.read(into: &bytes)
                if count == 0 { return .none }
                connection.write(room[..<count])
            }
        },
        Codec("readArray", alphabet, gives: "36") { connection in
            guard connection.buffered >= 36 else { return .none }
            let array = connection.readArray()
            #expect(array == Array(alphabet.utf8) && connection.buffered == 0)
            #expect(connection.readArray() == [])
            connection.write(decimal: array.count)
            return .none
        },
        Codec("withUnsafeBytes", alphabet, gives: alphabet) { connection in
            let count = connection.withUnsafeBytes { bytes in
                connection.write(bytes)
                return bytes.count
            }
            connection.discard(count)
            return .none
        },
        Codec("discard more than there is", alphabet, gives: "36!") { connection in
            connection[drops] += connection.discard(1000)
            #expect(connection.discard(1) == 0 && connection.discardAll() == 0)
            if connection[drops] == 36 { connection.write("36!") }
            return .none
        },
        Codec("too little", alphabet, gives: "36") { connection in
            let before = connection.buffered
            guard connection.next(36) != nil else {
                #expect(connection.buffered == before)
                let isTooMuch = connection.peek(36) == nil
                #expect(isTooMuch)
                return .none
            }
            connection.write("36")
            return .none
        },
    ]

    private static let peeks = PerConnection(0)
    private static let drops = PerConnection(0)

    private static let linesInBrackets: TestHandler.OnConnection = { connection in
        while let line = try connection.nextLine() {
            connection.write("[")
            connection.write(line)
            connection.write("]")
        }
        return .none
    }

    /// Lines and delimiters.
    static let lines: [Codec] = [
        Codec("LF", "one\ntwo\n\nthree\n", gives: "[one][two][][three]", linesInBrackets),
        Codec(
            "CR LF", "one\r\ntwo\r\n\r\nthree\r\n", gives: "[one][two][][three]", linesInBrackets),
        Codec("mixed ends", "a\r\nb\nc\rd\r\r\n\r\n", gives: "[a][b][c\rd\r][]", linesInBrackets),
        Codec("a rest that is no line", "one\nnot yet", gives: "[one]", linesInBrackets),
        Codec("through CR LF CR LF", "GET /\r\nA: b\r\n\r\nrest\r\n\r\r\n\r\n", gives: "15,11,") {
            while let head = try $0.next(through: "\r\n\r\n") {
                $0.write(decimal: head.byteCount)
                $0.write(",")
            }
            return .none
        },
        Codec("through one byte", "a;bc;;d", gives: "<a;><bc;><;>") { connection in
            while let item = try connection.next(through: ";") {
                connection.write("<")
                connection.write(item)
                connection.write(">")
            }
            return .none
        },
        Codec("through what repeats itself", "aaabaabaaab", gives: "<aaab><aab><aaab>") {
            while let item = try $0.next(through: "aab") {
                $0.write("<")
                $0.write(item)
                $0.write(">")
            }
            return .none
        },
        Codec("two delimiters in turn", "k1=v1;k2=v2;", gives: "k1=/v1;/k2=/v2;/") { connection in
            while true {
                let found =
                    connection[drops] % 2 == 0
                    ? try connection.next(through: "=") : try connection.next(through: ";")
                guard let found else { return .none }
                connection[drops] += 1
                connection.write(found)
                connection.write("/")
            }
        },
        Codec("one delimiter in vain, then another", "ab;cd=ef", gives: "ab;cd=") { connection in
            if connection[peeks] == 0, let found = try connection.next(through: "=") {
                connection[peeks] += 1
                connection.write(found)
                let isGone = try connection.next(through: ";") == nil
                #expect(isGone)
            }
            return .none
        },
        Codec("equals and starts", "GET x\nGET\nPUT\n", gives: "starts;equals;other;") {
            connection in
            while let line = try connection.nextLine() {
                if line.equals("GET") {
                    connection.write("equals;")
                } else {
                    connection.write(line.starts(with: "GET") ? "starts;" : "other;")
                }
            }
            return .none
        },
        Codec("String(decoding:)", "gr\u{fc}n \u{1F33F}\n", gives: "GR\u{dc}N \u{1F33F}") {
            connection in
            while let line = try connection.nextLine() {
                connection.write(String(decoding: line).uppercased())
            }
            return .none
        },
    ]
}
