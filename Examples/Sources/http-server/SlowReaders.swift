// Bounds how long answers may take to be taken. The idle time-out starts anew with every byte, so
// who takes a little now and then would keep its connection for as long as the answer lasts.
//
// The limit is a time and more of it for every byte of the answer, as IIS's minBytesPerSecond and
// Kestrel's MinResponseDataRate have it. A rate looked at from second to second, as Apache does it
// with what it receives, would be wrong here: a kernel with much buffered asks for more in lumps,
// between which an honest reader seems to take nothing.
import NetAPI

/// One loop's connections that may have something to take. Each is noted once between two looks,
/// however many answers it gets, so that an answer costs no timer and no look at a clock.
final class SlowReaders {
    private struct Reader {
        let connection: Connection
        let exchange: Exchange
        /// When it was first seen with something untaken.
        var since: ContinuousClock.Instant?
    }

    private let limit: TransferLimit
    private let count: Counter
    @exclusivity(unchecked) private var readers: [Reader] = []

    init(_ limit: TransferLimit, _ count: Counter) {
        self.limit = limit
        self.count = count
    }

    /// After something may have been handed over.
    @inline(__always)
    func note(_ connection: Connection, _ exchange: Exchange) {
        if !exchange.isNoted, exchange.handedOver > 0 { append(connection, exchange) }
    }

    private func append(_ connection: Connection, _ exchange: Exchange) {
        exchange.isNoted = true
        readers.append(Reader(connection: connection, exchange: exchange))
    }

    /// Resets who is too slow, also if its connection is only still there to send. Returns when to
    /// look again.
    func look() -> Duration {
        let now = ContinuousClock.now
        var kept = 0
        for index in readers.indices {
            var reader = readers[index]
            // Nothing either for one that has closed.
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
