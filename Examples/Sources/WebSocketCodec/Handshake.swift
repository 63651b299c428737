// The server's side of the opening handshake (RFC 6455, 4.2). `HTTPCodec` has parsed the head, so
// its syntax is valid and it has one Host field.
public import HTTPCodec

public enum Handshake: Sendable, Equatable {
    /// The connection becomes a WebSocket. The value is that of Sec-WebSocket-Accept.
    case accepted([UInt8])
    /// The response has this status. With `upgradeRequired` it has the fields Upgrade and
    /// Sec-WebSocket-Version too.
    case refused(Status)

    /// The only version that the server speaks.
    public static let version: StaticString = "13"

    /// Decides about a request. `bytes` are those of the whole head. The origin of a page must be
    /// among `origins`. A program that is no browser sends no origin, or any that it likes, so a
    /// request without one is accepted.
    public init(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, origins: OriginRule = .sameHost
    ) {
        guard head.method == .get else {
            self = .refused(.methodNotAllowed)
            return
        }
        // The bytes after a body would be frames for one server and a body for another.
        guard head.isVersion11, head.body == .none || head.body == .length(0) else {
            self = .refused(.badRequest)
            return
        }
        var fields = Fields()
        HeadFields(bytes).forEach { fields.add($0, $1) }
        guard fields.wantsUpgrade, fields.namesWebSocket, fields.hasVersion else {
            self = .refused(fields.versions > 1 ? .badRequest : .upgradeRequired)
            return
        }
        guard fields.versions == 1, fields.keys == 1, let answer = fields.answer else {
            self = .refused(.badRequest)
            return
        }
        if origins != .any, fields.origins > 0 {
            guard fields.origins == 1, origins.allows(fields.origin, host: fields.host) else {
                self = .refused(.forbidden)
                return
            }
        }
        self = .accepted(answer)
    }
}

/// The fields of a handshake. Counts show fields that may appear only once.
private struct Fields {
    var wantsUpgrade = false
    var namesWebSocket = false
    var hasVersion = false
    var versions = 0
    var keys = 0
    /// The answer to the key; nil if the key is malformed.
    var answer: [UInt8]?
    var origins = 0
    var origin = ""
    var host = ""

    mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        if name.equalsIgnoringCase("connection") {
            if Self.hasToken(value, "upgrade") { wantsUpgrade = true }
        } else if name.equalsIgnoringCase("upgrade") {
            if Self.hasToken(value, "websocket") { namesWebSocket = true }
        } else if name.equalsIgnoringCase("sec-websocket-version") {
            versions += 1
            hasVersion = value.equals(Handshake.version)
        } else if name.equalsIgnoringCase("sec-websocket-key") {
            keys += 1
            answer = AcceptKey.isValid(value) ? AcceptKey.answer(to: value) : nil
        } else if name.equalsIgnoringCase("origin") {
            origins += 1
            origin = String(decoding: value, as: UTF8.self)
        } else if name.equalsIgnoringCase("host") {
            host = String(decoding: value, as: UTF8.self)
        }
    }

    /// Returns whether the list has this token. Firefox sends `Connection: keep-alive, Upgrade`.
    private static func hasToken(_ list: UnsafeRawBufferPointer, _ token: StaticString) -> Bool {
        var found = false
        list.forEachElement { element in
            found = element.equalsIgnoringCase(token)
            return !found
        }
        return found
    }
}
