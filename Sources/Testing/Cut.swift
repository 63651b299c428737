/// Bytes in pieces, each of which a server gets on its own.
///
/// Shown like `"PI" | "NG\r\n"`, so a parameterized test names the cut that fails.
public struct Cut: Sendable, Hashable, RandomAccessCollection, CustomStringConvertible {
    /// The pieces, in order.
    public let pieces: [TestBytes]

    /// Creates a cut of these pieces.
    public init(_ pieces: [TestBytes]) { self.pieces = pieces }

    /// Creates the cut of `bytes` at these places: increasing numbers of bytes.
    public init(_ bytes: TestBytes, at places: [Int]) {
        let ends = places + [bytes.count]
        pieces = zip([0] + places, ends).map { TestBytes(bytes[$0..<$1]) }
    }

    /// Zero.
    public var startIndex: Int { 0 }
    /// The number of pieces.
    public var endIndex: Int { pieces.count }
    /// The piece at this place.
    public subscript(index: Int) -> TestBytes { pieces[index] }

    /// All bytes, joined.
    public var bytes: TestBytes { TestBytes(pieces.joined()) }

    public var description: String { pieces.map(\.description).joined(separator: " | ") }
}

/// Returns every cut of `bytes` that a server should be tested with: the whole, every cut in two,
/// and byte by byte. With `pieces: 3` also every cut in three, which are n²/2 more for n bytes.
///
/// A stream has no borders between messages: TCP may deliver any of these. A server that answers
/// one of them differently has a bug.
public func everyCut(of bytes: TestBytes, pieces: Int = 2) -> [Cut] {
    precondition((1...3).contains(pieces), "cuts in \(pieces) pieces are not made, give 1 to 3")
    let count = bytes.count
    var cuts = [Cut([bytes])]
    guard count > 1 else { return cuts }
    if pieces >= 2 { cuts += (1..<count).map { Cut(bytes, at: [$0]) } }
    if pieces >= 3 {
        for first in 1..<count - 1 {
            cuts += (first + 1..<count).map { Cut(bytes, at: [first, $0]) }
        }
    }
    // Shorter ones are among the cuts above.
    if count > pieces { cuts.append(Cut(bytes.map { [$0] })) }
    return cuts
}

/// Returns every cut like `everyCut(of:pieces:)`, but of text as UTF-8.
public func everyCut(of text: String, pieces: Int = 2) -> [Cut] {
    everyCut(of: TestBytes(text), pieces: pieces)
}

/// Returns every cut like `everyCut(of:pieces:)`, but of any sequence of bytes.
public func everyCut(of bytes: some Sequence<UInt8>, pieces: Int = 2) -> [Cut] {
    everyCut(of: TestBytes(bytes), pieces: pieces)
}
