// The status codes that the servers send, with their phrases.

public enum Status: Int, Sendable, CaseIterable {
    case switchingProtocols = 101
    case ok = 200
    case partialContent = 206
    case movedPermanently = 301
    case notModified = 304
    case badRequest = 400
    case forbidden = 403
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case preconditionFailed = 412
    case contentTooLarge = 413
    case uriTooLong = 414
    case rangeNotSatisfiable = 416
    case expectationFailed = 417
    case upgradeRequired = 426
    case headerFieldsTooLarge = 431
    case internalError = 500
    case notImplemented = 501
    case versionNotSupported = 505

    /// The code and the phrase, in the form of a status line.
    public var line: StaticString {
        switch self {
        case .switchingProtocols: "101 Switching Protocols"
        case .ok: "200 OK"
        case .partialContent: "206 Partial Content"
        case .movedPermanently: "301 Moved Permanently"
        case .notModified: "304 Not Modified"
        case .badRequest: "400 Bad Request"
        case .forbidden: "403 Forbidden"
        case .notFound: "404 Not Found"
        case .methodNotAllowed: "405 Method Not Allowed"
        case .requestTimeout: "408 Request Timeout"
        case .preconditionFailed: "412 Precondition Failed"
        case .contentTooLarge: "413 Content Too Large"
        case .uriTooLong: "414 URI Too Long"
        case .rangeNotSatisfiable: "416 Range Not Satisfiable"
        case .expectationFailed: "417 Expectation Failed"
        case .upgradeRequired: "426 Upgrade Required"
        case .headerFieldsTooLarge: "431 Request Header Fields Too Large"
        case .internalError: "500 Internal Server Error"
        case .notImplemented: "501 Not Implemented"
        case .versionNotSupported: "505 HTTP Version Not Supported"
        }
    }
}
