// Limits the time that a client may need to read a response. The idle time-out restarts with every
// byte, so a client that reads a little now and then would keep its connection for the whole
// response.
//
// The limit is a base time and more time for every byte of the response, like IIS's
// minBytesPerSecond and Kestrel's MinResponseDataRate. A rate that is checked each second, like
// Apache's for received bytes, would be wrong here. A kernel with a large send buffer accepts bytes
// in large pieces, between which an honest reader seems to read nothing.
import NetAPI

/// The connections of one loop that may have unsent bytes. Each is listed once between two checks,
/// however many responses it gets, so that a response costs no timer and no look at a clock.
final class SlowReaders {
    private struct Reader {
        let connection: Connection
        let exchange: Exchange
        /// The time at which unsent bytes were first seen.
        var since: ContinuousClock.Instant?
    }

    private let limit: TransferLimit
    private let count: Counter
    @exclusivity(unchecked) private var readers: [Reader] = []

    init(_ limit: TransferLimit, _ count: Counter) {
        self.limit = limit
        self.count = count
    }

    /// Lists the connection if it has responses. Called after a response may have been written.
    @inline(__always)
    func note(_ connection: Connection, _ exchange: Exchange) {
        if !exchange.isNoted, exchange.handedOver > 0 { append(connection, exchange) }
    }

    private func append(_ connection: Connection, _ exchange: Exchange) {
        exchange.isNoted = true
        readers.append(Reader(connection: connection, exchange: exchange))
    }

    /// Resets connections that are too slow, even if a connection remains only to send its last
    /// response. Returns the time until the next check.
    func look() -> Duration {
        let now = ContinuousClock.now
        var kept = 0
        for index in readers.indices {
            var reader = readers[index]
            // A closed connection has no unsent bytes either.
            guard reader.connection.outboundBuffered > 0 else {
                reader.exchange.isNoted = false
                reader.exchange.handedOver = 0
                continue
            }
            let since = reader.since ?? now
            guard now - since <= limit.duration(of: reader.exchange.handedOver) else {
                count.add()
                reader.connection.abort()
                continue
            }
            reader.since = since
            readers[kept] = reader
            kept += 1
        }
        readers.removeLast(readers.count - kept)
        return limit.period
    }
}
