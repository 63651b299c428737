// Bounds how long answers may take to be taken. The idle time-out starts anew with every byte, so
// who takes a little now and then would keep its connection for as long as the answer lasts.
//
// The limit is a time and more of it for every byte of the answer, as IIS's minBytesPerSecond and
// Kestrel's MinResponseDataRate have it. A rate looked at from second to second, as Apache does it
// with what it receives, would be wrong here: a kernel with much buffered asks for more in lumps,
// between which an honest reader seems to take nothing.
import NetAPI
import Synchronization

/// What a client is given to take its answers.
struct ResponseLimit: Sendable {
    var timeout = Duration.seconds(30)
    /// For every so many bytes a second more.
    var bytesPerSecond = 1000

    func duration(of bytes: Int) -> Duration {
        timeout + .milliseconds(bytes / bytesPerSecond * 1000)
    }

    /// Often enough to notice within a quarter more.
    var period: Duration { min(.seconds(1), max(.milliseconds(20), timeout / 4)) }
}

/// Connections that were closed for it, on all loops.
final class SlowReaderCount: Sendable {
    private let number = Atomic(0)
    var value: Int { number.load(ordering: .relaxed) }
    func add(_ more: Int) { number.add(more, ordering: .relaxed) }
}

/// One loop's connections that may have something to take. Each is noted once between two looks,
/// however many answers it gets, so that an answer costs no timer and no look at a clock.
final class SlowReaders {
    private struct Reader {
        let connection: Connection
        let exchange: Exchange
        /// When it was first seen with something untaken.
        var since: ContinuousClock.Instant?
    }

    private let limit: ResponseLimit
    private let count: SlowReaderCount
    @exclusivity(unchecked) private var readers: [Reader] = []

    init(_ limit: ResponseLimit, _ count: SlowReaderCount) {
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
                count.add(1)
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
