// The routes: fixed responses by their paths, and files for all other paths.
import HTTPCodec
import NetAPI

extension HTTPHandler {
    @inline(__always)
    func route(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ exchange: Exchange
    ) -> Reply {
        let path = head.path(in: bytes)
        if path.equals("/plaintext"), head.method == .get || head.method == .head {
            return .plaintext
        }
        return otherRoute(head, bytes, path, exchange)
    }

    @inline(never)
    private func otherRoute(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ path: UnsafeRawBufferPointer,
        _ exchange: Exchange
    ) -> Reply {
        var found = Self.fixedReply(path)
        // A path with percent escapes is equivalent to the decoded one (RFC 3986, 6.2.2.2).
        if found == nil, path.contains(0x25) {
            guard let decoded = FilePath.decoded(path) else { return .status(.badRequest) }
            found = decoded.withUnsafeBytes { Self.fixedReply($0) }
        }
        let isRead = head.method == .get || head.method == .head
        if case .echo = found {
            return isRead || head.method == .post ? .echo : .notAllowed(takesPosts: true)
        }
        // `*` stands for the server as a whole, which allows more than any file.
        guard isRead else { return .notAllowed(takesPosts: path.equals("*")) }
        return found ?? lookUp(head, bytes, exchange)
    }

    private static func fixedReply(_ path: UnsafeRawBufferPointer) -> Reply? {
        if path.equals("/plaintext") { return .plaintext }
        if path.equals("/json") { return .json }
        if path.equals("/echo") { return .echo }
        if path.equals("/metrics") { return .metrics }
        return nil
    }

    private func lookUp(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ exchange: Exchange
    ) -> Reply {
        guard let files = settings.files else { return .status(.notFound) }
        exchange.steps &+= 1
        return files.reply(head, bytes)
    }

    /// Looks up the file after the body has arrived, since it may have changed since the head
    /// arrived.
    func openNow(_ request: LaterRequest, _ exchange: Exchange) -> Reply {
        request.bytes.withUnsafeBytes { lookUp(request.head, $0, exchange) }
    }

    func log(
        _ accessLog: AccessLog, _ connection: Connection, _ exchange: Exchange, _ reply: Reply?
    ) {
        var (status, length) = responder.sent
        // The responder does not record this response, since it is made beforehand.
        if case .plaintext = reply {
            status = .ok
            length = exchange.isHead ? 0 : Responder.plaintextLength
        }
        accessLog.add(
            "\(connection.remoteAddress)", responder.now, exchange.requestLine, status, length)
    }
}
