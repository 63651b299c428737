/// Input in a task. Each call waits until it can answer.
extension AsyncConnection {
    /// Waits for input and lends it: `body` gets all unread bytes, uncopied, which are then
    /// consumed. Returns the value of `body`, or nil at the peer's end of stream.
    ///
    /// Throws the error of `body`, or the reason why the connection broke. Throws `.closed` if this
    /// side has closed it, by a stop for example: nil is always the end of the peer's whole stream.
    /// Behind such a close this error of a task is not reported.
    public nonisolated(nonsending) func read<R>(
        _ body: (RawSpan) throws -> R
    ) async throws -> R? {
        // Closed between the wait and this place, the connection has no bytes.
        while try await hasMore(than: 0) {
            let bytes = connection.next()
            if bytes.byteCount > 0 { return try body(bytes) }
        }
        guard hasReadAll else { throw NetError.closedBeforeTheEnd }
        return nil
    }

    /// Waits for input and returns all of it, at least one byte; nil at the peer's end of stream.
    /// Throws like `read` for lent bytes.
    public nonisolated(nonsending) func read() async throws -> [UInt8]? {
        try await read { [UInt8](copying: $0) }
    }

    /// Waits for `count` bytes, lends them and consumes them. Returns nil if the peer has ended its
    /// stream before the first of them, and after a close of this side. Throws `.closed` if the
    /// stream ends between them, and `.invalidOption` if `count` is negative or above
    /// `Options.Limits.inboundBytes`.
    public nonisolated(nonsending) func read<R>(
        exactly count: Int, _ body: (RawSpan) throws -> R
    ) async throws -> R? {
        while try isReadable() {
            let most = connection.core?.configuration.inboundLimit ?? .max
            guard (0...most).contains(count) else {
                throw NetError.invalidOption(
                    "count", count, "raise limits.inboundBytes, or read less")
            }
            if let bytes = connection.next(count) { return try body(bytes) }
            guard try await hasMoreOrEnds("\(count) bytes") else { return nil }
        }
        return nil
    }

    /// Waits for a line and returns it without its end, LF or CR LF. Nil at the peer's end of
    /// stream, and after a close of this side. Throws `.frameTooLong` above `limit` bytes, and
    /// `.closed` if the stream ends within a line.
    public nonisolated(nonsending) func readLine(limit: Int = 65_536) async throws -> String? {
        while try isReadable() {
            if let line = try connection.nextLine(limit: limit) { return String(decoding: line) }
            guard try await hasMoreOrEnds("a line") else { return nil }
        }
        return nil
    }

    /// Waits for a frame behind its length, lends it and consumes it. Nil at the peer's end of
    /// stream, and after a close of this side. Throws `.frameTooLong` above `limit` bytes, and
    /// `.closed` if the stream ends within a frame.
    public nonisolated(nonsending) func readFrame<Length: FixedWidthInteger & UnsignedInteger, R>(
        length: Length.Type = UInt32.self, limit: Int, _ body: (RawSpan) throws -> R
    ) async throws -> R? {
        while try isReadable() {
            if let frame = try connection.nextFrame(length: length, limit: limit) {
                return try body(frame)
            }
            guard try await hasMoreOrEnds("a frame") else { return nil }
        }
        return nil
    }

    /// Waits for more than is unread. False at an end before the first byte.
    private nonisolated(nonsending) func hasMoreOrEnds(
        _ unit: @autoclosure () -> String
    ) async throws -> Bool {
        // The rest of a datagram is no beginning of the next one.
        if isDatagram { connection.discardAll() }
        let unread = connection.buffered
        if try await hasMore(than: unread) { return true }
        guard unread == 0 else {
            throw NetError(.closed, "the stream ended within \(unit())")
        }
        return false
    }

    // MARK: Sequences

    /// The lines of the stream: see `readLine`.
    public func lines(limit: Int = 65_536) -> Items<String> {
        Items { [self] in try await readLine(limit: limit) }
    }

    /// The frames of the stream: see `readFrame`.
    public func frames<Length: FixedWidthInteger & UnsignedInteger>(
        length: Length.Type = UInt32.self, limit: Int
    ) -> Items<[UInt8]> {
        Items { [self] in
            try await readFrame(length: length, limit: limit) { [UInt8](copying: $0) }
        }
    }

    /// The bytes of the stream, in the pieces in which they arrive. They end at the peer's end, and
    /// throw `.closed` if this side closes before: see `read`.
    public var chunks: Items<[UInt8]> { Items { [self] in try await read() } }

    /// A stream's items in order, up to its end. To be used on the connection's task only.
    public struct Items<Element>: AsyncSequence, AsyncIteratorProtocol {
        let next: nonisolated(nonsending) () async throws -> Element?

        /// Returns the sequence itself: it is consumed once.
        public func makeAsyncIterator() -> Self { self }

        /// Waits for the next item; nil at the stream's end.
        public func next(isolation caller: isolated (any Actor)?) async throws -> Element? {
            try await next()
        }

        /// Like `next(isolation:)`, for a caller without an actor.
        public func next() async throws -> Element? { try await self.next(isolation: nil) }
    }
}

extension NetError {
    fileprivate static let closedBeforeTheEnd = NetError(
        .closed, "the connection was closed before the end of the peer's stream")
}
