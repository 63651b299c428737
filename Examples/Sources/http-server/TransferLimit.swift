// The time limit of a long transfer: a base time, and more time for every byte.

/// A limit for a response that the client reads, or for a body that the client sends.
struct TransferLimit: Sendable {
    var timeout = Duration.seconds(30)
    /// The number of bytes that adds one second.
    var bytesPerSecond = 1000

    func duration(of bytes: Int) -> Duration {
        // The product of two integers could overflow with a long file.
        timeout + .seconds(Double(bytes) / Double(bytesPerSecond))
    }

    /// The time between two checks: a quarter of `timeout`, but 20 ms to 1 s.
    var period: Duration { min(.seconds(1), max(.milliseconds(20), timeout / 4)) }
}
