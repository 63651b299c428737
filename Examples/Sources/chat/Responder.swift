// Writes the responses of the chat's HTTP side. Each loop has one responder.
import Glibc
import HTTPCodec
import NetAPI
import WebSocketCodec

final class Responder {
    /// A size in bytes above that of any head.
    private static let largestHead = 1024
    private static let page = Array(Page.html.utf8)

    private var writer = ResponseWriter(capacity: largestHead)
    private let date = UnsafeMutableRawBufferPointer.allocate(
        byteCount: HTTPDate.byteCount, alignment: 1)

    init() { refreshDate() }

    deinit { date.deallocate() }

    func refreshDate() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME_COARSE, &now)
        HTTPDate.write(now.tv_sec, into: date)
    }

    /// Sends the response after which the connection is a WebSocket.
    func sendSwitch(_ key: [UInt8], to connection: Connection) {
        begin(.switchingProtocols)
        writer.field("Upgrade", "websocket")
        writer.field("Connection", "Upgrade")
        key.withUnsafeBytes { writer.field("Sec-WebSocket-Accept", $0) }
        finish(connection)
    }

    func sendPage(to connection: Connection, keepsAlive: Bool, isHead: Bool) {
        begin(.ok)
        writer.field("Content-Type", "text/html; charset=utf-8")
        // The page needs nothing but itself and the socket.
        writer.field("Content-Security-Policy", Page.policy)
        end(connection, keepsAlive, length: Self.page.count)
        if !isHead { connection.write(Self.page) }
    }

    /// Sends a response whose body is the status. `allow` is for status 405.
    func send(
        _ status: Status, to connection: Connection, keepsAlive: Bool, isHead: Bool = false,
        allow: StaticString = "GET"
    ) {
        begin(status)
        if status == .methodNotAllowed { writer.field("Allow", allow) }
        if status == .upgradeRequired {
            writer.field("Upgrade", "websocket")
            writer.field("Sec-WebSocket-Version", Handshake.version)
            writer.append("Connection: Upgrade")
            writer.append(keepsAlive ? "\r\n" : ", close\r\n")
        }
        writer.field("Content-Type", "text/plain")
        let needsClose = !keepsAlive && status != .upgradeRequired
        end(connection, !needsClose, length: status.line.utf8CodeUnitCount)
        if !isHead {
            connection.write(
                UnsafeRawBufferPointer(
                    start: status.line.utf8Start, count: status.line.utf8CodeUnitCount))
        }
    }

    private func begin(_ status: Status) {
        writer.clear()
        writer.begin(status, date: UnsafeRawBufferPointer(date))
    }

    private func end(_ connection: Connection, _ keepsAlive: Bool, length: Int) {
        if !keepsAlive { writer.field("Connection", "close") }
        writer.contentLength(length)
        finish(connection)
    }

    private func finish(_ connection: Connection) {
        writer.endHead()
        connection.write(writer.bytes)
    }
}
