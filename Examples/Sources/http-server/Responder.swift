// Writes responses. Each loop has one responder, which keeps the date and the most common response
// ready. Responses are collected, so that those of a pipeline need only one write.
import Glibc
import HTTPCodec
import NetAPI

final class Responder {
    private static let gatheredBytes = 16 << 10
    /// A size in bytes above that of any head with a short body.
    private static let largestHead = 2048

    @exclusivity(unchecked) private var writer = ResponseWriter(
        capacity: gatheredBytes + largestHead)
    /// The whole response to a plaintext request on a connection that stays open.
    @exclusivity(unchecked) private var plaintext = ResponseWriter(capacity: largestHead)
    private let date = UnsafeMutableRawBufferPointer.allocate(
        byteCount: HTTPDate.byteCount, alignment: 1)
    @exclusivity(unchecked) private var second = Int.min
    /// The status and the body's length of the last response, for the access log. The ready
    /// response is not recorded here.
    @exclusivity(unchecked) private(set) var sent = (status: Status.ok, length: 0)

    /// The value of the Date field, as of the last callback.
    var now: UnsafeRawBufferPointer { UnsafeRawBufferPointer(date) }
    static let plaintextLength = 13

    deinit { date.deallocate() }

    /// Updates the date. Once per callback is often enough, and the coarse clock needs no system
    /// call.
    func refreshDate() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME_COARSE, &now)
        guard now.tv_sec != second else { return }
        second = now.tv_sec
        HTTPDate.write(now.tv_sec, into: date)
        plaintext.clear()
        plaintext.begin(.ok, date: UnsafeRawBufferPointer(date))
        plaintext.field("Content-Type", "text/plain")
        plaintext.contentLength(Self.plaintextLength)
        plaintext.endHead()
        plaintext.append("Hello, World!")
    }

    /// Writes the collected responses to this connection. Called before the turn of another
    /// connection, before a close, and before a direct write.
    func flush(_ connection: Connection, _ exchange: Exchange) {
        guard writer.count > 0 else { return }
        exchange.handedOver &+= writer.count
        connection.write(writer.bytes)
        writer.clear()
    }

    /// Whether no further response should be collected.
    var isFull: Bool { writer.count >= Self.gatheredBytes }

    func sendPlaintext(_ exchange: Exchange) {
        if exchange.keepsAlive, exchange.isVersion11, !exchange.isHead {
            writer.append(plaintext.bytes)
        } else {
            send(exchange, .ok, type: "text/plain", "Hello, World!")
        }
    }

    func sendContinue() { writer.append("HTTP/1.1 100 Continue\r\n\r\n") }

    /// Sends a response with a short body that is known at compile time.
    func send(
        _ exchange: Exchange, _ status: Status, type: StaticString = "text/plain",
        _ body: StaticString
    ) {
        begin(exchange, status)
        end(exchange, type, body)
    }

    /// Sends status 405 with the methods that are allowed.
    func sendNotAllowed(_ exchange: Exchange, takesPosts: Bool) {
        begin(exchange, .methodNotAllowed)
        writer.field("Allow", takesPosts ? "GET, HEAD, POST" : "GET, HEAD")
        end(exchange, "text/plain", "")
    }

    /// Sends status 301. The location is written directly, since it may not fit in the buffer.
    func sendMoved(_ connection: Connection, _ exchange: Exchange, to location: [UInt8]) {
        begin(exchange, .movedPermanently)
        writer.append("Location: ")
        flush(connection, exchange)
        exchange.handedOver &+= location.count
        connection.write(location)
        writer.append("\r\n")
        end(exchange, "text/plain", "")
    }

    private func end(_ exchange: Exchange, _ type: StaticString, _ body: StaticString) {
        writer.field("Content-Type", type)
        writer.contentLength(body.utf8CodeUnitCount)
        writer.endHead()
        guard !exchange.isHead else { return }
        sent.length = body.utf8CodeUnitCount
        writer.append(body)
    }

    /// Sends a response with a body of any length.
    func send(
        _ connection: Connection, _ exchange: Exchange, type: StaticString, _ body: [UInt8]
    ) {
        begin(exchange, .ok)
        writer.field("Content-Type", type)
        writer.contentLength(body.count)
        writer.endHead()
        flush(connection, exchange)
        guard !exchange.isHead else { return }
        sent.length = body.count
        exchange.handedOver &+= body.count
        connection.write(body)
    }

    /// Sends the head of a response with a file; the caller sends the file's bytes.
    func sendHead(of file: OpenFile, _ connection: Connection, _ exchange: Exchange) {
        begin(exchange, file.status)
        writer.field("Accept-Ranges", "bytes")
        file.tag.withUnsafeBytes { writer.field("ETag", $0) }
        file.date.withUnsafeBytes { writer.field("Last-Modified", $0) }
        if file.status != .notModified {
            writer.field("Content-Type", file.type)
            writer.contentLength(file.remaining)
        }
        if file.status == .partialContent || file.status == .rangeNotSatisfiable {
            writer.append("Content-Range: bytes ")
            if file.status == .partialContent {
                writer.append(decimal: file.offset)
                writer.append("-")
                writer.append(decimal: file.offset + file.remaining - 1)
            } else {
                writer.append("*")
            }
            writer.append("/")
            writer.append(decimal: file.size)
            writer.append("\r\n")
        }
        writer.endHead()
        flush(connection, exchange)
        if !exchange.isHead { sent.length = file.remaining }
    }

    private func begin(_ exchange: Exchange, _ status: Status) {
        sent = (status, 0)
        writer.begin(status, date: UnsafeRawBufferPointer(date))
        if !exchange.keepsAlive {
            writer.field("Connection", "close")
        } else if !exchange.isVersion11 {
            writer.field("Connection", "keep-alive")
        }
    }
}
