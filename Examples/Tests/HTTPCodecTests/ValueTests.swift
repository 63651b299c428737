/// Dates, ranges, entity tags and paths: the values of fields and targets.
import HTTPCodec
import Testing

@Suite struct ValueTests {
    private func with<R>(_ text: String, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        Array(text.utf8).withUnsafeBytes(body)
    }

    @Test(arguments: [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
    ])
    func datesAreWrittenAndRead(_ seconds: Int, _ text: String) {
        var room = [UInt8](repeating: 0, count: 29)
        room.withUnsafeMutableBytes { HTTPDate.write(seconds, into: $0) }
        #expect(String(decoding: room, as: UTF8.self) == text)
        #expect(with(text) { HTTPDate.parse($0) } == seconds)
    }

    @Test(arguments: [
        "", "Sun, 06 Nov 1994 08:49:37 UTC", "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 36 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Nov 1994 28:49:37 GMT", "Sun, +6 Nov 1994 08:49:37 GMT",
    ])
    func otherDatesAreNone(_ text: String) {
        #expect(with(text) { HTTPDate.parse($0) } == nil)
    }

    @Test(arguments: [
        ("bytes=0-4", ByteRange.part(0..<5)), ("bytes=5-", .part(5..<10)),
        ("bytes=-3", .part(7..<10)), ("bytes=-30", .part(0..<10)), ("bytes=5-50", .part(5..<10)),
        ("bytes=9-9", .part(9..<10)), ("bytes=10-", .unsatisfiable), ("bytes=-0", .unsatisfiable),
        ("bytes=99999999999999999999-", .unsatisfiable), ("bytes=5-4", .whole),
        ("bytes=0-1,3-4", .whole), ("lines=1-2", .whole), ("bytes=", .whole), ("bytes=-", .whole),
        ("bytes=a-b", .whole), ("Bytes=0-0", .part(0..<1)),
    ])
    func ranges(_ text: String, _ expected: ByteRange) {
        #expect(with(text) { ByteRange($0, size: 10) } == expected)
    }

    @Test(arguments: [
        ("\"a\"", true, true), ("W/\"a\"", true, false), ("\"b\", \"a\"", true, true),
        ("\"b\", W/\"a\"", true, false), ("*", true, true), ("\"b\"", false, false),
        ("a", false, false), ("", false, false), ("W/", false, false),
    ])
    func entityTagsCompareWeaklyAndStrongly(_ list: String, _ weakly: Bool, _ strongly: Bool) {
        with(list) { list in
            with("\"a\"") { tag in
                #expect(entityTags(list, name: tag) == weakly)
                #expect(entityTags(list, name: tag, strongly: true) == strongly)
            }
        }
    }

    @Test(arguments: [
        ("/", [String]()), ("/a/b.txt", ["a", "b.txt"]), ("//a//", ["a"]), ("/a%20b", ["a b"]),
        ("/../a", nil), ("/a/../../b", nil), ("/%2e%2e/a", nil), ("/a%2fb", nil), ("/a%00", nil),
        ("/.git", nil), ("/a%2", nil), ("/a%zz", nil), ("/./a", nil), ("/%252e", ["%2e"]),
    ])
    func pathsStayUnderTheRoot(_ text: String, _ expected: [String]?) {
        let names = with(text) { FilePath.names(in: $0) }
        #expect(names?.map { String(decoding: $0, as: UTF8.self) } == expected)
    }
}
