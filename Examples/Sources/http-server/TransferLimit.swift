// How long a client may take for what is long: a time, and more of it for every byte.

/// For an answer that is to be taken, or a body that is to come.
struct TransferLimit: Sendable {
    var timeout = Duration.seconds(30)
    /// For every so many bytes a second more.
    var bytesPerSecond = 1000

    func duration(of bytes: Int) -> Duration {
        // No product of whole numbers that a long file could make too large.
        timeout + .seconds(Double(bytes) / Double(bytesPerSecond))
    }

    /// Often enough to notice within a quarter more.
    var period: Duration { min(.seconds(1), max(.milliseconds(20), timeout / 4)) }
}
